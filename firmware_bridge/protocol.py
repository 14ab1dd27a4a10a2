"""Packets of wire format version 1: what microcontroller and host say to each other. PROTOCOL.md is the layout.

    packet  = COBS(body) 00
    body    = header (12 bytes) | payload | CRC-16 of header and payload (2 bytes)
    header  = version u8 | type u8 | sequence u16 | device time u64 in microseconds

All numbers are big-endian. A message is the payload of one type as a frozen dataclass; a Packet is a message
with its sequence number and time. Values that do not fit raise ValueError where they are encoded; bytes that are
no packet raise PacketError where they are decoded.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from .framing import cobs_bound, cobs_encode, crc16
from .leads import LEADS, UNKNOWN_LEAD

VERSION = 1
"""First byte of every packet."""
MAX_CHANNELS = 16
"""Channels of a packet: bits of the lead-off mask."""
MAX_FIRMWARE_BYTES = 32
"""Longest firmware text in UTF-8."""

_HEADER = struct.Struct(">BBHQ")
_CRC = struct.Struct(">H")
MAX_CONTENT = 4093
"""Most bytes of header and payload. The CRC's polynomial is (x + 1) times a primitive one of degree 15, so any
one, two or three wrong bits are found in up to 32767 bits, its own 16 included: 4093 whole bytes beside them."""
MAX_PACKET = cobs_bound(MAX_CONTENT + _CRC.size)
"""Most bytes of a packet between two zeros."""


class PacketError(ValueError):
    """A body that is no packet of this version; `reason` names the counter of LinkCounters for it."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def _fit(ok: bool, text: str) -> None:
    if not ok:
        raise ValueError(text)


class State(IntEnum):
    """What the device is doing."""

    IDLE = 0
    STREAMING = 1
    ENDED = 2
    """A finite source, such as a played recording, has no more."""


class Result(IntEnum):
    """What became of a command."""

    OK = 0
    UNSUPPORTED = 1
    BAD_ARGUMENT = 2


@dataclass(frozen=True)
class Hello:
    """The device and the format of its samples; sent on request and before the first samples of every run."""

    TYPE: ClassVar[int] = 0x01
    _FIXED: ClassVar[struct.Struct] = struct.Struct(">HBI")
    rate: int
    """Frames per second, 1 to 65535."""
    pv_per_lsb: int
    """Picovolts per count, the same for all channels."""
    leads: tuple[str | None, ...]
    """Canonical lead name of each channel, None where the device does not name it."""
    firmware: str = ""
    """Free text, at most 32 bytes of UTF-8."""

    def to_payload(self) -> bytes:
        """Return the payload; raises ValueError for a value out of range or a name that is no lead."""
        text = self.firmware.encode()
        _fit(1 <= self.rate <= 0xFFFF, f"rate {self.rate} Hz does not fit 1..65535")
        _fit(1 <= self.pv_per_lsb <= 0xFFFFFFFF, f"gain {self.pv_per_lsb} pV does not fit 1..2^32-1")
        _fit(1 <= len(self.leads) <= MAX_CHANNELS, f"{len(self.leads)} channels do not fit 1..{MAX_CHANNELS}")
        _fit(len(text) <= MAX_FIRMWARE_BYTES, f"firmware text over {MAX_FIRMWARE_BYTES} bytes")
        codes = bytes(UNKNOWN_LEAD if lead is None else LEADS.index(lead) for lead in self.leads)
        return self._FIXED.pack(self.rate, len(codes), self.pv_per_lsb) + codes + bytes([len(text)]) + text

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Return the message; raises ValueError when malformed. A lead code not known here means unnamed."""
        rate, channels, gain = cls._FIXED.unpack_from(payload.ljust(cls._FIXED.size, b"\0"))
        rest = payload[cls._FIXED.size :]
        codes, text = rest[:channels], rest[channels + 1 :]
        _fit(rate > 0 and gain > 0 and 1 <= channels <= MAX_CHANNELS, "rate, gain or channels out of range")
        _fit(len(rest) > channels and rest[channels] == len(text) <= MAX_FIRMWARE_BYTES, "wrong length")
        leads = tuple(LEADS[code] if code < len(LEADS) else None for code in codes)
        return cls(rate, gain, leads, text.decode(errors="replace"))


@dataclass(frozen=True, eq=False)
class Samples:
    """Consecutive frames, one sample of each channel a frame, that share one lead-off mask."""

    TYPE: ClassVar[int] = 0x02
    _FIXED: ClassVar[struct.Struct] = struct.Struct(">IBBH")
    index: int
    """Number of the first frame in the run, modulo 2^32; frames that the device dropped count too."""
    counts: npt.NDArray[np.int32]
    """Samples (n, m) in counts of 24 bits signed, n >= 1."""
    lead_off: int = 0
    """Bit c is set where channel c has no valid sample in any of these frames, as with its electrode off."""

    @property
    def off(self) -> npt.NDArray[np.bool_]:
        """The lead-off mask as booleans (m,)."""
        return (self.lead_off >> np.arange(self.counts.shape[1]) & 1).astype(np.bool_)

    def to_payload(self) -> bytes:
        """Return the payload; raises ValueError for counts beyond 24 bits or a packet over MAX_CONTENT."""
        n, m = self.counts.shape
        _fit(1 <= m <= MAX_CHANNELS and 1 <= n <= max_frames(m), f"{n} frames of {m} channels do not fit")
        _fit(0 <= self.index <= 0xFFFFFFFF, f"index {self.index} does not fit 32 bits")
        _fit(0 <= self.lead_off < 1 << m, f"lead-off mask {self.lead_off:#x} for {m} channels")
        low, high = int(self.counts.min()), int(self.counts.max())
        _fit(low >= -(1 << 23) and high < 1 << 23, f"counts {low}..{high} do not fit 24 bits")
        wide = self.counts.astype(">i4", order="C").view(np.uint8).reshape(n * m, 4)
        return self._FIXED.pack(self.index, n, m, self.lead_off) + wide[:, 1:].tobytes()

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Return the message; raises ValueError when malformed. Mask bits beyond the channels are ignored."""
        index, n, m, lead_off = cls._FIXED.unpack_from(payload.ljust(cls._FIXED.size, b"\0"))
        _fit(n >= 1 and 1 <= m <= MAX_CHANNELS, "frames or channels out of range")
        _fit(len(payload) == cls._FIXED.size + 3 * n * m, "wrong length")
        wide = np.zeros((n * m, 4), dtype=np.uint8)
        wide[:, :3] = np.frombuffer(payload, dtype=np.uint8, offset=cls._FIXED.size).reshape(n * m, 3)
        counts = (wide.view(">i4").astype(np.int32) >> 8).reshape(n, m)  # the shift spreads the sign
        return cls(index, counts, lead_off & (1 << m) - 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Samples):
            return NotImplemented
        same = (self.index, self.lead_off) == (other.index, other.lead_off)
        return same and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]


class _Fixed:
    """A message whose payload is a fixed structure of its fields, in their order."""

    _FIXED: ClassVar[struct.Struct] = struct.Struct("")

    def to_payload(self) -> bytes:
        """Return the payload; raises ValueError for a value out of range."""
        try:
            return self._FIXED.pack(*vars(self).values())
        except struct.error as error:
            raise ValueError(f"{self}: {error}") from None

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Return the message; raises ValueError when it is malformed."""
        _fit(len(payload) == cls._FIXED.size, "wrong length")
        return cls(*cls._FIXED.unpack(payload))


@dataclass(frozen=True)
class Status(_Fixed):
    """State of the device, sent about once a second of a run."""

    TYPE: ClassVar[int] = 0x03
    _FIXED: ClassVar[struct.Struct] = struct.Struct(">BIH")
    state: State
    """What the device is doing."""
    overruns: int = 0
    """Frames of this run that the device had to drop, modulo 2^32."""
    battery_mv: int = 0
    """Battery in millivolts, 0 when it is not known."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))


@dataclass(frozen=True)
class Identify(_Fixed):
    """Command: answer with HELLO."""

    TYPE: ClassVar[int] = 0x10


@dataclass(frozen=True)
class Start(_Fixed):
    """Command: begin a run, from frame 0, also when one is under way; answered with ACK, then HELLO."""

    TYPE: ClassVar[int] = 0x11


@dataclass(frozen=True)
class Stop(_Fixed):
    """Command: end the run; answered with ACK."""

    TYPE: ClassVar[int] = 0x12


@dataclass(frozen=True)
class SetRate(_Fixed):
    """Command: sample at `rate` from the next run on; answered with ACK."""

    TYPE: ClassVar[int] = 0x13
    _FIXED: ClassVar[struct.Struct] = struct.Struct(">H")
    rate: int
    """Frames per second."""


@dataclass(frozen=True)
class Ack(_Fixed):
    """What became of one command."""

    TYPE: ClassVar[int] = 0x1F
    _FIXED: ClassVar[struct.Struct] = struct.Struct(">BHB")
    command: int
    """Type of the command."""
    command_sequence: int
    """Its sequence number."""
    result: Result
    """What became of it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "result", Result(self.result))


Message = Hello | Samples | Status | Identify | Start | Stop | SetRate | Ack
_BY_TYPE: dict[int, type[Message]] = {
    kind.TYPE: kind for kind in (Hello, Samples, Status, Identify, Start, Stop, SetRate, Ack)
}


@dataclass(frozen=True)
class Header:
    """The first twelve bytes of a body, without the version."""

    type: int
    """Type of the message."""
    sequence: int
    """Number of the packet from this sender, modulo 2^16."""
    time_us: int
    """Microseconds since the sender started; of SAMPLES, the instant of its first frame."""


@dataclass(frozen=True)
class Packet:
    """A message with its place in the stream; fields as in Header."""

    sequence: int
    time_us: int
    message: Message


def max_frames(channels: int) -> int:
    """Return the most frames that one SAMPLES packet of `channels` channels carries."""
    return min(255, (MAX_CONTENT - _HEADER.size - Samples._FIXED.size) // (3 * channels))


def packet_bytes(frames: int, channels: int) -> int:
    """Return the most bytes, final zero included, of a SAMPLES packet of `frames` frames."""
    return cobs_bound(_HEADER.size + Samples._FIXED.size + 3 * frames * channels + _CRC.size) + 1


def encode_packet(message: Message, sequence: int, time_us: int) -> bytes:
    """Return the packet as sent, final zero included; raises ValueError for what does not fit."""
    _fit(0 <= sequence <= 0xFFFF and 0 <= time_us < 1 << 64, "sequence number or time out of range")
    return seal(_HEADER.pack(VERSION, message.TYPE, sequence, time_us) + message.to_payload())


def seal(content: bytes) -> bytes:
    """Return header and payload, `content`, with their CRC, in COBS and ended by a zero."""
    return cobs_encode(content + _CRC.pack(crc16(content))) + b"\0"


def open_body(body: bytes) -> tuple[Header, bytes]:
    """Return header and payload of a body, COBS taken off; raises PacketError with the reason otherwise."""
    if not _HEADER.size + _CRC.size <= len(body) <= MAX_CONTENT + _CRC.size:
        raise PacketError("bad_header", f"{len(body)} bytes are no packet")
    content = body[: -_CRC.size]
    if crc16(body) != 0:  # the CRC of anything followed by its own CRC is zero
        raise PacketError("bad_crc", "the checksum is wrong")
    version, kind, sequence, time_us = _HEADER.unpack_from(content)
    if version != VERSION:
        raise PacketError("other_version", f"version {version}")
    return Header(kind, sequence, time_us), content[_HEADER.size :]


def is_known(kind: int) -> bool:
    """Return whether messages of type `kind` can be decoded here."""
    return kind in _BY_TYPE


def decode_message(kind: int, payload: bytes) -> Message:
    """Return the message in a payload of type `kind`; raises PacketError with the reason otherwise."""
    if kind not in _BY_TYPE:
        raise PacketError("other_type", f"type 0x{kind:02X}")
    try:
        return _BY_TYPE[kind].from_payload(payload)
    except ValueError as error:
        raise PacketError("bad_payload", f"{_BY_TYPE[kind].__name__}: {error}") from None
