"""From bytes to packets: whatever arrives, however cut, good packets come out and the rest is counted."""

from collections import OrderedDict
from dataclasses import dataclass

from .framing import FramingError, cobs_decode
from .protocol import MAX_PACKET, Header, Packet, PacketError, decode_message, is_known, open_body

REORDER_WINDOW = 64
"""Packets back to which a sequence number may be late or doubled; further back, the sender started again."""
CLOCK_SLACK_US = 1_000_000
"""Device time may step back this far: types of packets can wait in different queues of the sender."""


@dataclass
class LinkCounters:
    """What came over a link and what became of it."""

    bytes: int = 0
    """Bytes received."""
    packets: int = 0
    """Packets handed out."""
    bad_cobs: int = 0
    """Pieces between zeros that no COBS encoder writes."""
    bad_header: int = 0
    """Pieces too short or too long for a packet."""
    bad_crc: int = 0
    """Packets with a wrong checksum. Joining a stream midway costs one bad piece."""
    bad_payload: int = 0
    """Packets with a right checksum and a payload that breaks the layout: a defect of the sender, mostly."""
    overlong: int = 0
    """Runs of bytes without the zero that should have ended a packet; what was held of them is dropped."""
    other_version: int = 0
    """Packets of another version of the wire format."""
    other_type: int = 0
    """Packets of a type that is not known here."""
    gaps: int = 0
    """Places where sequence numbers are missing."""
    missing: int = 0
    """Packets missing in those places, garbled ones among them, less those that came late."""
    duplicates: int = 0
    """Packets that came a second time; a host drops them."""
    late: int = 0
    """Packets that came after a later one; they are handed out as they come."""
    restarts: int = 0
    """Places where the sender began to count anew."""


class PacketDecoder:
    """Turns the bytes of one direction of a link into packets. Memory is bounded and no input raises."""

    def __init__(self, counters: LinkCounters | None = None, keep_duplicates: bool = False) -> None:
        """Start at any place of a stream.

        counters: go on counting those of an earlier link. keep_duplicates: hand out duplicates too, as a device
        must: commands can be repeated, and a host that starts anew sends the same bytes again.
        """
        self.counters = LinkCounters() if counters is None else counters
        self._keep_duplicates = keep_duplicates
        self._sequence = _Sequence(self.counters)
        self._partial = b""
        self._skipping = False  # within an overlong run

    @property
    def pending(self) -> int:
        """Bytes that are held until their zero comes."""
        return len(self._partial)

    def feed(self, data: bytes) -> list[Packet]:
        """Return the packets that `data` completes, in their order of arrival.

        The packets and the counters after a stretch of bytes do not depend on how it was cut into calls.
        """
        self.counters.bytes += len(data)
        *pieces, self._partial = (self._partial + data).split(b"\0")
        packets = []
        for piece in pieces:
            if self._skipping:
                self._skipping = False
            elif len(piece) > MAX_PACKET:
                self.counters.overlong += 1
            elif piece:
                packet = self._decode(piece)
                if packet is not None:
                    packets.append(packet)
        if len(self._partial) > MAX_PACKET:
            self.counters.overlong += not self._skipping
            self._skipping = True
        if self._skipping:
            self._partial = b""
        self.counters.packets += len(packets)
        return packets

    def _decode(self, piece: bytes) -> Packet | None:
        try:
            body = cobs_decode(piece)
            header, payload = open_body(body)
            message = decode_message(header.type, payload) if is_known(header.type) else None
            if not self._sequence.place(header, body) and not self._keep_duplicates:
                return None
            if message is not None:
                return Packet(header.sequence, header.time_us, message)
            self.counters.other_type += 1
        except FramingError:
            self.counters.bad_cobs += 1
        except PacketError as error:
            setattr(self.counters, error.reason, getattr(self.counters, error.reason) + 1)
        return None


class _Sequence:
    """Follows the sequence numbers of one sender and counts what they tell."""

    def __init__(self, counters: LinkCounters) -> None:
        self._counters = counters
        self._expected: int | None = None
        self._time_us = 0
        self._recent: OrderedDict[int, bytes] = OrderedDict()  # sequence to body, the last REORDER_WINDOW
        self._missing: set[int] = set()

    def place(self, header: Header, body: bytes) -> bool:
        """Return whether the packet is new, and count where it stands."""
        sequence = header.sequence
        if self._recent.get(sequence) == body:
            self._counters.duplicates += 1
            return False
        ahead = 0 if self._expected is None else (sequence - self._expected) & 0xFFFF
        near_back = 0x10000 - ahead <= REORDER_WINDOW and sequence not in self._recent
        same_clock = header.time_us + CLOCK_SLACK_US >= self._time_us
        if 0 < ahead < 0x8000 and same_clock:
            self._counters.gaps += 1
            self._counters.missing += ahead
            near = range(max(0, ahead - REORDER_WINDOW), ahead)
            self._missing = {(sequence - ahead + k) & 0xFFFF for k in near} | {
                s for s in self._missing if (sequence - s) & 0xFFFF <= REORDER_WINDOW
            }
        elif ahead and near_back and (same_clock or sequence in self._missing):
            self._counters.late += 1
            if sequence in self._missing:
                self._missing.remove(sequence)
                self._counters.missing -= 1
            self._remember(sequence, body)
            return True
        elif ahead:
            self._counters.restarts += 1
            self._recent.clear()
            self._missing.clear()
        self._expected = (sequence + 1) & 0xFFFF
        self._time_us = header.time_us
        self._remember(sequence, body)
        return True

    def _remember(self, sequence: int, body: bytes) -> None:
        self._recent[sequence] = body
        self._recent.move_to_end(sequence)
        if len(self._recent) > REORDER_WINDOW:
            self._recent.popitem(last=False)
