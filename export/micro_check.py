"""Does a model decide in TensorFlow Lite Micro as in LiteRT? On the windows of records, as the engine makes them.

LiteRT's reference kernels compute the same integers as TensorFlow Lite Micro's, so the logits are the same to the bit;
those that hosts run (XNNPACK) round otherwise, which moves a decision here and there whose logit is at the threshold.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.backends.tflite import TfliteBackend
from ecg_edge.runtime.bundle import Bundle
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.prediction import predict

from .micro import MicroBackend


@dataclass(frozen=True)
class KernelCheck:
    """TensorFlow Lite Micro's answers against those of one set of LiteRT's kernels."""

    kernels: str
    """`reference`, or `default` for those that a host runs."""
    windows: int
    """That were judged."""
    decisions: int
    """Windows times classes."""
    differ: int
    """Decisions that are not the same."""
    same_windows: int
    """Windows whose logits are the same to the bit."""
    largest_difference: float
    """Of a logit."""
    farthest: float
    """Largest distance to the threshold of a logit of LiteRT's whose decision is not the same; 0 without one."""


class _Compared:
    """A Backend that gives each window to both sides, and counts; answers as TensorFlow Lite Micro does."""

    name = "micro"

    def __init__(self, model: bytes, arena: int, thresholds: npt.NDArray[np.float64]) -> None:
        """thresholds: of the logits, (classes,)."""
        self._thresholds = thresholds
        self._micro = MicroBackend(model, arena)
        self._hosts = {"reference": TfliteBackend(model, reference=True), "default": TfliteBackend(model)}
        self.windows = 0
        self._differ = dict.fromkeys(self._hosts, 0)
        self._same = dict.fromkeys(self._hosts, 0)
        self._largest = dict.fromkeys(self._hosts, 0.0)
        self._farthest = dict.fromkeys(self._hosts, 0.0)

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits (classes,) of one window; see Backend."""
        there = self._micro.logits(signal, spectrogram)
        self.windows += 1
        for name, host in self._hosts.items():
            here = host.logits(signal, spectrogram)
            away = np.abs(here - self._thresholds)[(there > self._thresholds) != (here > self._thresholds)]
            self._differ[name] += len(away)
            self._same[name] += bool(np.array_equal(there, here))
            self._largest[name] = max(self._largest[name], float(np.abs(there - here).max()))
            self._farthest[name] = max(self._farthest[name], float(away.max(initial=0.0)))
        return there

    def result(self, name: str) -> KernelCheck:
        """Return what was counted against one of the hosts."""
        return KernelCheck(
            kernels=name,
            windows=self.windows,
            decisions=self.windows * len(self._thresholds),
            differ=self._differ[name],
            same_windows=self._same[name],
            largest_difference=self._largest[name],
            farthest=self._farthest[name],
        )


def check_decisions(bundle: Bundle, recordings: Iterable[Recording], arena: int) -> tuple[KernelCheck, KernelCheck]:
    """Run recordings through the engine with a bundle's TFLite model on all kernels; return (reference, default).

    Raises MicroError or BundleError where an interpreter is missing or does not take the model.
    """
    classes = bundle.manifest.classes
    compared = _Compared(bundle.model("tflite"), arena, logit_thresholds(bundle))
    policy = load_policy(None, labels=[c.abbreviation for c in classes])
    for recording in recordings:
        predict(recording, recording.name, bundle, compared, policy)
    return compared.result("reference"), compared.result("default")


def logit_thresholds(bundle: Bundle) -> npt.NDArray[np.float64]:
    """Return the threshold of each class as a logit, (classes,)."""
    thresholds = np.array([info.threshold for info in bundle.manifest.classes])
    logits: npt.NDArray[np.float64] = np.log(thresholds / (1 - thresholds))
    return logits
