"""Sinks on this machine: files that begin anew when they are full, and programs of the user."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.events import Alert, to_json
from ecg_edge.runtime.sinks import queued
from ecg_edge.runtime.sinks.command import CommandSettings, CommandSink
from ecg_edge.runtime.sinks.queued import QueuedSink
from ecg_edge.runtime.sinks.rotated import FileSettings, RotatedFile

PATIENCE_S = 60.0  # a busy machine is slow and not wrong


def alert(seq: int, phase: str = "new") -> Alert:
    more: dict[str, Any] = {"reason": "below"} if phase == "end" else {}
    return Alert(
        seq=seq, time=seq, id="AF-1", phase=phase, kind="rule", label="AF", priority="high", onset=0, leads=("II",),
        quality=1.0, **more,
    )  # fmt: skip


def until(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pauses between attempts short."""
    monkeypatch.setattr(queued, "RETRY_S", (0.01,))


@pytest.fixture
def made() -> Iterator[list[Any]]:
    """Return a list whose sinks are closed in the end."""
    sinks: list[Any] = []
    yield sinks
    for sink in sinks:
        sink.close()


# Files


def test_a_file_begins_anew_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.jsonl"
    size = len(to_json(alert(10))) + 1
    sink = RotatedFile(FileSettings(path=path, max_mb=3.5 * size / 1e6, keep=2))
    for n in range(10, 22):
        sink.emit(alert(n))
    sink.close()
    found = {p.name: [json.loads(line)["seq"] for line in p.read_text().splitlines()] for p in path.parent.iterdir()}
    assert found == {"events.jsonl": [19, 20, 21], "events.jsonl.1": [16, 17, 18], "events.jsonl.2": [13, 14, 15]}
    one = RotatedFile(FileSettings(path=path, max_mb=3.5 * size / 1e6, keep=0))
    one.emit(alert(22))
    one.close()
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [22]


def test_half_a_line_of_a_killed_process_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(to_json(alert(0)) + '\n{"type": "al')
    sink = RotatedFile(FileSettings(path=path))
    sink.emit(alert(1))
    sink.close()
    lines = path.read_text().splitlines()
    assert [json.loads(line)["seq"] for line in (lines[0], lines[2])] == [0, 1]


def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path, made: list[Any], quick: None) -> None:
    place = tmp_path / "place"
    place.write_text("in the way")
    made.append(QueuedSink("file", RotatedFile(FileSettings(path=place / "events.jsonl"))))
    made[0].emit(alert(0))
    until(lambda: made[0].trouble)
    place.unlink()
    until(lambda: made[0].accounts()["file"].delivered)
    assert json.loads((place / "events.jsonl").read_text())["seq"] == 0
    (place / "events.jsonl").unlink()
    made[0].emit(alert(1))
    made[0].emit(alert(2))
    until(lambda: made[0].accounts()["file"].delivered == 3)
    lines = (place / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2], "taken away, it is made again"


# Commands


def test_a_command_gets_each_event(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sink = CommandSink(CommandSettings(run=("sh", "-c", f"cat >> {out}"), timeout_s=60))
    for n in range(3):
        sink.emit(alert(n))
    assert out.read_text() == "".join(to_json(alert(n)) + "\n" for n in range(3))
    sink.close()


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (("/no/such/program",), "cannot run /no/such/program"),
        (("sh", "-c", "exit 3"), "ended with status 3"),
        (("sh", "-c", "kill -9 $$"), "ended with status -9"),
    ],
)
def test_a_command_that_fails(run: tuple[str, ...], text: str) -> None:
    with pytest.raises(EcgEdgeError, match=text):
        CommandSink(CommandSettings(run=run, timeout_s=60)).emit(alert(0))


def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    sink = CommandSink(CommandSettings(run=("sh", "-c", f"sleep 1000 & echo $! > {pid}; wait"), timeout_s=1.0))
    with pytest.raises(EcgEdgeError, match="took more than 1 s and was killed"):
        sink.emit(alert(0))
    child = Path(f"/proc/{pid.read_text().strip()}/stat")
    until(lambda: not child.exists() or child.read_text().split()[2] == "Z")


def test_closing_kills_a_command_that_runs(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    sink = QueuedSink(
        "run", CommandSink(CommandSettings(run=("sh", "-c", f"touch {begun}; sleep 1000"), timeout_s=999))
    )
    sink.emit(alert(0))
    until(begun.exists)
    sink.close()
    until(lambda: not sink._thread.is_alive())
