"""What is on the wire, one thing after the other: packets, and what is none, with its size and time of arrival."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .boards.board import Board
from .capture import Arrival
from .protocol import Packet

HEAD_BYTES = 16
"""First bytes of a thing that are kept, to show what damage looks like."""
BOOKKEEPING = ("bytes", "packets", "frames")
"""Counters that go up when all is well."""


@dataclass(frozen=True)
class Found:
    """One thing found on the wire."""

    at: float | None
    """When its last byte arrived, in seconds; None where that is not known."""
    size: int
    """Its bytes."""
    head: bytes
    """The first of them, at most HEAD_BYTES."""
    packet: Packet | None
    """The packet, None for what is none or was dropped."""
    counted: dict[str, int] = field(default_factory=dict)
    """Counters that went up with it, such as bad_crc or missing; empty when all is well, or within an overlong run."""


def dissect(arrivals: Iterable[Arrival], board: Board) -> Iterator[Found]:
    """Yield what `board` makes of what arrives, piece by piece. An unfinished packet at the end is not told.

    The sizes add up to what arrived, less what is unfinished and zeros without a packet before them.
    """
    held = b""
    before = board.counters()
    for data, at in arrivals:
        for piece in board.pieces(data):
            held += piece
            packets = board.feed(piece)
            after = board.counters()
            counted = {k: n - before[k] for k, n in after.items() if n != before[k] and k not in BOOKKEEPING}
            before = after
            done, held = held[: len(held) - board.pending()], held[len(held) - board.pending() :]
            if not packets and not counted and not done.strip(b"\0"):
                continue
            found: list[Packet | None] = [*packets] or [None]
            for packet in found:
                yield Found(at, len(done), done[:HEAD_BYTES], packet, counted)
                done, counted = b"", {}
