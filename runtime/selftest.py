"""The self-test of a bundle on this machine: a made-up signal whose every integer is known, through everything."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import MEASURED_LEADS
from ecg_edge.firmware_bridge.recording import Recording

from .backends import Backend
from .bundle import Bundle
from .conditioning import condition
from .contract import Contract
from .stft import spectrogram

RATE = 500


def make_recording(seconds: int) -> Recording:
    """Return a signal made with integers only: triangular beats, a ramp and noise, another shape in each lead.

    Integers only, since a sine's last bit differs between math libraries and this signal's hash must not.
    """
    n = seconds * RATE
    t = np.arange(n, dtype=np.int64)
    counts = np.zeros((n, len(MEASURED_LEADS)), dtype=np.int64)
    state = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(6364136223846793005)  # Knuth's MMIX multiplier
    for lead in range(len(MEASURED_LEADS)):
        beat = (t + 37 * lead) % (380 + 9 * lead)
        qrs = np.maximum(0, 22 - np.abs(beat - 60)) * (40 - 14 * (lead % 4))
        t_wave = np.maximum(0, 60 - np.abs(beat - 190)) * (4 - lead % 3)
        noise = ((state >> np.uint64(40 + lead)) % np.uint64(31)).astype(np.int64) - 15
        counts[:, lead] = qrs + t_wave + noise + t // (50 + lead)
    return Recording("self-test", RATE, MEASURED_LEADS, counts.astype(np.int32), 1_000_000)


@dataclass(frozen=True)
class Inputs:
    """The model's inputs from the test signal."""

    signal: npt.NDArray[np.int16]
    """(12, window)."""
    spectrogram: npt.NDArray[np.uint8]
    """(12, bins, frames)."""

    @property
    def sha256(self) -> str:
        """Hash of all the integers."""
        little = np.ascontiguousarray(self.signal).astype("<i2").tobytes()
        return hashlib.sha256(little + np.ascontiguousarray(self.spectrogram).tobytes()).hexdigest()


def front_end_inputs(contract: Contract) -> Inputs:
    """Return what the front end makes of the test signal under a contract."""
    conditioned = condition(make_recording(contract.window_seconds), contract)
    signal = np.ascontiguousarray(conditioned.signal.T)
    return Inputs(signal, np.ascontiguousarray(spectrogram(signal, contract)))


@dataclass(frozen=True)
class Outcome:
    """What the self-test found."""

    front_end_exact: bool
    largest_difference: float
    """Of a logit, against the bundle's."""
    passed: bool


def run(bundle: Bundle, backend: Backend) -> Outcome:
    """Run a bundle's self-test on this machine, with a backend that runs one of its models."""
    expected = bundle.manifest.self_test
    inputs = front_end_inputs(bundle.manifest.contract)
    exact = inputs.sha256 == expected.front_end_sha256
    difference = np.abs(backend.logits(inputs.signal, inputs.spectrogram) - np.array(expected.logits[backend.name]))
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    return Outcome(exact, largest, exact and largest <= expected.tolerance)
