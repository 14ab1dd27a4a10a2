"""The files that one network becomes, made side by side, and what each of them says of windows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecg_edge.runtime.backends import open_model
from ecg_edge.runtime.contract import Contract
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.windows import Windows

from .onnx import export_float, multiply_accumulates
from .quantize import Quantized, graph_logits, quantize_selectively
from .tflite import export_tflite, tflite_logits

ROUNDS = 300  # timed calls of each format: some 0.1 s
WARM_UP = 20  # calls before them

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Formats:
    """One network's files, and how the quantization went."""

    float_onnx: Path
    int8_onnx: Path
    float_tflite: Path
    int8_tflite: Path
    quantized: Quantized
    """Of the ONNX graph."""

    @property
    def models(self) -> dict[str, bytes]:
        """What a bundle holds, by backend."""
        return {"onnx": self.int8_onnx.read_bytes(), "tflite": self.int8_tflite.read_bytes()}

    @property
    def multiply_accumulates(self) -> int:
        """Of one window."""
        return multiply_accumulates(self.float_onnx)

    def int8_logits(self, windows: Windows) -> dict[str, Logits]:
        """Return the logits (N, classes) of each INT8 format, by backend."""
        return {
            "onnx": graph_logits(self.int8_onnx, windows),
            "tflite": tflite_logits(self.int8_tflite, windows),
        }

    def float_logits(self, windows: Windows) -> Logits:
        """Return the logits (N, classes) of the float graph."""
        return graph_logits(self.float_onnx, windows)

    def latency_ms(self, windows: Windows) -> dict[str, float]:
        """Return the median time of one call of each format on one thread, in turns over some windows."""
        backends = {
            "float onnx": open_model("onnx", self.float_onnx.read_bytes()),
            "int8 onnx": open_model("onnx", self.int8_onnx.read_bytes()),
            "int8 tflite": open_model("tflite", self.int8_tflite.read_bytes()),
        }
        taken: dict[str, list[float]] = {name: [] for name in backends}
        for k in range(WARM_UP + ROUNDS):
            signal = windows.signal[k % len(windows.signal)]
            spectrogram = windows.spectrogram[k % len(windows.signal)].astype(np.uint8)
            for name, backend in backends.items():
                begin = time.perf_counter()
                backend.logits(signal, spectrogram)
                taken[name].append(1e3 * (time.perf_counter() - begin))
        return {name: float(np.median(values[WARM_UP:])) for name, values in taken.items()}


def make_formats(
    network: FusionNet,
    contract: Contract,
    folder: Path,
    stem: str,
    calibration: Windows,
    validation: Windows,
    score: Callable[[Logits], float],
    search: str = "onnxruntime",
) -> Formats:
    """Write `STEM.float.onnx`, `.int8.onnx`, `.float.tflite` and `.int8.tflite` into a folder and return them.

    validation, score, search: what chooses the blocks of the ONNX graph that stay in float, see
    `quantize_selectively`; they stay so in TFLite as well. Raises EcgEdgeError where a converter is not installed.
    """
    float_onnx, int8_onnx, float_tflite, int8_tflite = (
        folder / f"{stem}.{kind}" for kind in ("float.onnx", "int8.onnx", "float.tflite", "int8.tflite")
    )
    export_float(network, contract, float_onnx)
    quantized = quantize_selectively(float_onnx, int8_onnx, calibration, validation, score, search, network)
    export_tflite(network, contract, calibration, float_tflite, int8_tflite, quantized.float_groups)
    return Formats(float_onnx, int8_onnx, float_tflite, int8_tflite, quantized)
