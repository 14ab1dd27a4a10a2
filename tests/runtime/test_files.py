"""Appending and replacing: a file is whole at any moment."""

import errno
import os
from pathlib import Path

import pytest

from ecg_edge.runtime import files
from ecg_edge.runtime.files import AppendedFile, replace_file


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write = os.write
    room = [10**6]

    def short(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "full")
        part = data[: min(room[0], 3)]
        room[0] -= len(part)
        return write(fd, part)

    monkeypatch.setattr(files.os, "write", short)
    with AppendedFile(path) as file:
        file.append(b"abcdefgh")
        room[0] = 5
        with pytest.raises(OSError, match="full"):
            file.append(b"ijklmnop")
        assert path.read_bytes() == b"abcdefgh"
        monkeypatch.setattr(files.os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        room[0] = 5
        with pytest.raises(OSError, match="full"):
            file.append(b"ijklmnop")
        assert path.read_bytes() == b"abcdefghijklm", "it could not be cut"
        monkeypatch.undo()
        file.append(b"qrst")
        file.sync()
        assert (path.read_bytes(), file.size) == (b"abcdefghqrst", 12), "but is before the next piece"


@pytest.mark.parametrize("what", ["removed", "cut"])
def test_a_file_that_is_taken_away(tmp_path: Path, what: str) -> None:
    path = tmp_path / "file"
    with AppendedFile(path) as file:
        file.append(b"abc")
        if what == "removed":
            path.unlink()
        else:
            os.truncate(path, 1)
        with pytest.raises(OSError, match="removed or cut") as caught:
            file.append(b"def")
        assert caught.value.errno == errno.ESTALE


def test_what_is_there_is_kept_up_to_the_size_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    with AppendedFile(path) as file:
        file.append(b"g")
    with AppendedFile(path, 2) as file:
        file.append(b"x")
    assert path.read_bytes() == b"abx"


def test_replacing_leaves_the_old_one_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")

    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="broken"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
