"""One record on disk, from its first frame to its last.

    NAME.dat     frames as they came, WFDB format 24 (what a 24-bit converter gives), samples that are missing marked so
    NAME.hea     header; without a length, initial values and checksums until the record is finished
    NAME.jsonl   events, a line each
    NAME.alert   the alerts and technical events as WFDB annotations, made when the record is finished

A header without a length means "as long as the signal file" to every WFDB reader (header(5)), so a record opens at any
moment while it grows, and a frame that was cut off at its end counts as not there. The header comes after the first
frames, since readers refuse a record without any. `finish_record` does for a record whose process was killed what
`OpenRecord.finish` would have done.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.recording import COUNT_LIMIT

from ..engine import StreamFormat
from ..files import AppendedFile, replace_file
from ..sources.wfdb_annotation import Annotation
from ..sources.wfdb_annotation import encode as encode_annotations
from ..sources.wfdb_header import Header, SignalSpec, format_header, read_header, with_suffix
from ..sources.wfdb_signal import FORMATS, encode, frames_in, read_frames

ANNOTATOR = "alert"
"""Suffix of the annotation file, which is its annotator's name to WFDB programs."""

_KIND = FORMATS[24]
_BLOCK_FRAMES = 65536  # read at once to finish a record that was left open
_ALERT, _TECHNICAL = '"', "~"  # ecgcodes.h: a comment; a change of signal quality
_ORIGIN = re.compile(r"recorded by ecg-edge from (\S+), frame (\d+) of its stream")


@dataclass(frozen=True)
class Origin:
    """Where in the stream, and when, a record begins."""

    began: datetime
    """Time of day of the first frame by this machine's clock."""
    frame: int
    """Frames of the stream before it, lost ones included."""

    def comment(self) -> str:
        """Return the header's comment line."""
        began = self.began.isoformat(timespec="milliseconds")
        return f"recorded by ecg-edge from {began}, frame {self.frame} of its stream"

    @staticmethod
    def of(header: Header) -> "Origin":
        """Return what the comments of a header say; frame 0 at the epoch where they say nothing."""
        for line in header.comments:
            if match := _ORIGIN.fullmatch(line):
                with suppress(ValueError):
                    return Origin(datetime.fromisoformat(match[1]), int(match[2]))
        return Origin(datetime.fromtimestamp(0, UTC), 0)


class OpenRecord:
    """A record that grows. What adds to it raises OSError where the disk refuses, and nothing was added."""

    def __init__(self, path: Path, stream: StreamFormat, origin: Origin) -> None:
        """Make the files of the record at `path` (without suffix), which must not be there."""
        self.origin = origin
        """Where it begins."""
        self.frames = 0
        """Frames written, missing ones included."""
        self._path, self._stream = path, stream
        self._headed = False
        self._first: list[int] = []
        self._sums = np.zeros(len(stream.leads), np.int64)
        self._signal = AppendedFile(with_suffix(path, "dat"))
        try:
            self._events = AppendedFile(with_suffix(path, "jsonl"))
        except OSError:
            self._signal.close()
            raise

    @property
    def next_frame(self) -> int:
        """Place in the stream of the frame that `append` takes next."""
        return self.origin.frame + self.frames

    @property
    def size(self) -> int:
        """Bytes of signal and events."""
        return self._signal.size + self._events.size

    def append(self, counts: npt.NDArray[np.int32], invalid: npt.NDArray[np.bool_] | None) -> None:
        """Add frames (n, channels); the least 24-bit count, WFDB's mark, becomes the one above where it is a sample."""
        digital = np.clip(counts, -COUNT_LIMIT, COUNT_LIMIT)
        if invalid is not None:
            digital = np.where(invalid, _KIND.missing, digital)
        self._add(digital)

    def skip(self, frames: int) -> None:
        """Add frames of which nothing is known; of a failure halfway `next_frame` tells."""
        for start in range(0, frames, self._stream.rate):
            shape = (min(self._stream.rate, frames - start), len(self._stream.leads))
            self._add(np.full(shape, _KIND.missing, np.int32))

    def write_events(self, lines: Iterable[str]) -> None:
        """Add events, all or none."""
        self._events.append("".join(f"{line}\n" for line in lines).encode("ascii"))

    def sync(self) -> None:
        """Have the disk hold what was added."""
        self._signal.sync()
        self._events.sync()

    def finish(self) -> None:
        """Close, with a full header and annotations; what the disk refuses of these, `finish_record` can do later."""
        self.close()
        if self._headed:
            header = _header(self._path.name, self._stream, self.origin)
            with suppress(OSError):
                _complete(self._path, header, self.frames, self._first, self._sums)

    def close(self) -> None:
        """Close and leave the record as it is."""
        self._signal.close()
        self._events.close()

    def _add(self, digital: npt.NDArray[np.int32]) -> None:
        if not len(digital):
            return
        self._signal.append(encode(digital, _KIND.number))
        if not self.frames:
            self._first = digital[0].tolist()
        self.frames += len(digital)
        self._sums += digital.sum(axis=0, dtype=np.int64)
        if not self._headed:
            header = _header(self._path.name, self._stream, self.origin)
            with suppress(OSError):  # tried again with the next frames
                replace_file(with_suffix(self._path, "hea"), format_header(header).encode())
                self._headed = True


def finish_record(path: Path) -> bool:
    """Give the record at `path`, left open by a process that was killed, its full header; return whether it needed one.

    Takes away half a frame or half a line at the end. Raises EcgEdgeError or OSError where it cannot.
    """
    header = read_header(path)
    if header.samples is not None or not header.signals:
        return False
    channels = len(header.signals)
    file = with_suffix(path, "dat")
    frames = frames_in(file, _KIND.number, channels)
    with AppendedFile(file, _KIND.bytes_of(frames * channels)) as signal:
        signal.append(b"")
    events = with_suffix(path, "jsonl")
    with suppress(FileNotFoundError), AppendedFile(events, events.read_bytes().rfind(b"\n") + 1) as lines:
        lines.append(b"")
    sums = np.zeros(channels, np.int64)
    first: list[int] = []
    for start in range(0, frames, _BLOCK_FRAMES):
        block = read_frames(file, _KIND.number, channels, 0, start, min(start + _BLOCK_FRAMES, frames))
        first = first or block[0].tolist()
        sums += block.sum(axis=0, dtype=np.int64)
    if frames:
        _complete(path, header, frames, first, sums)
    return bool(frames)


def _header(name: str, stream: StreamFormat, origin: Origin) -> Header:
    """Return the header of a record that grows."""
    signals = tuple(
        SignalSpec(f"{name}.dat", _KIND.number, gain=1e9 / stream.pv_per_lsb, adc_bits=_KIND.bits, name=lead)
        for lead in stream.leads
    )
    return Header(name, float(stream.rate), None, signals, comments=(origin.comment(),))


def _complete(path: Path, header: Header, frames: int, first: list[int], sums: npt.NDArray[np.int64]) -> None:
    """Write the annotations, then the header with everything that is known at the end."""
    origin = Origin.of(header)
    replace_file(with_suffix(path, ANNOTATOR), encode_annotations(_annotations(path, header, frames, origin)))
    signals = tuple(
        replace(signal, initial=initial, checksum=int(total) % 2**16)
        for signal, initial, total in zip(header.signals, first, sums, strict=True)
    )
    line, rest = format_header(replace(header, samples=frames, signals=signals)).split("\n", 1)
    # The time of day goes into the record line too, where WFDB programs look for it.
    began = origin.began + timedelta(microseconds=500)
    clock = f"{began:%H:%M:%S}.{began.microsecond // 1000:03d} {began:%d/%m/%Y}"
    replace_file(with_suffix(path, "hea"), f"{line} {clock}\n{rest}".encode())


def _annotations(path: Path, header: Header, frames: int, origin: Origin) -> list[Annotation]:
    """Return the record's alerts and technical events in time order, those of a time outside it at its ends."""
    found = []
    for event in _events(with_suffix(path, "jsonl")):
        if event["type"] == "alert":
            symbol, text = _ALERT, f"{event['label']} {event['phase']} {event['priority']}"
        elif event["type"] == "technical":
            symbol, text = _TECHNICAL, f"{event['code']} {event['phase']}"
        else:
            continue
        sample = round(event["time"] * header.rate) - origin.frame
        found.append(Annotation(min(max(sample, 0), frames - 1), symbol, aux=text))
    return sorted(found, key=lambda annotation: annotation.sample)


def _events(path: Path) -> Iterator[dict[str, Any]]:
    with suppress(FileNotFoundError), path.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            with suppress(ValueError):
                yield json.loads(line)
