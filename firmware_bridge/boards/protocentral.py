"""ProtoCentral boards with an ADS1292R: HealthyPi v3, the ADS1292R shield and breakout. One ECG lead at 125 Hz.

    0A FA | length u16 | 02 | payload | 00 0B            all numbers little-endian

The payload begins with ECG i16 and respiration i16. HealthyPi v3 sends 20 bytes, the last of them a status whose bit 0
is lead-off, at 115200 baud over USB and 57600 at the Pi's pins; the ADS1292R examples send the same layout, or from
2026 on 8 bytes (ECG, respiration, heart rate, respiration rate), all of them 0 while an electrode is off, at 57600
baud. An ECG count is 256 of the converter's, 2.42 V / gain / (2^23 - 1) each; the sketches set the gain of channel 2
to 12 (CH2SET 60, against their comment). Sources: the sketches healthypi3_streaming, 02.OpenView and
Example-1-ECG-Respiration-Plot-Openview in ProtoCentral's repositories; ADS1292R data sheet (TI SBAS502).

It lacks a checksum and any counter (whole packets that are lost go unnoticed), a time, the name of its lead. Its
firmware filters the ECG (low-pass of 161 taps at 40 Hz, baseline removed), so amplitudes are nominal.
"""

from dataclasses import dataclass

from ..errors import EcgEdgeError
from ..protocol import Hello, Message, Packet, Samples
from .frames import FRAMES_A_PIECE, ScannedBoard

START, DATA, STOP = b"\x0a\xfa", 0x02, b"\x00\x0b"
HEAD_BYTES, FOOT_BYTES = 5, 2
LONGEST = 64
"""Longest payload that is believed; the boards send 8 or 20 bytes of data."""
VREF_V = 2.42
LEGACY, OPENVIEW = 20, 8
"""Payload bytes of the two layouts that tell lead-off."""


@dataclass(frozen=True)
class ProtocentralSettings:
    """What may differ between these boards."""

    rate: int = 125
    """Packets per second."""
    gain: int = 12
    """Of channel 2: 1, 2, 3, 4, 6, 8 or 12."""

    def __post_init__(self) -> None:
        if self.gain not in (1, 2, 3, 4, 6, 8, 12):
            raise EcgEdgeError(f"an ADS1292R has no gain {self.gain}: use 1, 2, 3, 4, 6, 8 or 12")
        if not 1 <= self.rate <= 8000:
            raise EcgEdgeError(f"an ADS1292R does not sample at {self.rate} Hz: use 125, its firmware's")

    @property
    def hello(self) -> Hello:
        """What a HELLO of it would say; its lead depends on where the electrodes are."""
        return Hello(self.rate, round(VREF_V * 1e12 * 256 / self.gain / (2**23 - 1)), (None,), "ProtoCentral ADS1292R")


class Protocentral(ScannedBoard):
    """The host's side; see Board."""

    name = "protocentral"
    baud = 57_600
    sends = "ProtoCentral packet"
    mend = "that the sketch sends packets and not text"
    counts_losses = False

    def __init__(self, settings: ProtocentralSettings) -> None:
        """Start at any place of a stream."""
        super().__init__(settings.hello)

    def feed(self, data: bytes) -> list[Packet]:
        """As in Board."""
        self._counters.bytes += len(data)
        buffer = self._scanner.buffer
        buffer += data
        while buffer:
            if START.startswith(buffer[:2]) and len(buffer) < HEAD_BYTES:
                break
            payload = int.from_bytes(buffer[2:4], "little")
            length = HEAD_BYTES + payload + FOOT_BYTES
            fits = buffer[:2] == START and buffer[4] == DATA and 4 <= payload <= LONGEST
            if fits and len(buffer) < length:
                break
            if fits and buffer[length - FOOT_BYTES : length] == STOP:
                self._place(self._take(length))
            else:
                found = buffer.find(START[:1], 1)
                self._scanner.lose(found if found > 0 else len(buffer))
        return self._writer.take()

    def _place(self, packet: bytes) -> None:
        payload = packet[HEAD_BYTES:-FOOT_BYTES]
        off = payload[-1] & 1 if len(payload) == LEGACY else len(payload) == OPENVIEW and not any(payload)
        self._writer.add([int.from_bytes(payload[:2], "little", signed=True)], int(off))

    def pieces(self, data: bytes) -> list[bytes]:
        """As in Board."""
        step = FRAMES_A_PIECE * (HEAD_BYTES + LEGACY + FOOT_BYTES)
        return [data[k : k + step] for k in range(0, len(data), step)]


class ProtocentralVoice:
    """A simulated HealthyPi v3; see Voice. Beside the ECG and its lead-off bit everything is 0."""

    takes_commands = False
    frames_per_packet: int | None = 1

    def connect(self) -> None:
        """As in Voice."""

    def say(self, message: Message, _time_us: int) -> bytes:
        """As in Voice."""
        if not isinstance(message, Samples):
            return b""
        off = message.lead_off & 1
        ecg = 0 if off else max(-(2**15), min(2**15 - 1, int(message.counts[0, 0])))
        payload = ecg.to_bytes(2, "little", signed=True) + bytes(LEGACY - 3) + bytes([off])
        return START + LEGACY.to_bytes(2, "little") + bytes([DATA]) + payload + STOP

    def hear(self, _data: bytes) -> list[Packet]:
        """As in Voice."""
        return []
