"""Post-training INT8 quantization for ONNX Runtime, and the choice of what stays in float.

Activations are uint8 and weights int8 with one scale per output channel (U8S8, QDQ form), ranges are the smallest
and largest values over calibration windows. Weights use 7 of their 8 bits: kernels for processors without dot-product
instructions add two products in 16 bits with saturation, which 8-bit weights can reach and 7-bit ones cannot
(255 * 64 * 2 < 2**15), so every machine computes the same integers.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.windows import Windows

from .onnx import INPUTS, strip
from .search import NotInstalledError, search_blocks

QUANTIZED = ("Conv", "Relu", "Add")  # the rest is small, and faster in float than converted to and fro
IN_FLOAT = ("time/", "spectrogram/", "fusion", "head")
"""Starts of node names that always stay in float: scaling of the inputs, pooling, the fusion, and the head,
which gives the logits their own precision. Together 0.1 % of the multiply-accumulates at most."""
LARGEST_DROP = 0.002  # of the validation macro AUROC that quantization may cost before blocks go back to float
LARGEST_ERROR = 0.15  # root mean square of the logits' error: moves a probability of 0.5 by less than 0.04
CALIBRATION_WINDOWS = 256
SEARCHES = ("onnxruntime", "neural-compressor")
WINDOWS_PER_CLASS = 6  # of a rare class, at least, among them: its activations may be the extremes


@dataclass(frozen=True)
class Quantized:
    """How a graph was quantized."""

    float_groups: tuple[str, ...]
    """Blocks left in float because INT8 hurt there, in the order in which they were given back."""
    float_nodes: tuple[str, ...]
    """Their nodes."""
    sensitivity: dict[str, float]
    """Root mean square error of the validation logits with only that block quantized."""
    error: float
    """The same with everything quantized that is quantized in the result."""
    drop: float
    """Loss of validation macro AUROC against the float graph."""
    search: str = "onnxruntime"
    """What chose the first of the blocks left in float, one of SEARCHES; ONNX Runtime's graph had the last word."""


class _Reader(CalibrationDataReader):
    def __init__(self, windows: Windows) -> None:
        self._feeds = feeds(windows)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        return next(self._feeds, None)


def feeds(windows: Windows) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the graph's inputs for each window."""
    for signal, spectrogram in zip(windows.signal, windows.spectrogram, strict=True):
        yield {INPUTS[0]: signal[np.newaxis, :, np.newaxis], INPUTS[1]: spectrogram[np.newaxis]}


def graph_logits(model: Path | bytes, windows: Windows) -> npt.NDArray[np.float32]:
    """Return the logits (N, classes) that a graph gives to windows, one at a time on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, feed)[0] for feed in feeds(windows)])


def choose_calibration(
    labels: npt.NDArray[np.bool_], sources: Sequence[str], count: int = CALIBRATION_WINDOWS, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return the numbers of `count` records, sorted: some of each class and source first, then any."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    groups = [order[labels[order, k]] for k in range(labels.shape[1])]
    groups += [order[np.array(sources)[order] == source] for source in sorted(set(sources))]
    wanted = np.concatenate([*(group[:WINDOWS_PER_CLASS] for group in groups), order])
    _, first = np.unique(wanted, return_index=True)
    return np.sort(wanted[np.sort(first)][:count])


def quantize(float_graph: Path, out: Path, calibration: Windows, keep_float: Sequence[str] = ()) -> None:
    """Write the INT8 form of `float_graph` to `out`; nodes named in `keep_float` and those IN_FLOAT stay in float."""
    fixed = [node.name for node in onnx.load(str(float_graph)).graph.node if node.name.startswith(IN_FLOAT)]
    with tempfile.TemporaryDirectory() as folder:
        shaped = Path(folder) / "shaped.onnx"
        quant_pre_process(str(float_graph), str(shaped), skip_symbolic_shape=True, skip_optimization=True)
        quantize_static(
            str(shaped),
            str(out),
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*keep_float, *fixed],
            calibrate_method=CalibrationMethod.MinMax,
        )
    model = onnx.load(str(out))
    strip(model)
    onnx.save(model, str(out))


def groups(float_graph: Path) -> dict[str, list[str]]:
    """Return the quantizable nodes of each block (`time.stem`, `time.blocks.2`), in the graph's order.

    A ReLU or a sum goes with the convolution before it: they become one kernel.
    """
    found: dict[str, list[str]] = {}
    block = ""
    for node in onnx.load(str(float_graph)).graph.node:
        if node.op_type not in QUANTIZED or node.name.startswith(IN_FLOAT):
            continue
        if node.op_type == "Conv":
            parts = node.name.split("/")[0].split(".")
            block = ".".join(parts[: 3 if parts[1] == "blocks" else 2])
        found.setdefault(block, []).append(node.name)
    return found


def quantize_selectively(
    float_graph: Path,
    out: Path,
    calibration: Windows,
    validation: Windows,
    score: Callable[[npt.NDArray[np.float32]], float],
    search: str = "onnxruntime",
    network: FusionNet | None = None,
) -> Quantized:
    """Quantize block by block to see what each costs, then all of them but those that cost too much.

    Starts from everything in INT8; while the validation logits are further than LARGEST_ERROR from the float ones,
    or `score` (of logits) falls by more than LARGEST_DROP, the block that alone errs most goes back to float.

    search: with `neural-compressor`, starts from what `search.search_blocks` finds for `network`, the one that
    `float_graph` was exported from; where the graph that ONNX Runtime makes of it is still outside the limits, more
    blocks go back to float as above. Without that package it starts from everything, and says so on stderr.
    Raises EcgEdgeError for another search, or where it has no network.
    """
    if search not in SEARCHES:
        raise EcgEdgeError(f"search = {search!r}: must be one of {', '.join(SEARCHES)}")
    if search == "neural-compressor" and network is None:
        raise EcgEdgeError("the search through neural-compressor needs the network besides its graph")
    exact = graph_logits(float_graph, validation)
    best = score(exact)
    blocks = groups(float_graph)

    def losses(logits: npt.NDArray[np.float32]) -> tuple[float, float]:
        return _rms(logits - exact), best - score(logits)

    def cost(logits: npt.NDArray[np.float32]) -> float:
        error, drop = losses(logits)
        return max(drop / LARGEST_DROP, error / LARGEST_ERROR)

    found: tuple[str, ...] = ()
    if search == "neural-compressor" and network is not None:
        try:
            found = search_blocks(network, list(blocks), calibration, validation, cost)
        except NotInstalledError as missing:
            search = "onnxruntime"
            print(f"{missing}; searched with ONNX Runtime instead", file=sys.stderr)

    every = [name for names in blocks.values() for name in names]
    sensitivity: dict[str, float] = {}
    for block, names in blocks.items():
        quantize(float_graph, out, calibration, [name for name in every if name not in names])
        sensitivity[block] = _rms(graph_logits(out, validation) - exact)
    rest = [block for block in blocks if block not in found]
    worst_first = [*found, *sorted(rest, key=lambda block: -sensitivity[block])]
    for count in range(len(found), len(blocks) + 1):
        kept = [name for block in worst_first[:count] for name in blocks[block]]
        quantize(float_graph, out, calibration, kept)
        logits = graph_logits(out, validation)
        if cost(logits) <= 1:
            break
    error, drop = losses(logits)
    return Quantized(tuple(worst_first[:count]), tuple(kept), sensitivity, error, drop, search)


def _rms(values: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
