"""What the adapters of other boards share: bytes that are looked for frames, and frames that become packets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..protocol import Hello, Message, Packet, Samples, max_frames

FRAMES_A_PIECE = 10
"""Frames that are taken together, as PROTOCOL.md's packets hold them: what comes behind works by the packet."""


@dataclass
class BoardCounters:
    """What came from a board without PROTOCOL.md and what became of it; what its format cannot tell stays 0."""

    bytes: int = 0
    """Bytes received."""
    packets: int = 0
    """Frames handed out, as one packet or several."""
    bad_frames: int = 0
    """Places where a frame should have begun and none did, or one whose end was not where it belongs."""
    resync_bytes: int = 0
    """Bytes that belong to no frame, skipped in looking for the next one."""
    gaps: int = 0
    """Places where frames are missing."""
    missing: int = 0
    """Frames missing there: by the board's counter; without one, as many as the skipped bytes would have been."""
    duplicates: int = 0
    """Frames that came twice in a row, bit by bit."""
    late: int = 0
    """Frames that came after a later one, dropped."""


class FrameWriter:
    """Numbers frames and makes packets of them, as a device of PROTOCOL.md would send them."""

    def __init__(self, hello: Hello) -> None:
        """Start a run of frames in the format of `hello`."""
        self.hello = hello
        self._index = 0
        self._said = False  # the HELLO of this run
        self._rows: list[Sequence[int]] = []
        self._off = 0
        self._packets: list[Packet] = []

    def add(self, counts: Sequence[int], off: int = 0) -> None:
        """Add a frame; off: mask of the channels whose electrode is off."""
        if self._rows and (off != self._off or len(self._rows) == max_frames(len(counts))):
            self._close()
        self._off = off
        self._rows.append(counts)

    def skip(self, frames: int) -> None:
        """Leave out frames that are missing."""
        self._close()
        self._index += frames

    def take(self) -> list[Packet]:
        """Return the packets of what was added since the last call; the first of a run is its HELLO."""
        self._close()
        packets, self._packets = self._packets, []
        return packets

    def restart(self) -> None:
        """Begin another run: what was missed before it nobody knows."""
        self._rows, self._packets = [], []
        self._index, self._said = 0, False

    def _close(self) -> None:
        if not self._rows:
            return
        time_us = self._index * 1_000_000 // self.hello.rate
        if not self._said:
            self._said = True
            self._packets.append(Packet(0, time_us, self.hello))
        counts = np.array(self._rows, dtype=np.int32)
        self._packets.append(Packet(0, time_us, Samples(self._index & 0xFFFFFFFF, counts, self._off)))
        self._index += len(self._rows)
        self._rows = []


class FrameScanner:
    """Keeps the bytes of a format whose frames are found by what stands at their ends, and what was skipped."""

    def __init__(self, counters: BoardCounters) -> None:
        """Start at any place of a stream."""
        self.buffer = bytearray()
        """Bytes not yet used."""
        self.locked = False
        """Whether a frame was found where it belonged, right behind the one before it."""
        self._counters = counters
        self._skipped = 0

    def take(self, length: int) -> tuple[bytes, int]:
        """Use a frame at the start of the buffer; return it and how many bytes were skipped before it."""
        frame, skipped = bytes(self.buffer[:length]), self._skipped
        del self.buffer[:length]
        self._skipped, self.locked = 0, True
        return frame, skipped

    def lose(self, next_at: int) -> None:
        """Skip to `next_at`, at least one byte: no frame begins before it."""
        self._counters.bad_frames += self.locked
        self._counters.resync_bytes += next_at
        self._skipped += next_at
        self.locked = False
        del self.buffer[:next_at]

    def restart(self) -> None:
        """Drop what is held."""
        self.buffer.clear()
        self.locked, self._skipped = False, 0


class ScannedBoard:
    """What boards share whose frames are found by their ends and carry no number; see Board for what is public."""

    def __init__(self, hello: Hello) -> None:
        """Start at any place of a stream of frames in the format of `hello`."""
        self._counters = BoardCounters()
        self._scanner = FrameScanner(self._counters)
        self._writer = FrameWriter(hello)
        self._latest = 0  # length of the latest frame; 0 before a run's first, when none can be missing

    def _take(self, length: int) -> bytes:
        """Use a frame at the start of the buffer; as many are missing as the bytes skipped before would have been."""
        frame, skipped = self._scanner.take(length)
        missing = round(skipped / self._latest) if self._latest else 0
        if missing:
            self._counters.gaps += 1
            self._counters.missing += missing
            self._writer.skip(missing)
        self._latest = length
        self._counters.packets += 1
        return frame

    def pending(self) -> int:
        """As in Board."""
        return len(self._scanner.buffer)

    def command(self, _message: Message) -> bytes:
        """As in Board: it takes none."""
        return b""

    def resume(self) -> None:
        """As in Board."""
        self._scanner.restart()
        self._writer.restart()
        self._latest = 0

    def counters(self) -> dict[str, int]:
        """As in Board; the names are BoardCounters'."""
        return dict(vars(self._counters))


def i24(data: bytes, at: int) -> int:
    """Return the 24-bit big-endian two's complement number at `at`."""
    return int.from_bytes(data[at : at + 3], "big", signed=True)
