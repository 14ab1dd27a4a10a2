"""OpenBCI Cyton: eight channels of an ADS1299 at 250 Hz over a radio dongle, 115200 baud.

A frame is 33 bytes: A0, a counter of 8 bits, 8 channels of 24 bits (big-endian, two's complement), 6 bytes of
accelerometer or other data, and a byte C0 to C6 that says which. One count is 4.5 V / gain / (2^23 - 1), the gain 24
unless it was changed. `b` starts the stream and `s` stops it. Source: OpenBCI documentation, "Cyton Data Format".

It lacks a checksum (a bit garbled within a channel goes unnoticed), a counter that reaches further than 255 frames
(of a loss of a second or more only the rest modulo 256 is known), lead-off detection in the stream, names of its
leads, a time. The Daisy board, which sends its channels in every second frame, is not supported.
"""

from dataclasses import dataclass

from ..errors import EcgEdgeError
from ..protocol import Hello, Message, Packet, Samples, Start, Stop
from .frames import FRAMES_A_PIECE, BoardCounters, FrameScanner, FrameWriter, i24

FRAME = 33
HEADER = 0xA0
FOOTERS = range(0xC0, 0xC7)
CHANNELS = 8
VREF_V = 4.5
LATE = 16
"""Frames by which one may come late: further back the counter means a gap. The radio repeats no more than this."""
START, STOP = b"b", b"s"


@dataclass(frozen=True)
class CytonSettings:
    """What may differ from a Cyton as it comes."""

    gain: int = 24
    """Of the amplifier: 1, 2, 4, 6, 8, 12 or 24."""
    rate: int = 250
    """Frames per second."""

    def __post_init__(self) -> None:
        if self.gain not in (1, 2, 4, 6, 8, 12, 24):
            raise EcgEdgeError(f"a Cyton has no gain {self.gain}: use 1, 2, 4, 6, 8, 12 or 24")
        if not 1 <= self.rate <= 16_000:
            raise EcgEdgeError(f"a Cyton does not sample at {self.rate} Hz: use 250 unless its firmware was changed")

    @property
    def hello(self) -> Hello:
        """What a HELLO of it would say; its leads depend on where the electrodes are."""
        return Hello(self.rate, round(VREF_V * 1e12 / self.gain / (2**23 - 1)), (None,) * CHANNELS, "OpenBCI Cyton")


class Cyton:
    """The host's side; see Board."""

    name = "cyton"
    baud = 115_200
    sends = "Cyton frame"
    mend = "that the board is on and the dongle's switch at GPIO 6"
    counts_losses = False

    def __init__(self, settings: CytonSettings) -> None:
        """Start at any place of a stream."""
        self._counters = BoardCounters()
        self._scanner = FrameScanner(self._counters)
        self._writer = FrameWriter(settings.hello)
        self._expected: int | None = None
        self._last = b""

    def feed(self, data: bytes) -> list[Packet]:
        """As in Board."""
        self._counters.bytes += len(data)
        buffer = self._scanner.buffer
        buffer += data
        # To fall in step the next frame's first byte has to be right as well: A0 is common among samples.
        while buffer:
            enough = len(buffer) >= FRAME + (not self._scanner.locked)
            if buffer[0] == HEADER and not enough:
                break
            fits = buffer[0] == HEADER and buffer[FRAME - 1] in FOOTERS
            if fits and (self._scanner.locked or buffer[FRAME] == HEADER):
                self._place(self._scanner.take(FRAME)[0])
            else:
                found = buffer.find(HEADER, 1)
                self._scanner.lose(found if found > 0 else len(buffer))
        return self._writer.take()

    def _place(self, frame: bytes) -> None:
        counters = self._counters
        if frame == self._last:
            counters.duplicates += 1
            return
        ahead = 0 if self._expected is None else (frame[1] - self._expected) & 0xFF
        if ahead >= 256 - LATE:
            counters.late += 1
            return
        if ahead:
            counters.gaps += 1
            counters.missing += ahead
            self._writer.skip(ahead)
        self._expected, self._last = (frame[1] + 1) & 0xFF, frame
        counters.packets += 1
        self._writer.add([i24(frame, 2 + 3 * c) for c in range(CHANNELS)])

    def pieces(self, data: bytes) -> list[bytes]:
        """As in Board."""
        step = FRAMES_A_PIECE * FRAME
        return [data[k : k + step] for k in range(0, len(data), step)]

    def pending(self) -> int:
        """As in Board."""
        return len(self._scanner.buffer)

    def command(self, message: Message) -> bytes:
        """As in Board."""
        if isinstance(message, Start):
            return START
        return STOP if isinstance(message, Stop) else b""

    def resume(self) -> None:
        """As in Board."""
        self._scanner.restart()
        self._writer.restart()
        self._expected = None

    def counters(self) -> dict[str, int]:
        """As in Board; the names are BoardCounters'."""
        return dict(vars(self._counters))


class CytonVoice:
    """A simulated Cyton; see Voice. The accelerometer lies still, as bytes of 0."""

    takes_commands = True
    frames_per_packet: int | None = 1

    def __init__(self) -> None:
        """Count from 0."""
        self._counter = 0

    def connect(self) -> None:
        """As in Voice."""

    def say(self, message: Message, _time_us: int) -> bytes:
        """As in Voice."""
        if not isinstance(message, Samples):
            return b""
        values = [int(v) for v in message.counts[0]] + [0] * (CHANNELS - message.counts.shape[1])
        body = b"".join(value.to_bytes(3, "big", signed=True) for value in values)
        frame = bytes([HEADER, self._counter]) + body + bytes(6) + bytes([FOOTERS[0]])
        self._counter = (self._counter + 1) & 0xFF
        return frame

    def hear(self, data: bytes) -> list[Packet]:
        """As in Voice."""
        known: dict[int, Message] = {START[0]: Start(), STOP[0]: Stop()}
        return [Packet(0, 0, known[byte]) for byte in data if byte in known]
