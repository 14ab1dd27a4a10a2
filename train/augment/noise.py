"""Recorded noise to train under: NSTDB's muscle artefact and baseline wander, as the front end passes them on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
        self._powers = Stft(contract).frames(np.ascontiguousarray(signal)).astype(np.int16) + down
        self.channels, self.samples = signal.shape

    def piece(
        self, length: int, leads: int, rng: np.random.Generator, frames: int
    ) -> tuple[npt.NDArray[np.float32], levels.Levels]:
        """Return noise for some leads: float32 (leads, length) and log power (leads, bins, frames) of its beginning.

        Each lead gets its own stretch of a random channel, so that leads are disturbed independently of each other.
        Scaled to one microvolt.
        """
        hop = self._contract.stft_hop
        starts = rng.integers(0, (self.samples - length) // hop, leads)
        channels = rng.integers(0, self.channels, leads)
        signal = np.empty((leads, length), dtype=np.float32)
        power = np.empty((leads, self._powers.shape[1], frames), dtype=np.int16)
        for lead, (c, s) in enumerate(zip(channels, starts, strict=True)):
            signal[lead] = self._signals[c, s * hop : s * hop + length]
            power[lead] = self._powers[c, :, s : s + frames]
        return signal, power


def read_noise(data: Path, name: str, contract: Contract) -> NoiseRecording:
    """Return the noise recording `name` (`ma`, `bw`, `em`) of NSTDB below `data`; raises AugmentError without it."""
    path = data / FOLDER / name
    if not path.with_suffix(".hea").is_file():
        raise AugmentError(
            f"no noise recording {path}: fetch PhysioNet's nstdb into {data}, or set the probability of noise "
            "(noise_probability for ma, wander_probability for bw) to 0"
        )
    return NoiseRecording(read_recording(path, leads=CHANNELS), contract)
