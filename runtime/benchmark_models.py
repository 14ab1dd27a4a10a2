"""Bare calls of several model files in one run: every format of a network side by side."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .backends import Backend, open_model
from .backends.tflite import TfliteBackend

KINDS = {".onnx": "onnx", ".tflite": "tflite"}  # by suffix
WARM_UP = 50  # calls of each that are not counted
_QUANTIZED_OPERATOR = b"DequantizeLinear"  # stands in every QDQ graph and in no float one

Inputs = tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Opened:
    """A model file, ready to be called."""

    name: str
    size: int
    """Bytes of the file."""
    backend: Backend
    integer: bool
    """Whether it is quantized."""


def open_file(path: Path, threads: int) -> Opened:
    """Return the model in a file; raises EcgEdgeError for a suffix or a content that no backend runs."""
    if path.suffix not in KINDS:
        raise EcgEdgeError(f"{path} is no model file: name one that ends in {' or '.join(KINDS)}")
    model = path.read_bytes()
    return opened(path.name, KINDS[path.suffix], model, threads)


def opened(name: str, kind: str, model: bytes, threads: int) -> Opened:
    """Return a model graph of a backend's format under a name."""
    backend = open_model(kind, model, threads)
    integer = backend.takes_integers if isinstance(backend, TfliteBackend) else _QUANTIZED_OPERATOR in model
    return Opened(name, len(model), backend, integer)


def measure_models(models: Sequence[Opened], window: Inputs, rounds: int) -> list[dict[str, Any]]:
    """Return what a bare call of each costs, in turns on this thread, as JSON types.

    `times_fastest_float`: how many times as fast as the fastest float model its median is; None where none is float.
    """
    taken: list[list[int]] = [[] for _ in models]
    for number in range(WARM_UP + rounds):
        for model, times in zip(models, taken, strict=True):
            begin = time.perf_counter_ns()
            model.backend.logits(*window)
            if number >= WARM_UP:
                times.append(time.perf_counter_ns() - begin)
    medians = [float(np.median(times)) for times in taken]
    floats = [median for model, median in zip(models, medians, strict=True) if not model.integer]
    return [
        {
            "name": model.name,
            "backend": model.backend.name,
            "format": "int8" if model.integer else "float",
            "bytes": model.size,
            "ms": {
                name: round(float(value) / 1e6, 4)
                for name, value in zip(
                    ("p50", "p95", "p99", "max"), [*np.percentile(times, (50, 95, 99)), max(times)], strict=True
                )
            },
            "times_fastest_float": round(min(floats) / median, 2) if floats else None,
        }
        for model, times, median in zip(models, taken, medians, strict=True)
    ]
