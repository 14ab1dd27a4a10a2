"""What came over a link, kept as it came: the raw bytes in one file, their times of arrival in another beside it.

The capture stays what the cable carried, so it can be fed to anything that reads a link. `NAME.times` is text: a
comment line, then for each read how many bytes the capture holds up to there, and the seconds since the first.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import NamedTuple

from .errors import EcgEdgeError
from .transport import LinkClosed, Transport

READ_BYTES = 65536
READ_TIMEOUT_S = 0.1
"""Longest wait before looking whether to stop."""
FILE_BYTES = 4096
"""Bytes handed on at once from a capture without times."""
_TITLE = "# bytes so far, seconds of arrival\n"


class Arrival(NamedTuple):
    """What one read gave."""

    data: bytes
    at: float | None
    """When it came, in seconds of a clock that never goes back; None where nobody knows."""


def listen(transport: Transport, stop: Event, seconds: float | None = None) -> Iterator[Arrival]:
    """Yield what comes over a link until it is closed in order, `stop` is set, or `seconds` have passed.

    In silence an arrival of no bytes comes every READ_TIMEOUT_S. Raises LinkLost where the link fails.
    """
    deadline = float("inf") if seconds is None else time.monotonic() + seconds
    while not stop.is_set() and time.monotonic() < deadline:
        try:
            data = transport.read(READ_BYTES, min(READ_TIMEOUT_S, max(deadline - time.monotonic(), 0.0)))
        except LinkClosed:
            return
        yield Arrival(data, time.monotonic())


def times_path(path: Path) -> Path:
    """Return where the times of a capture are."""
    return path.with_name(path.name + ".times")


def write_capture(path: Path, arrivals: Iterator[Arrival]) -> int:
    """Write what comes to `path`, and its times beside it, read by read; return the number of bytes.

    Raises EcgEdgeError where the files cannot be written.
    """
    size, begun = 0, None
    try:
        with path.open("wb", buffering=0) as raw, times_path(path).open("w", buffering=1, encoding="ascii") as times:
            times.write(_TITLE)
            for data, at in arrivals:
                raw.write(data)
                size += len(data)
                if data and at is not None:
                    begun = at if begun is None else begun
                    times.write(f"{size} {at - begun:.6f}\n")
    except OSError as error:
        raise EcgEdgeError(f"cannot write {path} ({error.strerror}): choose another file or free space") from None
    return size


def read_capture(path: Path) -> Iterator[Arrival]:
    """Yield a capture as it arrived, with times where they are kept; otherwise in pieces of FILE_BYTES without.

    Raises EcgEdgeError where a file cannot be read or the times do not belong to it.
    """
    try:
        data = path.read_bytes()
        times = times_path(path).read_text(encoding="ascii") if times_path(path).is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise EcgEdgeError(f"cannot read {path} ({error}): name a file that ecg-edge wire dump wrote") from None
    start = 0
    for end, at in _times(path, times):
        if not start <= end <= len(data):
            raise EcgEdgeError(f"{times_path(path)} does not fit {path}: remove it to do without times of arrival")
        yield Arrival(data[start:end], at)
        start = end
    for begin in range(start, len(data), FILE_BYTES):
        yield Arrival(data[begin : begin + FILE_BYTES], None)


def _times(path: Path, text: str) -> Iterator[tuple[int, float]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            continue
        try:
            end, at = line.split()
            yield int(end), float(at)
        except ValueError:
            raise EcgEdgeError(
                f"{times_path(path)} line {number} is no time of arrival: remove the file to do without"
            ) from None
