"""Writes that leave a file whole whatever interrupts them: appended all or not at all, or replaced at once."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Self


class AppendedFile:
    """A file that only grows, by whole pieces: after a failed write, or none, it ends where the last piece ended."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        """Open for appending; size: of what is kept of a file that is there, None for all. Raises OSError."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.size = os.fstat(self._fd).st_size if size is None else size
        """Bytes that are kept."""

    def append(self, data: bytes) -> None:
        """Write all of `data`; raises OSError, also where the file was taken away, and then nothing was added."""
        there = os.fstat(self._fd)
        if there.st_nlink == 0 or there.st_size < self.size:  # written there, it would be lost and nobody told
            raise OSError(errno.ESTALE, "the file was removed or cut by somebody else")
        if there.st_size > self.size:
            os.ftruncate(self._fd, self.size)
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError:
            with suppress(OSError):  # tried again before the next write
                os.ftruncate(self._fd, self.size)
            raise
        self.size += done

    def sync(self) -> None:
        """Have the disk hold what was appended, as far as it can be told to; raises OSError."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close, without an error whatever became of the file."""
        with suppress(OSError):
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` where `path` is: a reader finds the old content or the new, never a part. Raises OSError."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
