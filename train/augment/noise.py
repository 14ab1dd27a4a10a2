"""Recorded noise to train under: NSTDB's muscle artefact and baseline wander, as the front end passes them on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.conditioning import condition
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.sources.records import read_recording
from ecg_edge.runtime.stft import Stft

from . import levels
from .settings import AugmentError

FOLDER = "nstdb"  # below the data folder
CHANNELS = ("V1", "V2")  # names for the two channels, which have none of an ECG lead; no lead is derived from these
TRAINING_PART = 0.6  # of each recording, from its start; what is left is for tests under noise that no model has heard


class NoiseRecording:
    """The channels of one noise recording, scaled to a standard deviation of one microvolt, and their log power."""

    def __init__(self, recording: Recording, contract: Contract) -> None:
        """Condition the training part of a recording whose channels bear the names CHANNELS."""
        self._contract = contract
        samples = int(len(recording.counts) * TRAINING_PART)
        whole = condition(replace(recording, counts=recording.counts[:samples], invalid=None), contract).signal
        signal = whole[:, [LEADS.index(name) for name in recording.leads]].T
        sigma = np.maximum(signal.std(axis=1), 1.0)
        self._signals = (signal / sigma[:, np.newaxis]).astype(np.float32)
        # The level at one microvolt may lie below the range of eight bits: 16 hold it.
        down = levels.steps_of_gain(-np.log(sigma), contract)[:, np.newaxis, np.newaxis]
        powers = Stft(contract).frames(np.ascontiguousarray(signal)).astype(np.int16) + down
        self._powers = np.ascontiguousarray(powers)
        self.channels, self.samples = signal.shape

    def draw(
        self, length: int, leads: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return where the noise of some leads begins, in STFT hops, and its channels, (leads,) both.

        Each lead gets its own stretch of a random channel, so that leads are disturbed independently of each other.
        """
        starts = rng.integers(0, (self.samples - length) // self._contract.stft_hop, leads)
        return starts, rng.integers(0, self.channels, leads)

    def pieces(
        self, starts: npt.NDArray[np.int64], channels: npt.NDArray[np.int64], length: int, frames: int
    ) -> tuple[npt.NDArray[np.float32], levels.Levels]:
        """Return the noise at `starts` of `channels`, both (...), as `draw` has them, scaled to one microvolt.

        That is float32 (..., length) and the log power of its beginning (..., bins, frames), which may be negative.
        """
        signals = sliding_window_view(self._signals, length, axis=1)
        powers = np.swapaxes(sliding_window_view(self._powers, frames, axis=2), 1, 2)
        return signals[channels, starts * self._contract.stft_hop], powers[channels, starts]


def read_noise(data: Path, name: str, contract: Contract) -> NoiseRecording:
    """Return the noise recording `name` (`ma`, `bw`, `em`) of NSTDB below `data`; raises AugmentError without it."""
    path = data / FOLDER / name
    if not path.with_suffix(".hea").is_file():
        raise AugmentError(
            f"no noise recording {path}: fetch PhysioNet's nstdb into {data}, or set the probability of noise "
            "(noise_probability for ma, wander_probability for bw) to 0"
        )
    return NoiseRecording(read_recording(path, leads=CHANNELS), contract)
