"""The signal contract: every number that training and the device must agree on, in one frozen dataclass.

A bundle carries the contract that its model was trained on; the engine is built from it. Whatever changes the
integers that the front end computes changes the contract, and so its hash.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Self

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.leads import LEADS

FRONT_END_VERSION = 1
"""Raised whenever the same input would give other integers with the same settings."""


class ContractError(EcgEdgeError):
    """A contract that this front end cannot compute exactly."""


@dataclass(frozen=True)
class Contract:
    """What a model expects of the numbers it is given."""

    front_end: int = FRONT_END_VERSION
    """Version of the front end's arithmetic."""
    leads: tuple[str, ...] = LEADS
    """Row order of every 12-lead array."""
    rate: int = 100
    """Model rate in Hz."""
    nv_per_lsb: int = 1000
    """Nanovolts per LSB of the conditioned int16 signal: 1 LSB = 1 microvolt, saturating at +-32767."""
    window_seconds: int = 10
    """Length of the signal that one decision rests on."""
    hop_seconds: int = 1
    """Time from one window to the next."""
    lowpass_pass_hz: float = 40.0
    """End of the pass band of the resampling low-pass."""
    lowpass_stop_hz: float = 50.0
    """Start of its stop band, at least 60 dB down; Nyquist's frequency of the model rate."""
    highpass_boxcar: int = 128
    """Length in model samples of each of the two moving averages whose cascade, subtracted from the signal, is
    the high-pass: -3 dB at 0.45 Hz, linear phase, and a power of two, so that a shift divides."""
    stft_length: int = 64
    """Samples of an STFT frame (0.64 s: bins of 1.5625 Hz)."""
    stft_hop: int = 20
    """Samples between frames; divides the window's hop, so that windows share their frames."""
    stft_bins: int = 24
    """Bins kept, from DC up (to 36 Hz: the next ones lie in the low-pass's transition)."""
    stft_tables: str = "hann-q20"
    """Tables: periodic Hann window, and twiddles, scaled by 2^20 and rounded to nearest."""
    log_steps_per_octave: int = 8
    """Steps of the 8-bit log power per doubling of power (0.376 dB a step)."""
    log_floor_octave: int = 4
    """log2 of the power (microvolts squared, summed as the Hann frame sums it) that maps to step 0."""

    @cached_property
    def window(self) -> int:
        """Samples of a window."""
        return self.window_seconds * self.rate

    @cached_property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return self.hop_seconds * self.rate

    @cached_property
    def frames(self) -> int:
        """STFT frames that lie wholly within a window."""
        return (self.window - self.stft_length) // self.stft_hop + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as JSON types."""
        return asdict(self) | {"leads": list(self.leads)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the contract in `data`; raises ContractError where it is not one that this front end computes."""
        known = {f.name: type(f.default) for f in fields(cls)}
        if not isinstance(data, dict) or set(data) != set(known):
            odd = set(data) ^ set(known) if isinstance(data, dict) else known
            raise ContractError(f"signal contract with other fields than this version knows: {', '.join(sorted(odd))}")
        values: dict[str, Any] = {k: tuple(v) if k == "leads" and type(v) is list else v for k, v in data.items()}
        wrong = [k for k, v in values.items() if type(v) is not known[k] and not (known[k] is float and type(v) is int)]
        if wrong:
            raise ContractError(f"signal contract with a value of the wrong type: {', '.join(sorted(wrong))}")
        contract = cls(**values)
        contract.check()
        # JSON of other languages writes 40.0 as 40; the hash must not tell them apart.
        values |= {k: float(v) for k, v in values.items() if known[k] is float}
        return cls(**values)

    def check(self) -> None:
        """Raise ContractError where this front end cannot compute the contract exactly."""
        free = {"window_seconds", "hop_seconds", "stft_bins", "stft_hop", "log_floor_octave", "stft_length"}
        default = Contract()
        for f in fields(self):
            mine, asked = getattr(default, f.name), getattr(self, f.name)
            if f.name not in free and mine != asked:
                raise ContractError(
                    f"this front end computes {f.name} = {mine}, the bundle was trained on {asked}: "
                    "use the ecg-edge version that made the bundle, or export the bundle again with this one"
                )
        possible = (
            1 <= self.hop_seconds <= self.window_seconds <= 60
            and self.stft_length in (32, 64, 128)
            and 1 <= self.stft_bins <= self.stft_length // 2 + 1
            and self.stft_hop >= 1
            and self.hop % self.stft_hop == 0
            and self.window % self.stft_hop == 0  # or a window's frames would not lie on the stream's
            and self.stft_length <= self.window
            and -8 <= self.log_floor_octave <= 16
        )
        if not possible:
            raise ContractError(f"signal contract with impossible windows or frames: {self}")

    @property
    def sha256(self) -> str:
        """Hash of the contract: of its canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
