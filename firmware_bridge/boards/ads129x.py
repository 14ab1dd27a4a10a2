"""Raw frames of an ADS1294, ADS1296 or ADS1298, as the converter gives them over SPI and a bridge passes them on.

A frame is 24 status bits and 24 bits of each channel (big-endian, two's complement):

    1100 | LOFF_STATP 8 bits | LOFF_STATN 8 bits | GPIO 4 bits | channel 1 | channel 2 | ...

One count is Vref / gain / (2^23 - 1). A lead-off bit means something only for an input whose sensing is enabled, so
`sens_p` and `sens_n` say what was written to LOFF_SENSP and LOFF_SENSN; as the converter starts, that is 0: none.
Source: ADS1298 data sheet (Texas Instruments SBAS459), sections on data retrieval and data format.

It lacks a checksum, any counter (whole frames that are lost go unnoticed), a start of frame beyond four bits, a time,
names of its leads. A frame is handed on once the next one begins where it should, so a lost byte is noticed in 15 of
16 cases at once. Firmware that can send PROTOCOL.md should: firmware_bridge/c has it.
"""

from dataclasses import dataclass

from ..errors import EcgEdgeError
from ..protocol import Hello, Message, Packet, Samples
from ..transport import DEFAULT_BAUD
from .frames import FRAMES_A_PIECE, ScannedBoard, i24

STATUS_BYTES = 3
MARK = 0xC
"""First four bits of every frame."""
FRAMES_TO_LOCK = 4
"""Marks in a row, each where it should be, before frames are believed: chance does it once in 16^4."""


@dataclass(frozen=True)
class Ads129xSettings:
    """How the converter is set up."""

    channels: int = 8
    """4 (ADS1294), 6 (ADS1296) or 8 (ADS1298)."""
    rate: int = 500
    """Frames per second."""
    gain: int = 6
    """Of the amplifiers: 1, 2, 3, 4, 6, 8 or 12."""
    vref: float = 2.4
    """Reference in volts."""
    sens_p: int = 0
    """LOFF_SENSP: bit c set where the positive input of channel c + 1 is watched."""
    sens_n: int = 0
    """LOFF_SENSN, for the negative inputs."""

    def __post_init__(self) -> None:
        if self.channels not in (4, 6, 8):
            raise EcgEdgeError(f"an ADS129x with {self.channels} channels is not known: use 4, 6 or 8")
        if self.gain not in (1, 2, 3, 4, 6, 8, 12):
            raise EcgEdgeError(f"an ADS129x has no gain {self.gain}: use 1, 2, 3, 4, 6, 8 or 12")
        if not (1 <= self.rate <= 32_000 and 1 <= self.vref <= 5):
            raise EcgEdgeError(f"{self.rate} Hz at {self.vref:g} V are not possible: use 1 to 32000 Hz, 1 to 5 V")
        if not (0 <= self.sens_p <= 0xFF and 0 <= self.sens_n <= 0xFF):
            raise EcgEdgeError("sens_p and sens_n are registers: use 0 to 0xFF")

    @property
    def hello(self) -> Hello:
        """What a HELLO of it would say."""
        pv_per_lsb = round(self.vref * 1e12 / self.gain / (2**23 - 1))
        return Hello(self.rate, pv_per_lsb, (None,) * self.channels, "ADS129x frames")


class Ads129x(ScannedBoard):
    """The host's side; see Board."""

    name = "ads129x"
    baud = DEFAULT_BAUD
    sends = "ADS129x frame"
    mend = "the number of channels, as in --board ads129x:channels=8"
    counts_losses = False

    def __init__(self, settings: Ads129xSettings) -> None:
        """Start at any place of a stream."""
        super().__init__(settings.hello)
        self._settings = settings
        self._length = STATUS_BYTES + 3 * settings.channels

    def feed(self, data: bytes) -> list[Packet]:
        """As in Board."""
        self._counters.bytes += len(data)
        scanner, length = self._scanner, self._length
        scanner.buffer += data
        while True:
            marks = 2 if scanner.locked else FRAMES_TO_LOCK
            there = scanner.buffer[: (marks - 1) * length + 1 : length]  # where the marks should be
            if any(byte >> 4 != MARK for byte in there):
                scanner.lose(1)
            elif len(there) == marks:
                self._place(self._take(length))
            else:
                return self._writer.take()

    def _place(self, frame: bytes) -> None:
        status = int.from_bytes(frame[:STATUS_BYTES], "big")
        off = (status >> 12 & self._settings.sens_p) | (status >> 4 & self._settings.sens_n)
        channels = self._settings.channels
        counts = [i24(frame, STATUS_BYTES + 3 * c) for c in range(channels)]
        self._writer.add(counts, off & (1 << channels) - 1)

    def pieces(self, data: bytes) -> list[bytes]:
        """As in Board."""
        step = FRAMES_A_PIECE * self._length
        return [data[k : k + step] for k in range(0, len(data), step)]


class Ads129xVoice:
    """A simulated converter behind a bridge; see Voice. Electrodes that are off show at the positive inputs."""

    takes_commands = False
    frames_per_packet: int | None = 1

    def __init__(self, settings: Ads129xSettings) -> None:
        """Send frames of so many channels."""
        self._channels = settings.channels

    def connect(self) -> None:
        """As in Voice."""

    def say(self, message: Message, _time_us: int) -> bytes:
        """As in Voice."""
        if not isinstance(message, Samples):
            return b""
        values = [int(v) for v in message.counts[0]] + [0] * (self._channels - message.counts.shape[1])
        status = MARK << 20 | message.lead_off << 12
        return status.to_bytes(3, "big") + b"".join(value.to_bytes(3, "big", signed=True) for value in values)

    def hear(self, _data: bytes) -> list[Packet]:
        """As in Voice."""
        return []
