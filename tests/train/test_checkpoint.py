"""Checkpoints: whole or not at all, and nothing in them is run."""

import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from ecg_edge.train import checkpoint  # noqa: E402
from ecg_edge.train.checkpoint import CheckpointError  # noqa: E402


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("pytest.fail('code in a checkpoint was run')",)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    state = {"epoch": 3, "names": ["a", "b"], "network": {"weight": torch.arange(6.0).reshape(2, 3)}}
    checkpoint.save(tmp_path / "last.pt", state)
    loaded = checkpoint.load(tmp_path / "last.pt")
    assert (loaded["epoch"], loaded["names"]) == (3, ["a", "b"])
    assert torch.equal(loaded["network"]["weight"], state["network"]["weight"])


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    for epoch in range(3):
        checkpoint.save(tmp_path / "last.pt", {"epoch": epoch})
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_failed_write_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path / "last.pt", {"epoch": 1})

    def broken_save(state: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", broken_save)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(tmp_path / "last.pt", {"epoch": 2})
    assert checkpoint.load(tmp_path / "last.pt")["epoch"] == 1


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"format": checkpoint.FORMAT, "network": Exploit()}, path)
    with pytest.raises(CheckpointError):
        checkpoint.load(path)
    path.write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 a damaged zip"])
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best\.pt") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


def test_missing_and_older_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint.load(tmp_path / "best.pt")
    torch.save({"format": checkpoint.FORMAT + 1}, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="train again"):
        checkpoint.load(tmp_path / "best.pt")
