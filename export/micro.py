"""A TFLite graph in TensorFlow Lite Micro's own interpreter, as a microcontroller runs it (extra `micro`)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends.tflite import without_native_messages
from ecg_edge.runtime.backends.tflite_inputs import quantize_inputs
from ecg_edge.train.windows import Windows

STEP = 1024  # bytes; an arena is given in whole kibibytes
LARGEST_ARENA = 2**20  # more than any microcontroller that this is for has


class MicroError(EcgEdgeError):
    """A graph that TensorFlow Lite Micro does not run, or no such interpreter here."""


class MicroBackend:
    """An INT8 graph in TensorFlow Lite Micro's interpreter, as a Backend of the engine."""

    name = "micro"

    def __init__(self, model: bytes, arena: int) -> None:
        """Open a graph with so many bytes of arena.

        Raises MicroError where there is no interpreter, or it does not take the graph.
        """
        self._interpreter = _open(model, arena)
        if self._interpreter is None:
            raise MicroError(f"TensorFlow Lite Micro does not run the model in {arena} bytes: give it a larger arena")

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits (classes,) of one window; see Backend."""
        for number, values in enumerate(quantize_inputs(signal, spectrogram)):
            self._interpreter.set_input(values, number)
        self._interpreter.invoke()
        return np.array(self._interpreter.get_output(0)[0], dtype=np.float32)


def micro_logits(model: bytes, windows: Windows, arena: int) -> npt.NDArray[np.float32]:
    """Return the logits (N, classes) that an INT8 graph gives to windows with so many bytes of arena.

    Raises MicroError where there is no interpreter, or it does not take the graph.
    """
    backend = MicroBackend(model, arena)
    spectrograms = np.asarray(windows.spectrogram, dtype=np.uint8)
    return np.stack([backend.logits(*one) for one in zip(windows.signal, spectrograms, strict=True)])


def arena_bytes(model: bytes) -> int:
    """Return the smallest arena, in bytes, that the interpreter takes for a graph; a multiple of STEP.

    Measured by trying, on this machine: with 8-byte pointers and the reference kernels. A microcontroller's 4-byte
    pointers need less, its own kernels (CMSIS-NN, ESP-NN) a few kilobytes of scratch memory more.
    Raises MicroError where there is no interpreter, or it takes the graph at no size.
    """
    low, high = 0, LARGEST_ARENA // STEP  # the first is too small, the second large enough
    if _open(model, high * STEP) is None:
        raise MicroError("TensorFlow Lite Micro does not take the model: it may lack one of its operators")
    while high - low > 1:
        middle = (low + high) // 2
        if _open(model, middle * STEP) is None:
            low = middle
        else:
            high = middle
    return high * STEP


def _open(model: bytes, arena: int) -> Any:
    """Return an interpreter, or None where it cannot place the graph's tensors."""
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise MicroError(
            f"TensorFlow Lite Micro's interpreter is not here ({error}): with Python 3.11, the only one that it has "
            "wheels for, pip install 'ecg-edge[micro]'"
        ) from error
    try:
        with without_native_messages():
            return runtime.Interpreter.from_bytes(model, arena_size=arena)
    except RuntimeError:
        return None
