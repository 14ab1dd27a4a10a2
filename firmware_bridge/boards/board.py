"""What a board is to a host: its bytes become packets of PROTOCOL.md, and commands become its bytes.

A board of another make says less than PROTOCOL.md asks for. Its adapter fills in what is known of the board (rate,
gain, leads), numbers the frames as far as the board's own counter tells, and so everything behind it (gaps, leads,
events, `ecg-edge wire`) is the same for all boards.
"""

from typing import Protocol

from ..protocol import Message, Packet


class Board(Protocol):
    """One board at the other end of a link, as a host sees it. No input raises, and memory is bounded."""

    name: str
    """What the user calls it, as in `--board cyton`."""
    baud: int
    """Speed of a serial port that its maker sets."""
    sends: str
    """What comes from it when all is well, for messages, such as `HELLO packet`."""
    mend: str
    """What to check when that does not come."""
    counts_losses: bool
    """Whether its format tells how many frames a silence cost; without, only the host's clock can."""

    def feed(self, data: bytes) -> list[Packet]:
        """Return the packets that `data` completes, in order; a HELLO comes before the first SAMPLES."""

    def pieces(self, data: bytes) -> list[bytes]:
        """Return `data` cut so that a piece completes few packets, for who wants what was counted beside each."""

    def pending(self) -> int:
        """Return how many of the bytes fed last are held for a packet that is not complete."""

    def command(self, message: Message) -> bytes:
        """Return a command as this board takes it; b"" where it knows none."""

    def resume(self) -> None:
        """Go on after the link was opened again: what it left unfinished is dropped."""

    def counters(self) -> dict[str, int]:
        """Return what came and what became of it: `bytes`, `packets`, and every kind of loss by name."""
