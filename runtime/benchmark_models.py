"""Bare calls of several model files in one run: every format of a network side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .backends import Backend, installed, open_model
from .backends.tflite import TfliteBackend
from .benchmark import first_window, make_recording
from .benchmark_turns import in_turns, percentiles
from .bundle import Bundle

KINDS = {".onnx": "onnx", ".tflite": "tflite"}  # by suffix
# Names of operators as they stand in the file; every graph that computes with integers has one, and no float graph.
_INTEGER_OPERATORS = (b"QuantizeLinear", b"DequantizeLinear", b"ConvInteger", b"MatMulInteger", b"QLinearConv")


@dataclass(frozen=True)
class Opened:
    """A model graph, ready to be called."""

    name: str
    size: int
    """Bytes of the file."""
    backend: Backend
    integer: bool
    """Whether it is quantized."""


def open_file(path: Path, threads: int = 1) -> Opened:
    """Return the model in a file; raises EcgEdgeError for a suffix or a content that no backend runs."""
    if path.suffix not in KINDS:
        raise EcgEdgeError(f"{path} is no model file: name one that ends in {' or '.join(KINDS)}")
    try:
        model = path.read_bytes()
    except OSError as error:
        raise EcgEdgeError(f"{path} cannot be read ({error.strerror}): name a model file") from None
    return opened(path.name, KINDS[path.suffix], model, threads)


def opened(name: str, kind: str, model: bytes, threads: int = 1) -> Opened:
    """Return a model graph of a backend's format under a name.

    A TFLite graph counts as quantized by its inputs, an ONNX graph by its operators. Raises BundleError where the
    backend cannot run it.
    """
    backend = open_model(kind, model, threads)
    if isinstance(backend, TfliteBackend):
        return Opened(name, len(model), backend, backend.takes_integers)
    return Opened(name, len(model), backend, any(operator in model for operator in _INTEGER_OPERATORS))


def open_bundle(bundle: Bundle, backend: str = "auto", threads: int = 1) -> list[Opened]:
    """Return the bundle's models that this installation runs, or the one of the named backend."""
    kinds = [kind for kind in bundle.manifest.models if installed(kind)] if backend == "auto" else [backend]
    return [opened(f"{bundle.manifest.name}/{kind}", kind, bundle.model(kind), threads) for kind in kinds]


def measure_models(models: Sequence[Opened], bundle: Bundle, rounds: int) -> list[dict[str, Any]]:
    """Return what a bare call of each costs on the first window under a bundle's contract, in turns, as JSON types.

    `times_fastest_float`: how many times as fast as the fastest float model its median is; None where none is float.
    Raises EcgEdgeError for a model that does not take such a window.
    """
    window = first_window(bundle, make_recording())
    for model in models:
        try:
            model.backend.logits(*window)
        except Exception as error:  # each library has exceptions of its own, ONNX Runtime's are not public
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise EcgEdgeError(
                f"{model.name} does not take a window of bundle {bundle.manifest.name} ({reason}): "
                "name with --bundle one of its kind"
            ) from error
    taken = in_turns([partial(model.backend.logits, *window) for model in models], rounds)
    medians = [float(np.median(ms)) for ms in taken]
    floats = [median for model, median in zip(models, medians, strict=True) if not model.integer]
    return [
        {
            "name": model.name,
            "backend": model.backend.name,
            "format": "int8" if model.integer else "float",
            "bytes": model.size,
            "ms": percentiles(ms),
            "times_fastest_float": round(min(floats) / median, 3) if floats else None,
        }
        for model, ms, median in zip(models, taken, medians, strict=True)
    ]
