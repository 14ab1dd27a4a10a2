"""What a source gives, item by item: the format first, then signal, losses and notices in the order of arrival."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.device_clock import ClockReading
from ecg_edge.firmware_bridge.leads import UnknownLeadError, canonical_all
from ecg_edge.firmware_bridge.recording import Recording

from ..engine import StreamFormat


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames."""

    counts: npt.NDArray[np.int32]
    """(n, channels of the format)."""
    invalid: npt.NDArray[np.bool_] | None
    """(n, channels), True where a sample is missing or its electrode off."""
    at: float
    """When the last of them arrived, in seconds of the monotonic clock."""
    sampled: float | None = None
    """When it was sampled, by the device's clock mapped to that one; None where no device's clock is known."""


@dataclass(frozen=True)
class Gap:
    """Frames that were lost at this place."""

    frames: int
    at: float


@dataclass(frozen=True)
class Notice:
    """Something about the link."""

    code: str
    """A technical code of the events."""
    phase: str
    message: str
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Tick:
    """Nothing came for a moment, and the source is well: it listens, or tries a lost link again."""


Item = StreamFormat | Chunk | Gap | Notice | Tick | ClockReading
"""A ClockReading tells how the device's clock goes, each time that is known anew."""


def format_of(recording: Recording, mains: int | None = None) -> StreamFormat:
    """Return the stream format of a recording."""
    return StreamFormat(recording.rate, recording.leads, recording.pv_per_lsb, mains)


def renamed(names: tuple[str | None, ...], leads: tuple[str, ...] | None) -> tuple[list[int], tuple[str, ...]]:
    """Return (columns to keep, their canonical leads) of channels that call themselves `names`.

    leads: the user's names for the channels in order, `-` for one to leave out; None to take the device's own.
    Raises UnknownLeadError where a channel has no name, more names are given than there are channels, which would put
    them on the wrong ones, or every channel is left out.
    """
    if leads is not None and len(leads) > len(names):
        raise UnknownLeadError(
            f"--leads names {len(leads)} channels where there are {len(names)}: name those, in order"
        )
    chosen = [name or "unnamed" for name in names] if leads is None else list(leads)
    columns = [k for k, name in enumerate(chosen) if name != "-"]
    if not columns:
        raise UnknownLeadError("every channel is left out: name at least one with --leads")
    return columns, canonical_all([chosen[k] for k in columns])
