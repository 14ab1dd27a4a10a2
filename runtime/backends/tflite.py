"""INT8 TFLite graphs on LiteRT, or on the older tflite-runtime."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..bundle import BundleError
from .tflite_inputs import SIGNAL_STEPS, SPECTROGRAM_ZERO, quantize_inputs

INSTALL = "pip install ecg-edge[tflite]"


class TfliteBackend:
    """LiteRT (`ai-edge-litert`) on the CPU, or `tflite-runtime` where that is what is installed."""

    name = "tflite"

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Open a graph with the inputs of `tflite_inputs` and one output, int8 or float.

        Raises BundleError where no interpreter is installed, it refuses the graph, or the graph takes other inputs.
        """
        interpreter = _interpreter()
        try:
            with _without_a_word():
                self._interpreter = interpreter(model_content=model, num_threads=threads)
            self._interpreter.allocate_tensors()
            inputs, (output,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise BundleError(f"LiteRT cannot open the model ({first}): update ai-edge-litert") from error
        scales = [(one["dtype"], one["quantization"]) for one in inputs]
        if scales != [(np.int8, (1 / SIGNAL_STEPS, 0)), (np.int8, (1.0, SPECTROGRAM_ZERO))]:
            raise BundleError("the TFLite model takes other inputs than this version gives: export the bundle again")
        self._signal, self._spectrogram = (one["index"] for one in inputs)
        self._output = output["index"]
        self._scale: float
        self._zero: int
        self._scale, self._zero = output["quantization"] if output["dtype"] == np.int8 else (1.0, 0)

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits (classes,) of one window; see Backend."""
        steps, power = quantize_inputs(signal, spectrogram)
        self._interpreter.set_tensor(self._signal, steps)
        self._interpreter.set_tensor(self._spectrogram, power)
        self._interpreter.invoke()
        answer = self._interpreter.get_tensor(self._output)[0]
        logits: npt.NDArray[np.float32] = (answer.astype(np.float32) - np.float32(self._zero)) * np.float32(self._scale)
        return logits


@contextlib.contextmanager
def _without_a_word() -> Iterator[None]:
    """Send what native code writes to the standard error nowhere: LiteRT says there which delegate it made.

    It has no setting for that. What goes wrong is raised, so nothing is lost.
    """
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _interpreter() -> Any:
    """Return the class Interpreter; raises BundleError naming what to install."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        pass
    else:
        return Interpreter
    try:
        from tflite_runtime.interpreter import Interpreter as Older
    except ImportError as error:
        # tflite-runtime is built against NumPy 1, and its extension refuses to be imported under NumPy 2.
        if error.name is None or not error.name.startswith("tflite_runtime"):
            raise BundleError(
                f"tflite-runtime does not run here ({str(error).splitlines()[0]}), it needs numpy below 2: {INSTALL}"
            ) from error
        raise BundleError(f"no TFLite interpreter is installed: {INSTALL}, or use --backend onnx") from error
    return Older
