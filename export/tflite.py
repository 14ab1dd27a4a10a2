"""From a trained network to TFLite: a float graph, and from it the INT8 graph that devices run.

The INT8 graph is integer from its inputs on: int8 activations, int8 weights with a scale per output channel, ranges
the smallest and largest values over calibration windows.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ecg_edge.runtime.contract import Contract
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.windows import Windows

from .tflite_form import TfliteForm
TABLE_SCALE = 128
def compand8(signal):
    x=signal.astype(np.int32); a=np.abs(x)
    return (np.sign(x)*((2*TABLE_SCALE*a+1000+a)//(2*(1000+a)))).astype(np.int8)
