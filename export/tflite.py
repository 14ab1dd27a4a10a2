"""From a trained network to TFLite: a float graph, and from it the INT8 graph that devices run.

The INT8 graph is integer from its inputs on: int8 activations, int8 weights with a scale per output channel, ranges
the smallest and largest values over calibration windows. The inputs have the fixed scales of
`runtime.backends.tflite_inputs`. Packages of the extra `export`; none of them is imported before it is needed.
"""

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends.tflite_inputs import SIGNAL_STEPS, SPECTROGRAM_ZERO, quantize_inputs
from ecg_edge.runtime.contract import Contract
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.windows import Windows

from .tflite_file import compact, named
from .tflite_form import TfliteForm

INPUTS = ("signal", "spectrogram")
OUTPUT = "logits"
IN_FLOAT = ("head/",)
"""Starts of names of what stays in float by default: the head, a thousandth of the multiply-accumulates. In 8 bits
each of its sums would round the logits once more."""
_ENTRY = "serving_default"  # litert-torch's name for a graph's only entry, and below for its arguments
_ARGUMENTS = ("args_0", "args_1")
_INT8 = (-128, 127)


def export_tflite(
    network: FusionNet,
    contract: Contract,
    calibration: Windows,
    float_path: Path,
    int8_path: Path,
    keep_float: Sequence[str] = IN_FLOAT,
) -> None:
    """Write `network` as a float graph to `float_path` and as an INT8 graph to `int8_path`.

    Inputs of both, batch 1: `signal` (1, 1, window, leads) and `spectrogram` (1, bins, frames, leads), float32 in the
    one and int8 in the other, on the scales of `tflite_inputs`; output: `logits` float32 (1, classes). Tensors whose
    names start with one of `keep_float` stay in float, with the operators that give them.
    Raises EcgEdgeError for another backbone than the edge one, or where the extra `export` is not installed.
    """
    float_graph = convert(network, contract)
    float_path.write_bytes(float_graph)
    int8_path.write_bytes(quantize_tflite(float_graph, calibration, keep_float))


def convert(network: FusionNet, contract: Contract) -> bytes:
    """Return the float graph of a network; see `export_tflite`."""
    leads = len(contract.leads)
    form = TfliteForm(network, leads, contract.window, contract.stft_bins, contract.frames).eval()
    example = (
        torch.zeros((1, 1, contract.window, leads)),
        torch.zeros((1, contract.stft_bins, contract.frames, leads)),
    )
    with _tools():
        import litert_torch

        model = litert_torch.convert(form, example).model_content()
        return named(model, INPUTS, OUTPUT)


def quantize_tflite(float_graph: bytes, calibration: Windows, keep_float: Sequence[str] = IN_FLOAT) -> bytes:
    """Return the INT8 form of a float graph of `convert`; see `export_tflite`."""
    with _tools():
        from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
        from ai_edge_quantizer.utils import qsv_utils

        everything = qtyping.TFLOperationName.ALL_SUPPORTED
        recipes = recipe_manager.RecipeManager()
        recipes.add_static_config(".*", everything, activation_num_bits=8, weight_num_bits=8)
        if keep_float:
            pattern = f"^({'|'.join(map(re.escape, (*keep_float, OUTPUT)))}).*"
            recipes.add_quantization_config(pattern, everything, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
        # Ranges that only grow: the default, a moving average, clips what is rare.
        ranges = calibrator.Calibrator(float_graph, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
        feeds = [
            dict(zip(_ARGUMENTS, (part.astype(np.float32) for part in dequantized(*inputs)), strict=True))
            for inputs in tflite_inputs(calibration)
        ]
        ranges.calibrate({_ENTRY: feeds}, recipes)
        found = ranges.get_model_qsvs()
        zero = (0, SPECTROGRAM_ZERO)
        for name, step, zero_point in zip(INPUTS, (1 / SIGNAL_STEPS, 1.0), zero, strict=True):
            low, high = (np.full((1, 1, 1, 1), step * (end - zero_point), np.float32) for end in _INT8)
            found[name] = {"min": low, "max": high}
        engine = quantizer.Quantizer(bytearray(float_graph), recipes.get_quantization_recipe())
        result = engine.quantize(found, enable_progress_report=False).quantized_model
        assert result is not None  # None is for a recipe that quantizes nothing
        return compact(bytes(result))


def tflite_inputs(windows: Windows) -> Iterator[tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]]:
    """Yield the INT8 graph's inputs for each window."""
    for signal, spectrogram in zip(windows.signal, windows.spectrogram, strict=True):
        yield quantize_inputs(signal, spectrogram.astype(np.uint8, copy=False))


def dequantized(
    signal: npt.NDArray[np.int8], spectrogram: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the float graph's inputs from the INT8 graph's."""
    return signal.astype(np.float32) / np.float32(SIGNAL_STEPS), spectrogram.astype(np.float32) - SPECTROGRAM_ZERO


def tflite_logits(model: Path | bytes, windows: Windows) -> npt.NDArray[np.float32]:
    """Return the logits (N, classes) that a graph, float or INT8, gives to windows, one at a time on one thread."""
    with _tools():
        from ai_edge_litert.interpreter import Interpreter
    content = model if isinstance(model, bytes) else model.read_bytes()
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    places = interpreter.get_input_details()
    output = interpreter.get_output_details()[0]
    scale, zero = output["quantization"] if output["dtype"] == np.int8 else (1.0, 0)
    logits = []
    for inputs in tflite_inputs(windows):
        given: Sequence[npt.NDArray[Any]] = inputs if places[0]["dtype"] == np.int8 else dequantized(*inputs)
        for place, values in zip(places, given, strict=True):
            interpreter.set_tensor(place["index"], values)
        interpreter.invoke()
        logits.append((interpreter.get_tensor(output["index"])[0].astype(np.float32) - zero) * np.float32(scale))
    return np.stack(logits)


@contextlib.contextmanager
def _tools() -> Iterator[None]:
    """Let the conversion's packages be used without what they print; an error names the extra where one is missing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise EcgEdgeError(f"TFLite cannot be written ({error}): pip install ecg-edge[export]") from error
