"""A board that speaks PROTOCOL.md: COBS, CRC-16, 16-bit sequence, 32-bit frame index, device time, lead-off mask."""

import time

from ..decoder import PacketDecoder
from ..protocol import Message, Packet, encode_packet
from ..transport import DEFAULT_BAUD


class Native:
    """The host's side of PROTOCOL.md; see Board."""

    name = "native"
    baud = DEFAULT_BAUD
    sends = "HELLO packet"
    mend = "that the firmware speaks PROTOCOL.md"
    counts_losses = True

    def __init__(self) -> None:
        """Start at any place of a stream."""
        self._decoder = PacketDecoder()
        self._sequence = 0

    def feed(self, data: bytes) -> list[Packet]:
        """As in Board."""
        return self._decoder.feed(data)

    def pieces(self, data: bytes) -> list[bytes]:
        """As in Board: a piece ends with its zero."""
        *whole, rest = data.split(b"\0")
        return [piece + b"\0" for piece in whole] + ([rest] if rest else [])

    def pending(self) -> int:
        """As in Board."""
        return self._decoder.pending

    def command(self, message: Message) -> bytes:
        """As in Board."""
        packet = encode_packet(message, self._sequence, time.monotonic_ns() // 1000)
        self._sequence = (self._sequence + 1) & 0xFFFF
        return packet

    def resume(self) -> None:
        """As in Board."""
        self._decoder.feed(b"\0")  # what the lost link left unfinished must not garble the first packet

    def counters(self) -> dict[str, int]:
        """As in Board; the names are LinkCounters'."""
        return dict(vars(self._decoder.counters))
