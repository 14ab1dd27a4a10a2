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

import numpy as np
import numpy.typing as npt
import torch

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends.tflite import TfliteBackend, without_native_messages
from ecg_edge.runtime.backends.tflite_inputs import SIGNAL_STEPS, SPECTROGRAM_ZERO, quantize_inputs
from ecg_edge.runtime.contract import Contract
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.windows import Windows, predict_logits

from .tflite_file import compact, integer_inputs, named
from .tflite_form import TfliteForm

INPUTS = ("signal", "spectrogram")
OUTPUT = "logits"
IN_FLOAT = ("head/",)
"""Starts of names of what always stays in float: the head, a thousandth of the multiply-accumulates. In 8 bits each of
its sums rounds the logits once more: of the shipped network's their error was half as large again (0.070 instead of
0.047 on fold 8), of a gated one's five times as large."""
PROBES = 4  # windows that a float graph has to answer as the network does
LARGEST_DIFFERENCE = 1e-3  # of their logits, as a part of the largest: a hundred times what float32 differs by
_ENTRY = "serving_default"  # litert-torch's name for a graph's only entry, and below for its arguments
_ARGUMENTS = ("args_0", "args_1")
_INT8 = (-128, 127)


def export_tflite(
    network: FusionNet,
    contract: Contract,
    calibration: Windows,
    float_path: Path,
    int8_path: Path,
    keep_float: Sequence[str] = (),
) -> None:
    """Write `network` as a float graph to `float_path` and as an INT8 graph to `int8_path`.

    Inputs of both, batch 1: `signal` (1, 1, window, leads) and `spectrogram` (1, bins, frames, leads), float32 in the
    one and int8 in the other, on the scales of `tflite_inputs`; output: `logits` float32 (1, classes). Blocks in
    `keep_float`, named as `export.quantize` names them (`time.stem`, `time.blocks.2`), stay in float as the head does.
    Raises EcgEdgeError for another backbone than the edge one, or where the extra `export` is not installed.
    """
    float_graph = convert(network, contract)
    float_path.write_bytes(float_graph)
    int8_path.write_bytes(quantize_tflite(float_graph, calibration, keep_float))


def convert(network: FusionNet, contract: Contract) -> bytes:
    """Return the float graph of a network; see `export_tflite`.

    Raises EcgEdgeError as well where the graph answers otherwise than the network.
    """
    leads = len(contract.leads)
    form = TfliteForm(network, leads, contract.window, contract.stft_bins, contract.frames).eval()
    example = (
        torch.zeros((1, 1, contract.window, leads)),
        torch.zeros((1, contract.stft_bins, contract.frames, leads)),
    )
    with _tools():
        import litert_torch

        model = named(litert_torch.convert(form, example).model_content(), INPUTS, OUTPUT)
    _check(network, contract, model)
    return model


def quantize_tflite(float_graph: bytes, calibration: Windows, keep_float: Sequence[str] = ()) -> bytes:
    """Return the INT8 form of a float graph of `convert`; see `export_tflite`."""
    with _tools():
        from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
        from ai_edge_quantizer.utils import qsv_utils

        everything = qtyping.TFLOperationName.ALL_SUPPORTED
        recipes = recipe_manager.RecipeManager()
        recipes.add_static_config(".*", everything, activation_num_bits=8, weight_num_bits=8)
        starts = [*IN_FLOAT, OUTPUT, *(start for block in keep_float for start in _starts(block))]
        pattern = f"^({'|'.join(map(re.escape, starts))}).*"
        recipes.add_quantization_config(pattern, everything, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
        # Ranges that only grow: the default, a moving average, clips what is rare.
        ranges = calibrator.Calibrator(float_graph, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
        feeds = [
            dict(zip(_ARGUMENTS, (part.astype(np.float32) for part in dequantized(*inputs)), strict=True))
            for inputs in tflite_inputs(calibration)
        ]
        ranges.calibrate({_ENTRY: feeds}, recipes)
        found = ranges.get_model_qsvs()
        scales = dict(zip(INPUTS, ((1 / SIGNAL_STEPS, 0), (1.0, SPECTROGRAM_ZERO)), strict=True))
        for name, (step, zero_point) in scales.items():
            low, high = (np.full((1, 1, 1, 1), step * (end - zero_point), np.float32) for end in _INT8)
            found[name] = {"min": low, "max": high}
        engine = quantizer.Quantizer(bytearray(float_graph), recipes.get_quantization_recipe())
        result = engine.quantize(found, enable_progress_report=False).quantized_model
        assert result is not None  # None is for a recipe that quantizes nothing
        return compact(integer_inputs(bytes(result), scales))


def tflite_inputs(windows: Windows) -> Iterator[tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]]:
    """Yield the INT8 graph's inputs for each window."""
    for signal, spectrogram in zip(windows.signal, windows.spectrogram, strict=True):
        yield quantize_inputs(signal, spectrogram.astype(np.uint8, copy=False))


def dequantized(
    signal: npt.NDArray[np.int8], spectrogram: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the float graph's inputs from the INT8 graph's."""
    return signal.astype(np.float32) / np.float32(SIGNAL_STEPS), spectrogram.astype(np.float32) - SPECTROGRAM_ZERO


def tflite_logits(model: Path | bytes, windows: Windows, reference: bool = False) -> npt.NDArray[np.float32]:
    """Return the logits (N, classes) that a graph, float or INT8, gives to windows, one at a time on one thread.

    reference: by LiteRT's reference kernels.
    """
    backend = TfliteBackend(model if isinstance(model, bytes) else model.read_bytes(), reference=reference)
    spectrograms = np.asarray(windows.spectrogram, dtype=np.uint8)
    return np.stack([backend.logits(*one) for one in zip(windows.signal, spectrograms, strict=True)])


def _check(network: FusionNet, contract: Contract, graph: bytes) -> None:
    """Raise EcgEdgeError unless a float graph gives the network's logits of some noise: converters do err."""
    rng = np.random.default_rng(0)
    leads = len(contract.leads)
    signal = rng.normal(0, 300, (PROBES, leads, contract.window)).astype(np.int16)
    spectrogram = rng.integers(0, 256, (PROBES, leads, contract.stft_bins, contract.frames)).astype(np.uint8)
    windows = Windows(signal, spectrogram)
    exact = predict_logits(network, windows)
    difference = float(np.abs(tflite_logits(graph, windows) - exact).max())
    if not difference <= LARGEST_DIFFERENCE * float(np.abs(exact).max()):
        raise EcgEdgeError(
            f"the float TFLite graph is {difference:.2g} away from the network's logits: use another litert-torch"
        )


def _starts(block: str) -> tuple[str, ...]:
    """Return how the names of a block's tensors start; a ReLU after a branch's stem has the branch's own name."""
    branch, _, part = block.partition(".")
    return (f"{branch}/stem/", f"{branch}/relu/") if part == "stem" else (block.replace(".", "/") + "/",)


@contextlib.contextmanager
def _tools() -> Iterator[None]:
    """Let the conversion's packages be used without what they print; an error names the extra where one is missing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    said = io.StringIO()
    try:
        with contextlib.ExitStack() as quiet:
            quiet.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
                quiet.enter_context(redirect(said))
            quiet.enter_context(without_native_messages())
            yield
    except ImportError as error:
        raise EcgEdgeError(f"TFLite cannot be written ({error}): pip install ecg-edge[export]") from error
