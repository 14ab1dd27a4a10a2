"""WFDB signal files: the bytes of the uncompressed storage formats into integers, and back.

| format | one sample | a sample that is missing |
| --- | --- | --- |
| 16 | 16-bit two's complement, low byte first | -32768 |
| 24 | 24-bit two's complement, low byte first | -8388608 |
| 32 | 32-bit two's complement, low byte first | -2147483648 |
| 61 | 16-bit two's complement, high byte first | -32768 |
| 80 | 8-bit offset binary | -128 |
| 160 | 16-bit offset binary, low byte first | -32768 |
| 212 | 12-bit two's complement, two samples in three bytes | -2048 |

Source: signal(5) of the WFDB Applications Guide. Samples of the signals in a file alternate: frame after frame, one
sample of each signal. The Challenge's `.mat` files are format 16 after a 24-byte prologue, so an offset reads them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .wfdb_header import reason, short


class SignalFileError(EcgEdgeError):
    """A signal file that is missing, too short or in a format that is not read here."""


@dataclass(frozen=True)
class SignalFormat:
    """How one storage format lays samples out."""

    number: int
    """Number of the format in the header."""
    bits: int
    """Bits of one sample, as it lies in the file."""

    @property
    def missing(self) -> int:
        """Value that marks a missing sample: the least one."""
        return -(1 << (self.bits - 1))

    @property
    def largest(self) -> int:
        """Greatest value of a sample."""
        return (1 << (self.bits - 1)) - 1

    def bytes_of(self, samples: int) -> int:
        """Bytes that hold `samples` samples; an odd number in format 212 needs the half byte that follows it."""
        return (samples * self.bits + 7) // 8

    def samples_in(self, size: int) -> int:
        """Whole samples in `size` bytes."""
        return max(size, 0) * 8 // self.bits


FORMATS = {
    f.number: f
    for f in (SignalFormat(n, b) for n, b in ((16, 16), (24, 24), (32, 32), (61, 16), (80, 8), (160, 16), (212, 12)))
}
"""Formats that `decode` reads, by number."""

WRITTEN_FORMATS = (16, 24)
"""Formats that `encode` writes; 24 holds whatever a Recording can."""


def signal_format(number: int, file: str = "the signal file") -> SignalFormat:
    """Return the format `number`; raises SignalFileError naming `file` and the formats that are read."""
    if number not in FORMATS:
        raise SignalFileError(
            f"{file} is in format {number}, this reader knows {', '.join(map(str, FORMATS))}: "
            "convert the record to format 16, for example with `xform` of the WFDB software"
        )
    return FORMATS[number]


def decode(data: bytes, number: int, samples: int) -> npt.NDArray[np.int32]:
    """Return the first `samples` samples in `data`, int32 (samples,), in ADC units as stored.

    Raises SignalFileError for a format that is not read and for fewer bytes than the samples need.
    """
    kind = signal_format(number)
    size = kind.bytes_of(samples)
    if len(data) < size:
        raise SignalFileError(
            f"{len(data)} bytes where {samples} samples of format {number} take {size}; fetch it again"
        )
    raw = np.frombuffer(data, np.uint8, size)
    if number == 212:
        return _decode_212(raw, samples)
    if number == 24:
        wide = np.zeros((samples, 4), np.uint8)
        wide[:, 1:] = raw.reshape(-1, 3)
        return wide.reshape(-1).view("<i4").astype(np.int32) >> 8
    if number in (80, 160):  # offset binary: half the range below zero
        return raw.view("<u2" if number == 160 else "u1").astype(np.int32) + kind.missing
    return raw.view({16: "<i2", 32: "<i4", 61: ">i2"}[number]).astype(np.int32)


def _decode_212(raw: npt.NDArray[np.uint8], samples: int) -> npt.NDArray[np.int32]:
    # Bytes L0, H1:H0 (a nibble each), L1. A nibble shifted to the top of 16 bits and back by 4 is sign-extended.
    triplets = np.zeros(((samples + 1) // 2, 3), np.uint8)
    triplets.reshape(-1)[: len(raw)] = raw
    low, high = triplets[:, 0::2], triplets[:, 1].astype(np.int16)
    pairs = np.empty((len(triplets), 2), np.int16)
    pairs[:, 0] = high << 12
    pairs[:, 1] = (high >> 4) << 12
    return ((pairs >> 4) | low).reshape(-1)[:samples].astype(np.int32)


def encode(samples: npt.NDArray[np.integer], number: int) -> bytes:
    """Return `samples`, flattened in C order, as the bytes of format 16 or 24.

    Raises SignalFileError where a sample does not fit, or for another format.
    """
    kind = signal_format(number)
    if number not in WRITTEN_FORMATS:
        raise SignalFileError(f"format {number} is not written; write one of {', '.join(map(str, WRITTEN_FORMATS))}")
    flat = np.ascontiguousarray(samples).reshape(-1)
    if flat.size and not kind.missing <= int(flat.min()) <= int(flat.max()) <= kind.largest:
        raise SignalFileError(f"samples from {flat.min()} to {flat.max()} do not fit format {number}; write format 24")
    if number == 16:
        return flat.astype("<i2").tobytes()
    return flat.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def frames_in(file: Path, number: int, channels: int, byte_offset: int = 0) -> int:
    """Return how many whole frames of `channels` samples `file` holds from `byte_offset` on.

    Raises SignalFileError when the file is missing or in a format that is not read.
    """
    kind = signal_format(number, file.name)
    try:
        there, size = file.is_file(), 0
        if there:
            size = file.stat().st_size
    except (OSError, ValueError) as error:  # a name too long, or one with a NUL
        raise SignalFileError(
            f"cannot read the signal file {short(file.name)}: {reason(error)}; check the header"
        ) from None
    if not there:
        raise SignalFileError(f"signal file {file} is missing; put it beside the header")
    return kind.samples_in(size - byte_offset) // channels


def read_frames(
    file: Path, number: int, channels: int, byte_offset: int, start: int, stop: int
) -> npt.NDArray[np.int32]:
    """Return frames `start` to `stop` (exclusive) of `file`, int32 (stop - start, channels), in ADC units.

    Raises SignalFileError when they cannot all be read.
    """
    kind = signal_format(number, file.name)
    first = start * channels
    early = first % 2 if number == 212 else 0  # a pair of samples cannot be entered in its middle
    samples = stop * channels - first + early
    try:
        with file.open("rb") as stream:
            stream.seek(byte_offset + kind.bytes_of(first - early))
            data = stream.read(kind.bytes_of(samples))
    except (OSError, ValueError, OverflowError) as error:
        raise SignalFileError(f"cannot read the signal file {file}: {reason(error)}; check its permissions") from None
    if len(data) < kind.bytes_of(samples):
        raise SignalFileError(f"signal file {file} ends before frame {stop}; fetch it again")
    return decode(data, number, samples)[early:].reshape(-1, channels)
