"""A simulated device's side of a link: its messages in bytes, and the commands in what a host sends."""

from typing import Protocol

from ..decoder import PacketDecoder
from ..protocol import Message, Packet, encode_packet


class Voice(Protocol):
    """How one kind of board speaks."""

    takes_commands: bool
    """Whether a host can start and stop it; a board that takes none sends as soon as its port is opened."""
    frames_per_packet: int | None
    """Frames of one message that it can say; None for any that fit a packet of PROTOCOL.md."""

    def connect(self) -> None:
        """Forget what was heard from a host before: another one has come."""

    def say(self, message: Message, time_us: int) -> bytes:
        """Return a message as it goes over the wire; b"" for what this board does not say."""

    def hear(self, data: bytes) -> list[Packet]:
        """Return the commands that `data` completes."""


class NativeVoice:
    """The device's side of PROTOCOL.md."""

    takes_commands = True
    frames_per_packet: int | None = None

    def __init__(self) -> None:
        """Number packets from 0."""
        self._sequence = 0
        self.connect()

    def connect(self) -> None:
        """As in Voice."""
        self._decoder = PacketDecoder(keep_duplicates=True)

    def say(self, message: Message, time_us: int) -> bytes:
        """As in Voice."""
        packet = encode_packet(message, self._sequence, time_us)
        self._sequence = self._sequence + 1 & 0xFFFF
        return packet

    def hear(self, data: bytes) -> list[Packet]:
        """As in Voice."""
        return self._decoder.feed(data)
