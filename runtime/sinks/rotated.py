"""Events to a file that starts anew when it is full, the last few kept: FILE, FILE.1, FILE.2, ..."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..events import Event, to_json
from ..files import AppendedFile
from ..ranges import Range
from . import Undelivered


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """Which file, and how much of it."""

    path: Path
    """File to append to."""
    max_mb: Annotated[float, Range(0.001, 1e6)] = 10.0
    """Megabytes (of 10**6 bytes) in one file."""
    keep: Annotated[int, Range(0, 1000)] = 4
    """Full files that are kept, besides the one that is written."""


class RotatedFile:
    """Appends each event as a whole line, or not at all."""

    def __init__(self, settings: FileSettings) -> None:
        """Prepare; the file is opened with the first event, and again after trouble."""
        self._settings = settings
        self._file: AppendedFile | None = None

    def emit(self, event: Event) -> None:
        """Append one event; raises Undelivered where the disk refuses, to be tried again."""
        line = f"{to_json(event)}\n".encode("ascii")
        try:
            if self._file is None:
                self._file = _open(self._settings.path)
            if self._file.size and self._file.size + len(line) > self._settings.max_mb * 1e6:
                self._rotate()
                self._file = _open(self._settings.path)
            self._file.append(line)
        except OSError as error:
            self.close()
            raise Undelivered(f"cannot write {self._settings.path} ({error.strerror}): make room") from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rotate(self) -> None:
        self.close()
        names = [self._settings.path, *(self._old(n) for n in range(1, self._settings.keep + 1))]
        if len(names) == 1:
            names[0].unlink()
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            with suppress(FileNotFoundError):
                newer.replace(older)

    def _old(self, number: int) -> Path:
        return self._settings.path.with_name(f"{self._settings.path.name}.{number}")


def _open(path: Path) -> AppendedFile:
    """Open for appending; half a line that a process that was killed may have left stays a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = AppendedFile(path)
    if file.size:
        with path.open("rb") as written:
            written.seek(-1, os.SEEK_END)
            if written.read() != b"\n":
                file.append(b"\n")
    return file
