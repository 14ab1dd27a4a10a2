"""WFDB records into recordings, and back: the one door through which files of PhysioNet's kind come in.

The header is `wfdb_header`'s, the bytes of the signal files are `wfdb_signal`'s, the physical scale is `wfdb_scale`'s.
This file finds which channels of which files are wanted and says what is wrong with a record that cannot be had.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.leads import UnknownLeadError, canonical_all
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT, Recording

from .wfdb_header import (
    Header,
    HeaderError,
    SignalSpec,
    format_header,
    read_header,
    reason,
    record_path,
    short,
    with_suffix,
)
from .wfdb_scale import UNCALIBRATED_GAIN, scale_of
from .wfdb_signal import FORMATS, encode, frames_in, read_frames

NOTE = "ecg-edge: "
"""Start of the comment lines that the reader adds to the record's own."""

SKIPPED = "-"
"""Name for a channel that is left out."""

_RECORD_NAME = re.compile(r"[A-Za-z0-9_-]+")  # what every WFDB reader takes

Mask = npt.NDArray[np.bool_]


class RecordError(EcgEdgeError):
    """A record that cannot be used as an ECG, or a recording that cannot be written as a record."""


def read_recording(
    path: str | Path,
    leads: Sequence[str] | None = None,
    start_seconds: float = 0.0,
    stop_seconds: float | None = None,
    *,
    truncated: Literal["error", "keep"] = "error",
    strict: bool = False,
) -> Recording:
    """Return the WFDB record at `path`, or the part of it from `start_seconds` to `stop_seconds`.

    path: the record's path without suffix; `.hea`, `.dat` or `.mat` may stand behind it.
    leads: names for the channels in order, instead of the header's; `-`, or no name at all, leaves a channel out.
    start_seconds, stop_seconds: samples round(start x rate) up to, not with, round(stop x rate); a stop beyond the
        end is the end.
    truncated: what to do when a signal file ends early: `error`, or `keep` what is there.
    strict: raise where a checksum does not match; otherwise a comment line says so.

    A channel is scaled by its header's gain and baseline to within half a count of the result, and limited to
    COUNT_LIMIT. Samples marked as missing are `invalid`, with the count of the valid one before them (0 at the
    start). `comments` are the header's, then lines that start with `ecg-edge:` where the reader had to assume or
    limit something. Raises a subclass of EcgEdgeError, and nothing else, whatever the files hold.
    """
    record = record_path(path)
    header = read_header(record)
    rate = _whole_rate(record, header)
    parts = _parts(record, header)
    columns, names = _chosen(record, parts[0].signals, leads)
    signals = [parts[0].signals[c] for c in columns]
    scale = scale_of(record, signals, names)
    bare = [name for signal, name in zip(signals, names, strict=True) if signal.gain == 0]
    notes = [f"lead {', '.join(bare)} uncalibrated: {UNCALIBRATED_GAIN:g} ADC units per mV assumed"] if bare else []

    readable = _readable(record, parts, columns, truncated, notes)
    start, stop = _range(record, sum(readable), rate, start_seconds, stop_seconds)
    digital, invalid, damaged = _read(parts, readable, columns, start, stop)
    for column in sorted(damaged):
        lead = names[columns.index(column)]
        if strict:
            raise RecordError(f"record {record}: checksum of lead {lead} does not match; fetch the record again")
        notes.append(f"checksum of lead {lead} does not match: the signal may be damaged")
    counts, limited = scale.counts(digital, invalid)
    if limited:
        notes.append(f"{limited} samples beyond 24 bits were limited")
    return Recording(
        name=record.name,
        rate=rate,
        leads=names,
        counts=counts,
        pv_per_lsb=scale.pv_per_lsb,
        invalid=invalid,
        comments=(*header.comments, *(NOTE + note for note in notes)),
    )


def write_recording(recording: Recording, folder: Path) -> Path:
    """Write `recording` as a WFDB record in `folder`, made if need be, and return the record's path without suffix.

    Format 16, or 24 where a count needs it; missing samples get the format's marker; gain in ADC units per mV with
    baseline 0. `read_recording` gives the same recording back, except for what `counts` are where `invalid`.
    Raises RecordError when the name is not one that WFDB readers take, when there is nothing to write, when a count
    is beyond COUNT_LIMIT, and when the disk refuses.
    """
    if not _RECORD_NAME.fullmatch(recording.name):
        raise RecordError(
            f"record name {short(recording.name)} is not one that WFDB readers take; use letters, digits, - and _"
        )
    counts = np.asarray(recording.counts)
    if counts.size == 0:
        raise RecordError(f"recording {recording.name} holds no samples; record for longer")
    invalid = np.zeros(counts.shape, np.bool_) if recording.invalid is None else recording.invalid
    held = np.where(invalid, 0, counts)
    peak = max(-int(held.min()), int(held.max()))
    if peak > COUNT_LIMIT:
        raise RecordError(f"recording {recording.name} has counts of {peak}; limit them to {COUNT_LIMIT}")
    number = 16 if peak <= FORMATS[16].largest else 24
    digital = np.where(invalid, FORMATS[number].missing, counts)
    signals = tuple(
        SignalSpec(
            file=f"{recording.name}.dat",
            format=number,
            gain=1e9 / recording.pv_per_lsb,
            adc_bits=FORMATS[number].bits,
            initial=int(column[0]),
            checksum=int(column.sum(dtype=np.int64)) % 2**16,
            name=lead,
        )
        for column, lead in zip(digital.T, recording.leads, strict=True)
    )
    comments = tuple(line.strip() for text in recording.comments for line in text.splitlines())
    header = Header(recording.name, float(recording.rate), len(counts), signals, comments=comments)
    record = Path(folder) / recording.name
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with_suffix(record, "dat").write_bytes(encode(digital, number))
        with_suffix(record, "hea").write_bytes(format_header(header).encode(errors="replace"))
    except OSError as error:
        raise RecordError(
            f"cannot write record {record}: {reason(error)}; choose another folder or free space"
        ) from None
    return record


@dataclass(frozen=True)
class _Part:
    """A stretch of signal files: a whole ordinary record, or one segment of a longer one."""

    record: Path
    signals: tuple[SignalSpec, ...]
    samples: int | None  # frames that the header promises

    def files(self, columns: Sequence[int]) -> dict[str, list[int]]:
        """Return the signal files that `columns` need, each with all of its channels, in file order."""
        wanted = {self.signals[c].file for c in columns}
        files: dict[str, list[int]] = {}
        for column, signal in enumerate(self.signals):
            if signal.file in wanted:
                files.setdefault(signal.file, []).append(column)
        for name, members in files.items():
            self._check_file(name, [self.signals[c] for c in members])
        return files

    def _check_file(self, name: str, members: Sequence[SignalSpec]) -> None:
        where = f"record {self.record}"
        if name in ("-", "~", ".", "..") or re.search(r"[/\\\0]", name):
            raise RecordError(
                f"{where}: signal file {short(name)} is not beside the header; move it there and correct the header"
            )
        if any(s.samples_per_frame != 1 for s in members):
            raise RecordError(
                f"{where}: several samples per frame are not supported; "
                "bring its signals to one rate, for example with `xform` of the WFDB software"
            )
        if any(s.skew for s in members):
            raise RecordError(
                f"{where}: skewed signals are not supported; "
                "convert the record, for example with `xform` of the WFDB software"
            )
        if len({s.format for s in members}) > 1:
            raise RecordError(f"{where}: signal file {name} has two formats; correct the header or fetch it again")

    def frames(self, columns: Sequence[int]) -> int:
        """Return how many frames the files of `columns` hold."""
        return min(
            frames_in(self.record.parent / name, self.signals[m[0]].format, len(m), self.signals[m[0]].byte_offset)
            for name, m in self.files(columns).items()
        )

    def read(self, columns: Sequence[int], start: int, stop: int) -> npt.NDArray[np.int32]:
        """Return frames `start` to `stop` of `columns` in ADC units, int32 (stop - start, len(columns))."""
        digital = np.empty((stop - start, len(columns)), np.int32)
        wanted = list(columns)
        for name, members in self.files(columns).items():
            first = self.signals[members[0]]
            frames = read_frames(self.record.parent / name, first.format, len(members), first.byte_offset, start, stop)
            if members == wanted:
                return frames
            for to, column in enumerate(wanted):
                if column in members:
                    digital[:, to] = frames[:, members.index(column)]
        return digital


def _whole_rate(record: Path, header: Header) -> int:
    if not header.rate.is_integer():
        raise RecordError(
            f"record {record}: {header.rate} Hz is no whole number of samples per second; "
            "resample it, for example with `xform` of the WFDB software"
        )
    return int(header.rate)


def _parts(record: Path, header: Header) -> list[_Part]:
    """Return the record as stretches with the same channels: itself, or the segments of a fixed layout."""
    if not header.segments:
        if not header.signals:
            raise RecordError(f"record {record} has no signals; name a record that has")
        return [_Part(record, header.signals, header.samples)]
    parts: list[_Part] = []
    for segment in header.segments:
        if segment.name == "~" or segment.samples == 0:
            raise RecordError(
                f"record {record}: segments of a variable layout are not supported; read its segments one by "
                "one, or convert it with `xform` of the WFDB software"
            )
        if re.search(r"[/\\\0]", segment.name):
            raise RecordError(f"record {record}: segment {short(segment.name)} is not beside the header; move it there")
        own = read_header(with_suffix(record.parent / segment.name, "hea"))
        part = _Part(record.parent / segment.name, own.signals, segment.samples)
        alike = [[(s.name, s.gain, s.baseline, s.units) for s in p.signals] for p in (part, *parts[:1])]
        if own.segments or own.rate != header.rate or alike[0] != alike[-1] or not own.signals:
            raise RecordError(
                f"record {record}: segment {segment.name} has other channels, gains or rate than the record; "
                "read its segments one by one, or convert it with `xform` of the WFDB software"
            )
        if own.samples not in (None, segment.samples):
            raise HeaderError(
                f"record {record}: segment {segment.name} has {own.samples} samples by its own header, "
                f"{segment.samples} by the record's; correct the headers or fetch them again"
            )
        parts.append(part)
    total = sum(segment.samples for segment in header.segments)
    if header.samples not in (None, total):
        raise HeaderError(
            f"record {record}: its segments have {total} samples, its header promises {header.samples}; "
            "correct the header or fetch it again"
        )
    return parts


def _chosen(
    record: Path, signals: Sequence[SignalSpec], leads: Sequence[str] | None
) -> tuple[list[int], tuple[str, ...]]:
    """Return the columns that are used and the canonical name of each."""
    if leads is not None and len(leads) > len(signals):
        raise RecordError(f"record {record} has {len(signals)} channels, {len(leads)} lead names were given")
    names = [s.name for s in signals] if leads is None else list(leads)
    columns = [c for c, name in enumerate(names) if name.strip() != SKIPPED]
    if not columns:
        raise RecordError(f"record {record}: every channel is left out; name at least one lead")
    try:
        return columns, canonical_all([names[c] for c in columns])
    except UnknownLeadError as error:
        raise UnknownLeadError(f"record {record}: {error}") from None


def _readable(
    record: Path, parts: Sequence[_Part], columns: Sequence[int], truncated: str, notes: list[str]
) -> list[int]:
    """Return the frames of each part that can be read, ending with the first that is cut short."""
    readable: list[int] = []
    for part in parts:
        there = part.frames(columns)
        promised = there if part.samples is None else part.samples
        readable.append(min(there, promised))
        if there < promised:
            where = "" if len(parts) == 1 else f" of segment {part.record.name}"
            short = f"{there} of {promised} samples{where} are there"
            if truncated != "keep":
                raise RecordError(
                    f"record {record}: signal file truncated, {short}; "
                    'fetch it again, or use what is there (truncated="keep")'
                )
            notes.append(f"signal file truncated, {short}")
            break
    if not sum(readable):
        raise RecordError(f"record {record}: its signal file holds no samples; fetch it again")
    return readable


def _range(record: Path, total: int, rate: int, start_seconds: float, stop_seconds: float | None) -> tuple[int, int]:
    end = total / rate if stop_seconds is None else stop_seconds
    bounds = [seconds * rate for seconds in (start_seconds, end)]
    if 0 <= bounds[0] < min(bounds[1], total):  # false for NaN too
        start, stop = round(bounds[0]), round(min(bounds[1], total))
        if start < stop:
            return start, stop
    raise RecordError(
        f"record {record}: no samples from {start_seconds:g} to {end:g} s; choose a range within its {total / rate:g} s"
    )


def _read(
    parts: Sequence[_Part], readable: Sequence[int], columns: Sequence[int], start: int, stop: int
) -> tuple[npt.NDArray[np.int32], Mask | None, set[int]]:
    """Return frames `start` to `stop` in ADC units, where they are missing, and the columns of wrong checksum."""
    chunks: list[npt.NDArray[np.int32]] = []
    masks: list[Mask] = []
    damaged: set[int] = set()
    begin = 0
    for part, frames in zip(parts, readable, strict=False):
        low, high = max(start - begin, 0), min(stop - begin, frames)
        begin += frames
        if low >= high:
            continue
        chunk = part.read(columns, low, high)
        if high - low == frames and part.samples in (None, frames):
            sums = chunk.sum(axis=0, dtype=np.int64)
            for column, total in zip(columns, sums, strict=True):
                checksum = part.signals[column].checksum
                if checksum is not None and (int(total) - checksum) % 2**16:
                    damaged.add(column)
        chunks.append(chunk)
        masks.append(chunk == np.array([FORMATS[part.signals[c].format].missing for c in columns], np.int32))
    mask = np.concatenate(masks) if len(masks) > 1 else masks[0]
    digital = np.concatenate(chunks) if len(chunks) > 1 else chunks[0]
    return digital, mask if mask.any() else None, damaged
