"""WFDB headers: the text of a `.hea` file into frozen dataclasses, and back.

A header is one record line, then one line a signal (or a segment), with `#` comments anywhere:

    RECORD[/SEGMENTS] SIGNALS [RATE[/COUNTER[(BASE)]] [SAMPLES [TIME [DATE]]]]
    FILE FORMAT[xSAMPLES_PER_FRAME][:SKEW][+BYTES] [GAIN[(BASELINE)][/UNITS] [BITS [ZERO [FIRST [SUM [BLOCK [NAME]]]]]]]
    SEGMENT SAMPLES

Source: header(5) of the WFDB Applications Guide. Nothing here opens a signal file or judges whether one can be
read. Real headers bend the rules, and these bends are met: carriage returns, trailing blanks, a record name with
its suffix, dates in any form (they are not used), integer fields left out before the signal's name.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

DEFAULT_RATE = 250.0  # Hz where a header gives none, header(5)
HEADER_LIMIT = 2**20  # bytes; a record of 50,000 segments stays below it, a signal file named .hea does not
_WHOLE_LIMIT = 2**63  # whatever a header counts or measures fits 64 bits; more digits than that are damage
_BASELINE_LIMIT = 2**31  # ADC units; the widest format has 32 bits
_RECORD_SUFFIXES = (".hea", ".dat", ".mat")

_RATE = re.compile(r"(\d+\.?\d*|\.\d+)(/.*)?", re.ASCII)
_LAYOUT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?", re.ASCII)
_GAIN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\(([+-]?\d+)\))?(?:/(\S*))?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


class HeaderError(EcgEdgeError):
    """A header that is missing or that is not one."""


@dataclass(frozen=True)
class SignalSpec:
    """One signal line."""

    file: str
    """Name of the signal file, beside the header."""
    format: int
    """Storage format of signal(5): 16, 212, ..."""
    samples_per_frame: int = 1
    """Samples of this signal for each one that the record's rate counts."""
    skew: int = 0
    """Samples by which this signal lags the others in the file."""
    byte_offset: int = 0
    """Bytes in the file before the first sample."""
    gain: float = 0.0
    """ADC units per physical unit; 0 where the signal is not calibrated."""
    baseline: int = 0
    """ADC value at zero physical units."""
    units: str = "mV"
    """Physical units."""
    adc_bits: int = 0
    """Resolution of the converter in bits; 0 where not given."""
    adc_zero: int = 0
    """ADC value in the middle of the converter's range."""
    initial: int | None = None
    """First sample, None where not given."""
    checksum: int | None = None
    """Sum of all samples modulo 2**16, signed or unsigned; None where not given."""
    block_size: int = 0
    """Bytes a read from a special file has to take; 0 for ordinary files."""
    name: str = ""
    """Description of the signal, for an ECG the lead name."""


@dataclass(frozen=True)
class Segment:
    """One segment line of a multi-segment record."""

    name: str
    """Record name of the segment; `~` where nothing was recorded."""
    samples: int
    """Samples per signal; 0 for the layout segment."""


@dataclass(frozen=True)
class Header:
    """What a header file says."""

    name: str
    """Record name as written in the header, which need not be the file's."""
    rate: float = DEFAULT_RATE
    """Frames per second."""
    samples: int | None = None
    """Frames per signal; None where not given: then the signal file's size tells."""
    signals: tuple[SignalSpec, ...] = ()
    """Signals in file order; empty for a multi-segment record."""
    segments: tuple[Segment, ...] = ()
    """Segments in time order; empty for an ordinary record."""
    comments: tuple[str, ...] = ()
    """Comment lines without `#` and outer blanks."""


def record_path(path: str | Path) -> Path:
    """Return the record's path without suffix, whether `path` has one (`.hea`, `.dat`, `.mat`) or not.

    A record whose own name ends like a suffix (`a.dat` with header `a.dat.hea`) is found under that name.
    """
    path = Path(path)
    if path.suffix.lower() not in _RECORD_SUFFIXES:
        return path
    try:
        own_name = with_suffix(path, "hea").is_file()
    except (OSError, ValueError):
        own_name = False
    return path if own_name else path.with_suffix("")


def with_suffix(record: Path, suffix: str) -> Path:
    """Return the file of `record` with `suffix` appended, whatever dots the record's name has."""
    return record.parent / f"{record.name}.{suffix}"


def read_header(path: str | Path) -> Header:
    """Return the header of the record at `path` (with or without suffix); raises HeaderError."""
    record = record_path(path)
    file = with_suffix(record, "hea")
    try:
        with file.open("rb") as stream:
            data = stream.read(HEADER_LIMIT + 1)
    except FileNotFoundError:
        raise HeaderError(
            f"no record at {record}: {file.name} is not there; give the record's path without suffix"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise HeaderError(f"cannot read {file}: {reason(error)}; check the path and its permissions") from None
    if len(data) > HEADER_LIMIT:
        raise HeaderError(f"{file}: larger than any header; name the .hea file of the record")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return parse_header(text, source=str(file))


def parse_header(text: str, source: str = "header") -> Header:
    """Return what the header `text` says; raises HeaderError naming `source`, the line and what is wrong in it."""
    comments: list[str] = []
    lines: list[_Line] = []
    for number, raw in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        content = raw.strip()
        if content.startswith("#"):
            comments.append(content.lstrip("#").strip())
        elif content:
            lines.append(_Line(f"{source}, line {number}", content))
    if not lines:
        raise HeaderError(f"{source}: no record line; fetch the header again")

    first, rest = lines[0], lines[1:]
    fields = first.content.split()
    name, slash, segments = fields[0].partition("/")
    if len(fields) < 2:
        raise first.wrong("gives no number of signals after the record name")
    promised = first.whole(fields[1], "number of signals", low=0)
    rate = DEFAULT_RATE
    if len(fields) > 2:
        match = _RATE.fullmatch(fields[2])
        rate = float(match[1]) if match else 0.0
        if not 0 < rate < math.inf:
            raise first.wrong(f"sampling rate {short(fields[2])} is not a positive number")
    # header(5): zero samples is another way to give none.
    samples = (first.whole(fields[3], "number of samples", low=0) or None) if len(fields) > 3 else None

    if slash:
        count = first.whole(segments, "number of segments", low=1)
        _check_count(source, "segment", count, rest)
        return Header(name, rate, samples, (), tuple(map(_parse_segment, rest)), tuple(comments))
    _check_count(source, "signal", promised, rest)
    return Header(name, rate, samples, tuple(map(_parse_signal, rest)), (), tuple(comments))


def format_header(header: Header) -> str:
    """Return the text of a `.hea` file for an ordinary record; `parse_header` gives `header` back."""
    samples = "" if header.samples is None else f" {header.samples}"
    lines = [f"{header.name} {len(header.signals)} {_number(header.rate)}{samples}"]
    for s in header.signals:
        layout = f"{s.format}"
        layout += f"x{s.samples_per_frame}" if s.samples_per_frame != 1 else ""
        layout += f":{s.skew}" if s.skew else ""
        layout += f"+{s.byte_offset}" if s.byte_offset else ""
        line = f"{s.file} {layout} {_number(s.gain)}({s.baseline})/{s.units} {s.adc_bits} {s.adc_zero}"
        # The fields are positional: what follows a value that is not known cannot be written.
        if s.initial is not None:
            line += f" {s.initial}"
            if s.checksum is not None:
                line += f" {s.checksum} {s.block_size}"
        lines.append(f"{line} {s.name}".rstrip())
    lines += [f"# {line}".rstrip() for line in header.comments]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Line:
    where: str
    content: str

    def wrong(self, what: str) -> HeaderError:
        return HeaderError(f"{self.where}: {what}; correct the header or fetch it again")

    def whole(self, text: str, what: str, low: int = -_WHOLE_LIMIT) -> int:
        value = int(text) if len(text) <= 20 and _WHOLE.fullmatch(text) else _WHOLE_LIMIT
        if not low <= value < _WHOLE_LIMIT:
            raise self.wrong(f"{what} {short(text)} is not a {'whole' if low < 0 else 'counting'} number")
        return value


def _check_count(source: str, kind: str, promised: int, lines: list[_Line]) -> None:
    if promised != len(lines):
        raise HeaderError(
            f"{source}: the record line promises {promised} {kind}s, {len(lines)} {kind} lines follow; "
            "correct the header or fetch it again"
        )


def _parse_segment(line: _Line) -> Segment:
    fields = line.content.split()
    if len(fields) < 2:
        raise line.wrong("a segment line needs a record name and a number of samples")
    return Segment(fields[0], line.whole(fields[1], "number of samples", low=0))


def _parse_signal(line: _Line) -> SignalSpec:
    fields = line.content.split(maxsplit=3)
    if len(fields) < 2:
        raise line.wrong("a signal line needs a file name and a format")
    match = _LAYOUT.fullmatch(fields[1])
    if not match:
        raise line.wrong(f"format {short(fields[1])} is none")
    layout = [line.whole(text, "format field", low=0) if text else None for text in match.groups()]
    gain, units, baseline = 0.0, "", None
    if len(fields) > 2:
        found = _GAIN.fullmatch(fields[2])
        gain = float(found[1]) if found else math.inf
        if not found or not math.isfinite(gain):
            raise line.wrong(f"gain {short(fields[2])} is not a number, with (BASELINE) and /UNITS if any")
        baseline = line.whole(found[2], "baseline") if found[2] else None
        units = found[3] or ""
    rest = fields[3] if len(fields) > 3 else ""
    tokens = rest.split(maxsplit=5)
    # A name after fewer than five numbers is common, and harmless.
    count = next((i for i, token in enumerate(tokens) if i == 5 or not _WHOLE.fullmatch(token)), len(tokens))
    numbers: list[int | None] = [line.whole(token, "number") for token in tokens[:count]]
    bits, zero, initial, checksum, block = numbers + [None] * (5 - count)
    name = rest.split(maxsplit=count)[count] if len(tokens) > count else ""
    baseline = (zero or 0) if baseline is None else baseline
    if abs(baseline) > _BASELINE_LIMIT:
        raise line.wrong(f"baseline {baseline} is beyond 32 bits")
    return SignalSpec(
        file=fields[0],
        format=layout[0] or 0,
        samples_per_frame=layout[1] or 1,
        skew=layout[2] or 0,
        byte_offset=layout[3] or 0,
        gain=gain,
        baseline=baseline,
        units=units or "mV",
        adc_bits=bits or 0,
        adc_zero=zero or 0,
        initial=initial,
        checksum=checksum,
        block_size=block or 0,
        name=name,
    )


def reason(error: Exception) -> str:
    """Return why a file could not be opened, without the path, which the message has already."""
    return getattr(error, "strerror", None) or str(error)


def short(text: str) -> str:
    """Return `text` quoted for a message, cut to a length that leaves the message one line."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
