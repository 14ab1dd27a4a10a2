"""What the paper's branches standardise their inputs by: the training set's figures of each lead."""

import numpy as np

from ..store import RecordStore
from .front import front_of
from .model import FusionNet
from .se_resnet import SeResNet34
from .xresnet1d import XResNet1d50


def standardize(network: FusionNet, train: RecordStore, samples: int) -> None:
    """Let the paper's branches standardise each lead by the training set's mean and standard deviation.

    Over the last `samples` of every training record that has the lead; of signals and of magnitudes apart.
    """
    signal = np.stack([train.last_window(k, samples) for k in range(len(train.entries))])
    images = front_of("paper")(signal, np.zeros(0, dtype=np.uint8))
    there = np.asarray(signal.any(axis=2))
    for branch, inputs in ((network.time, signal), (network.spectrogram, images)):
        rows = [np.asarray(inputs[there[:, lead], lead], dtype=np.float64) for lead in range(inputs.shape[1])]
        if isinstance(branch, XResNet1d50 | SeResNet34):
            branch.standardize([r.mean() for r in rows], [r.std() for r in rows])
