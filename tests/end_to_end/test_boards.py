"""Boards of other makes, end to end: a real recording in each board's bytes, over ptys and pipes, into the monitor."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.runtime.sources.records import read_recording, write_recording

from .conftest import TIMEOUT_S

RATE = 250
BOARDS = ["cyton", "ads129x:rate=250,sens_p=0xFF", "protocentral:rate=250", "csv"]


@pytest.fixture(scope="session")
def real(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of 30 s of a real two-lead recording at 250 Hz."""
    return write_recording(
        read_recording(data_dir / "vfdb" / "418", leads=("II", "V1"), start_seconds=60, stop_seconds=90),
        tmp_path_factory.mktemp("real"),
    )


@pytest.fixture
def served(process: Any, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that serves a record as a board on a pty and returns its path."""

    def serve(record: Path, board: str, *more: str) -> Path:
        link = tmp_path / "board"
        server = process("replay", record, "--as-device", "--board", board, "--link", link, "--speed", "10", *more)
        assert server.stdout.readline().strip() == str(link)
        return link

    return serve


def technical(lines: list[dict[str, Any]]) -> set[str]:
    return {line["code"] for line in lines if line["type"] == "technical"}


@pytest.mark.parametrize("board", BOARDS)
def test_a_real_recording_from_each_board_gives_the_events_of_its_file(
    served: Any, cli: Any, bundle: Path, real: Path, lines_of: Any, board: str
) -> None:
    leads = "II" if board.startswith("protocentral") else "II,V1"
    record = real
    if leads == "II":  # which has one lead
        record = write_recording(read_recording(real, leads=("II", "-")), real.parent / "one")
    link = served(record, board)
    done = cli(
        "stream", "--device", link, "--board", board, "--leads", leads, "--seconds", "25", "--json", "--bundle", bundle
    )
    assert (done.status, done.err) == (0, "")
    lines = lines_of(done.out)
    assert 25 <= lines[-1]["signal_s"] < 31
    assert not {k: n for k, n in lines[-1]["losses"].items() if n and k.startswith(("link_", "frames_"))}
    assert not technical(lines) & {"gap", "link_errors", "link_lost"}
    expected = lines_of(cli("replay", record, "--json", "--bundle", bundle).out)
    alerts = [(e["label"], e["onset"]) for e in lines if e["type"] == "alert" and e["phase"] == "new"]
    assert alerts == [(e["label"], e["onset"]) for e in expected if e.get("phase") == "new" and e["type"] == "alert"]
    assert lines[-1]["leads"] == expected[-1]["leads"]


def test_a_cyton_that_loses_frames(served: Any, cli: Any, bundle: Path, real: Path, lines_of: Any) -> None:
    link = served(real, "cyton", "--faults", "drop=0.05@5+5,seed=2")
    done = cli(
        "stream", "--device", link, "--board", "cyton", "--leads", "II,V1", "--seconds", "20", "--json",
        "--bundle", bundle,
    )  # fmt: skip
    lines = lines_of(done.out)
    losses = lines[-1]["losses"]
    assert losses["link_missing"] == losses["frames_lost"] == losses["gap_frames"] > 30
    assert {"gap", "link_errors"} <= technical(lines)


def test_an_ads129x_says_which_electrode_is_off(served: Any, cli: Any, bundle: Path, real: Path, lines_of: Any) -> None:
    board = "ads129x:rate=250,sens_p=0xFF"
    link = served(real, board, "--faults", "lead_off=V1@5+5")
    done = cli(
        "stream", "--device", link, "--board", board, "--leads", "II,V1", "--seconds", "20", "--json",
        "--bundle", bundle,
    )  # fmt: skip
    off = [line for line in lines_of(done.out) if line.get("code") == "lead_off"]
    assert off[0]["leads"] == ["V1"]


def test_leads_have_to_be_named(served: Any, cli: Any, bundle: Path, real: Path) -> None:
    done = cli("stream", "--device", served(real, "cyton"), "--board", "cyton", "--bundle", bundle)
    assert done.status == 1
    assert "--leads" in done.err


def test_unplugged_board_comes_back(served: Any, cli: Any, bundle: Path, real: Path, lines_of: Any) -> None:
    link = served(real, "csv", "--faults", "unplug=10@10")
    done = cli("stream", "--device", link, "--board", "csv", "--seconds", "35", "--json", "--bundle", bundle)
    lines = lines_of(done.out)
    assert {"link_lost", "link_restored", "gap"} <= technical(lines)
    assert lines[-1]["losses"]["frames_restarts"] == 1


def test_the_wrong_board_is_an_error_that_says_what_was_missed(
    cli: Any, bundle: Path, real: Path, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecg_edge.runtime.sources import device

    monkeypatch.setattr(device, "ANSWER_S", 1.0)
    done = cli("stream", "--device", served(real, "csv"), "--board", "cyton", "--leads", "II", "--bundle", bundle)
    assert done.status == 1
    assert "no Cyton frame in 1 s: check --baud (115200)" in done.err


@pytest.mark.parametrize("board", BOARDS[:2] + BOARDS[3:])
def test_wire_shows_what_a_board_says(cli: Any, process: Any, real: Path, tmp_path: Path, board: str) -> None:
    child = process("replay", real, "--as-device", "--stdout", "--speed", "max", "--board", board)
    raw = child.stdout.buffer.read()
    assert child.wait(TIMEOUT_S) == 0
    capture = tmp_path / "cable.raw"
    capture.write_bytes(raw)
    done = cli("wire", "stats", capture, "--board", board, "--json")
    assert (done.status, done.err) == (0, "")
    report = json.loads(done.out)
    assert report["board"] == board.partition(":")[0]
    assert 7498 <= report["frames"] <= 7500
    assert set(report["losses"].values()) == {0}
    lines = cli("wire", "decode", capture, "--board", board).out.splitlines()
    assert "HELLO    250 Hz" in lines[1]
    assert "frames 0-" in lines[2]


def test_wire_starts_and_stops_a_cyton(cli: Any, served: Any, real: Path) -> None:
    link = served(real, "cyton")
    silent = cli("wire", "stats", link, "--board", "cyton", "--seconds", "0.5")
    assert silent.status == 1
    assert "--start tells a device to send" in silent.err
    done = cli("wire", "stats", link, "--board", "cyton", "--start", "--seconds", "2", "--json")
    report = json.loads(done.out)
    assert report["frames"] > 100
    assert report["baud_share"] > 0.1
    assert report["losses"]["frames_restarts"] == 0


def test_a_monitor_of_a_board_ends_on_a_signal(process: Any, served: Any, bundle: Path, real: Path) -> None:
    link = served(real, "csv")
    child = process("stream", "--device", link, "--board", "csv", "--json", "--probabilities", "--bundle", bundle)
    assert child.stdout.readline()
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=TIMEOUT_S)
    assert (child.returncode, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["type"] == "summary"
