"""A recording as the packets that a device sampling it would send: pure, and with the instant each is due."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .errors import EcgEdgeError
from .protocol import Hello, Message, Samples, State, Status, encode_packet, max_frames
from .recording import COUNT_LIMIT, Recording

FRAMES_PER_PACKET = 10
"""20 ms at 500 Hz: below what anyone can see as delay, above what headers cost."""
FIRMWARE = "ecg-edge simulated"
"""How a simulated device presents itself."""


class Scheduled(NamedTuple):
    """A message and its two instants, in microseconds since the run started."""

    due_us: int
    """When it can be sent at the earliest: its last frame has been sampled."""
    time_us: int
    """Device time that its header states: of SAMPLES, the instant of its first frame."""
    message: Message


def hello(recording: Recording, firmware: str = FIRMWARE) -> Hello:
    """Return the HELLO of a device that samples `recording`."""
    return Hello(recording.rate, recording.pv_per_lsb, recording.leads, firmware)


def check(recording: Recording, frames_per_packet: int) -> None:
    """Raise EcgEdgeError when `recording` does not fit the wire format in packets of that many frames."""
    try:
        hello(recording).to_payload()
    except ValueError as error:
        raise EcgEdgeError(f"cannot play {recording.name} as a device: {error}") from None
    most = max_frames(len(recording.leads))
    if not 1 <= frames_per_packet <= most:
        raise EcgEdgeError(
            f"{frames_per_packet} frames of {len(recording.leads)} channels do not fit a packet: use 1 to {most}"
        )
    if len(recording.counts) and np.abs(recording.counts).max() > COUNT_LIMIT:
        raise EcgEdgeError(f"cannot play {recording.name} as a device: its counts do not fit 24 bits")


def schedule(recording: Recording, frames_per_packet: int = FRAMES_PER_PACKET) -> Iterator[Scheduled]:
    """Yield the messages of one run in the order of sending.

    HELLO, then SAMPLES of up to `frames_per_packet` frames, cut where a channel becomes valid or invalid, a STATUS
    after each full second of signal, and at the end STATUS with State.ENDED.
    """
    rate, total = recording.rate, len(recording.counts)

    def instant(frame: int) -> int:
        return frame * 1_000_000 // rate

    yield Scheduled(0, 0, hello(recording))
    second = 1
    for first, last in _stretches(recording):
        for start in range(first, last, frames_per_packet):
            stop = min(start + frames_per_packet, last)
            mask = 0
            if recording.invalid is not None:
                mask = sum(1 << int(channel) for channel in np.flatnonzero(recording.invalid[start]))
            samples = Samples(start & 0xFFFFFFFF, recording.counts[start:stop], mask)
            yield Scheduled(instant(stop), instant(start), samples)
            if stop >= second * rate:
                yield Scheduled(instant(stop), instant(stop), Status(State.STREAMING))
                second = stop // rate + 1
    yield Scheduled(instant(total), instant(total), Status(State.ENDED))


def packetize(recording: Recording, frames_per_packet: int = FRAMES_PER_PACKET) -> Iterator[bytes]:
    """Yield the packets of one run as they go over the wire, numbered from 0, device time from 0.

    Raises EcgEdgeError when the recording does not fit the wire format.
    """
    check(recording, frames_per_packet)
    for number, item in enumerate(schedule(recording, frames_per_packet)):
        yield encode_packet(item.message, number & 0xFFFF, item.time_us)


def _stretches(recording: Recording) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of the stretches of frames over which no channel changes its validity."""
    total = len(recording.counts)
    cuts: list[int] = []
    if recording.invalid is not None:
        changed = (recording.invalid[1:] != recording.invalid[:-1]).any(axis=1)
        cuts = [int(k) + 1 for k in np.flatnonzero(changed)]
    yield from pairwise([0, *cuts, total])
