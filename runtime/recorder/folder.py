"""The records in a directory: names in the order of recording, one writer at a time, the oldest removed for room."""

import fcntl
import os
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..sources.wfdb_header import reason
from .record import ANNOTATOR, finish_record

_NAME = re.compile(r"(\d{6,})_\d{8}T\d{6}Z")
_SUFFIXES = ("hea", "dat", "jsonl", ANNOTATOR, "hea.new", f"{ANNOTATOR}.new")
_LOCK = ".recording"


class RecordFolder:
    """Records named NUMBER_TIME. The number tells their order: the clock of a board without a battery does not."""

    def __init__(self, path: Path) -> None:
        """Make the folder if need be and lock it; raises EcgEdgeError where another monitor records there."""
        self.path = path
        """The folder."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise EcgEdgeError(f"cannot record in {path} ({reason(error)}): name another folder") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise EcgEdgeError(f"another monitor records in {path}: name a folder for each") from None

    def new(self, began: datetime) -> Path:
        """Return the path, without suffix, for a record that begins at `began` (UTC)."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path / f"{max(self._numbers(), default=0) + 1:06d}_{began:%Y%m%dT%H%M%SZ}"

    def finish_left_open(self) -> None:
        """Finish what a process that was killed has left open; what cannot be stays as it is and is still counted."""
        for files in self._records().values():
            for file in files:
                if file.suffix == ".hea":
                    with suppress(OSError, EcgEdgeError):
                        finish_record(file.with_suffix(""))

    def make_room(self, limit: int) -> None:
        """Remove the oldest records until the rest have at most `limit` bytes; files of other names are let be."""
        records = self._records()
        sizes = {number: sum(_size(file) for file in files) for number, files in records.items()}
        total = sum(sizes.values())
        for number in sorted(records):
            if total <= limit:
                return
            for file in records[number]:
                with suppress(OSError):
                    file.unlink()
            total -= sizes[number]

    def close(self) -> None:
        """Let others record there."""
        os.close(self._lock)

    def _numbers(self) -> list[int]:
        return list(self._records())

    def _records(self) -> dict[int, list[Path]]:
        """Return the files of each record by its number."""
        found: dict[int, list[Path]] = {}
        with suppress(OSError):
            for file in self.path.iterdir():
                name, _, suffix = file.name.partition(".")
                match = _NAME.fullmatch(name)
                if match and suffix in _SUFFIXES:
                    found.setdefault(int(match[1]), []).append(file)
        return found


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
