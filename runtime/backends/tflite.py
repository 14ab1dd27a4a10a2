"""TFLite graphs on LiteRT, or on the older tflite-runtime."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from ..bundle import BundleError
from .tflite_inputs import SIGNAL_STEPS, SPECTROGRAM_ZERO, float_inputs, quantize_inputs

INSTALL = "pip install ecg-edge[tflite]"


class TfliteBackend:
    """LiteRT (`ai-edge-litert`) on the CPU, or `tflite-runtime` where that is what is installed."""

    name = "tflite"

    def __init__(self, model: bytes, threads: int = 1, reference: bool = False) -> None:
        """Open a graph with the inputs of `tflite_inputs`, int8 or float, and one output of floats.

        reference: run LiteRT's reference kernels, which are slow and round as a microcontroller's do.
        Raises BundleError where no interpreter is installed, it refuses the graph, or the graph takes other inputs.
        """
        interpreter = _interpreter()
        kernels = {}
        if reference:
            resolvers = import_module(interpreter.__module__).OpResolverType
            kernels["experimental_op_resolver_type"] = resolvers.BUILTIN_REF
        try:
            with without_native_messages():
                self._interpreter = interpreter(model_content=model, num_threads=threads, **kernels)
                self._interpreter.allocate_tensors()
            inputs, (output,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise BundleError(f"LiteRT cannot open the model ({first}): update ai-edge-litert") from error
        given = [(one["dtype"], *one["quantization"]) for one in inputs]
        wanted = [(np.int8, 1 / SIGNAL_STEPS, 0), (np.int8, 1.0, SPECTROGRAM_ZERO)]
        self._whole = [one != (np.float32, 0.0, 0) for one in given]
        if (
            len(given) != len(wanted)
            or any(whole and one != known for one, known, whole in zip(given, wanted, self._whole, strict=True))
            or output["dtype"] != np.float32
        ):
            raise BundleError("the TFLite model is not for the inputs that this version gives: export the bundle again")
        self._places = [one["index"] for one in inputs]
        self._output = output["index"]

    @property
    def takes_integers(self) -> bool:
        """Whether the graph's inputs are integers, as those of INT8 graphs are."""
        return any(self._whole)

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits (classes,) of one window; see Backend."""
        in_steps = quantize_inputs(signal, spectrogram) if any(self._whole) else ()
        in_float = float_inputs(signal, spectrogram) if not all(self._whole) else ()
        for number, (place, whole) in enumerate(zip(self._places, self._whole, strict=True)):
            self._interpreter.set_tensor(place, (in_steps if whole else in_float)[number])
        self._interpreter.invoke()
        logits: npt.NDArray[np.float32] = self._interpreter.get_tensor(self._output)[0]
        return logits


@contextlib.contextmanager
def without_native_messages() -> Iterator[None]:
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
    if importlib.util.find_spec("tflite_runtime") is None:
        raise BundleError(f"no TFLite interpreter is installed: {INSTALL}, or use --backend onnx")
    if int(np.__version__.partition(".")[0]) > 1:  # its last release, 2.14, is built against NumPy 1
        raise BundleError(f"tflite-runtime needs numpy below 2 and {np.__version__} is installed: {INSTALL}")
    from tflite_runtime.interpreter import Interpreter as Older

    return Older
