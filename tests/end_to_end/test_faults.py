"""Rows of docs/faults.md that take the whole monitor: renumbered ports, kills, stops, full disks, models that fail."""

import json
import os
import pty
import select
import signal
import subprocess
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serial.tools import list_ports

from ecg_edge.firmware_bridge.device import SimulatedDevice
from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.firmware_bridge.packetize import packetize
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime import service
from ecg_edge.runtime.bundle import load
from ecg_edge.runtime.engine import Engine
from ecg_edge.runtime.events import Technical, to_dict
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.service import Monitor
from ecg_edge.runtime.sources.device import DeviceSource
from ecg_edge.runtime.sources.records import read_recording

from .conftest import COMMAND

PATIENCE_S = 60.0  # a busy machine is slow and not wrong


@pytest.fixture(scope="module")
def recording(record: Path) -> Recording:
    return read_recording(record)


def technical(lines: list[dict[str, Any]], *codes: str) -> list[tuple[str, str]]:
    return [(e["code"], e["phase"]) for e in lines if e["type"] == "technical" and e["code"] in codes]


def records(folder: Path) -> list[Path]:
    return sorted(path.with_suffix("") for path in folder.glob("*.hea"))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# The link --------------------------------------------------------------------------------------------------------


class Port:
    """What comports() tells of a board on USB."""

    vid, pid = 0x10C4, 0xEA60

    def __init__(self, device: str, serial_number: str, location: str) -> None:
        self.device, self.serial_number, self.location = device, serial_number, location


@pytest.mark.parametrize("by_identity", [False, True])
def test_a_board_that_comes_back_under_another_name(
    cli: Any,
    bundle: Path,
    recording: Recording,
    lines_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    by_identity: bool,
) -> None:
    """It was the first port; now it is another, and its old name is a board that hangs on somebody else."""
    ports: list[Port] = []
    monkeypatch.setattr(list_ports, "comports", lambda: list(ports))
    with ExitStack() as stack:
        board = SimulatedDevice(recording, speed=10.0)
        name = board.path
        ports.append(Port(name, "HEART-1", "1-1"))

        def replug() -> None:
            until(lambda: board.fault_counts.packets > 300)
            ports.clear()
            board.close()
            time.sleep(0.2)
            other, slave = os.openpty()  # the lowest number that is free, which is the old one
            stack.callback(os.close, slave)
            stack.callback(os.close, other)
            heard.append(other)
            again = stack.enter_context(SimulatedDevice(recording, speed=10.0))
            assert os.ttyname(slave) == name != again.path
            ports.extend([Port(name, "OTHER-2", "1-2"), Port(again.path, "HEART-1", "1-3")])
            names.append(again.path)

        heard: list[int] = []
        names: list[str] = []
        hands = threading.Thread(target=replug)
        hands.start()
        url = "serial:10c4:ea60" if by_identity else name
        done = cli("stream", "--device", url, "--json", "--bundle", bundle)
        hands.join()
        assert not select.select(heard, [], [], 0)[0], "nothing was said to the other board"
    lines = lines_of(done.out)
    assert (done.status, done.err) == (0, "")
    told = technical(lines, "link_lost", "link_restored", "gap")
    assert told == [("link_lost", "new"), ("link_restored", "once"), ("gap", "once")]
    (back,) = (e["message"] for e in lines if e.get("code") == "link_restored")
    assert back == f"samples come from {names[0]} again"
    assert lines[-1]["signal_s"] > 30.2


# The process -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cable() -> Iterator[tuple[int, str]]:
    """The board's end of a pty, and the path of the host's."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    yield master, path
    for descriptor in (master, slave):
        with suppress(OSError):
            os.close(descriptor)


def play(master: int, recording: Recording, seconds: float) -> int:
    """Wait for a command, then send so much of a recording as fast as it is taken; return the frames that were sent."""
    assert select.select([master], [], [], PATIENCE_S)[0]
    frames = round(seconds * recording.rate)
    packets = list(packetize(recording))
    for packet in packets[: 1 + frames // 10 + int(seconds)]:  # HELLO first, and a STATUS each second
        os.write(master, packet)
    return frames


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_loses_nothing_that_was_received(
    process: Any, bundle: Path, recording: Recording, lines_of: Any, tmp_path: Path, cable: Any, number: signal.Signals
) -> None:
    """The signal comes the moment after the last byte; every frame is in the record, every event in both places."""
    master, path = cable
    child = process("stream", "--device", path, "--json", "--bundle", bundle, "--record", tmp_path, "--rules")
    sent = play(master, recording, 15)
    child.send_signal(number)
    out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, err) == (0, "")
    lines = lines_of(out)
    assert round(lines[-1]["signal_s"] * recording.rate) == sent
    (found,) = records(tmp_path)
    kept = read_recording(found, strict=True)
    np.testing.assert_array_equal(kept.counts, recording.counts[:sent])
    assert [json.loads(line) for line in found.with_suffix(".jsonl").read_text().splitlines()] == lines


def test_kill_9_costs_a_second_at_most(
    process: Any, bundle: Path, recording: Recording, tmp_path: Path, cli: Any, wfdb: Any
) -> None:
    with SimulatedDevice(recording, speed=1.0) as board:
        child = process("stream", "--device", board.path, "--json", "--bundle", bundle, "--record", tmp_path)
        until(lambda: board.fault_counts.frames > 3 * recording.rate)
        child.kill()
        sent = board.fault_counts.frames
        child.wait(PATIENCE_S)
    (path,) = records(tmp_path)
    for _ in range(2):  # as it was left, and finished by the next run
        kept = wfdb.rdrecord(str(path), physical=False)
        assert sent - recording.rate <= kept.sig_len <= sent + recording.rate
        np.testing.assert_array_equal(kept.d_signal, recording.counts[: kept.sig_len])
        assert cli("replay", "demo", "--bundle", bundle, "--record", tmp_path).status == 0
    assert wfdb.rdheader(str(path)).sig_len == kept.sig_len


def test_a_disk_that_takes_no_more(bundle: Path, record: Path, lines_of: Any, of_signal: Any, tmp_path: Path) -> None:
    """No file may grow beyond 100 kB, where 30 s of 8 leads are 180 kB: a full disk without being root."""
    command = [*COMMAND, "replay", str(record), "--json", "--bundle", str(bundle), "--record", str(tmp_path)]
    limited = ["bash", "-c", 'ulimit -f 100; exec "$@"', "limited", *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = lines_of(done.stdout)
    assert technical(lines, "record_failed") == [("record_failed", "new")]
    plain = subprocess.run(command[:-2], capture_output=True, text=True, timeout=PATIENCE_S, check=True)

    def told(text: str) -> list[dict[str, Any]]:
        rest = [e for e in of_signal(lines_of(text)) if e.get("code") != "record_failed"]
        return [{k: v for k, v in e.items() if k != "seq"} for e in rest]

    assert told(done.stdout) == told(plain.stdout), "the engine goes on"
    frames = lines[-1]["sinks"]["record_frames"]
    assert frames["delivered"] + frames["held"] + frames["dropped"] == 7500
    assert frames["failures"] > 0


# The model and the machine ---------------------------------------------------------------------------------------


def test_a_model_that_gives_nan_is_no_all_clear(
    cli: Any, tiny_bundle: Any, record: Path, lines_of: Any, tmp_path: Path
) -> None:
    broken = tiny_bundle(tmp_path / "nan", logits=[float("nan"), 5.0, -5.0])
    done = cli("replay", record, "--json", "--probabilities", "--bundle", broken, "--rules")
    lines = lines_of(done.out)
    assert technical(lines, "model_fault") == [("model_fault", "new")]
    assert lines[-1]["windows"] == {"analyzed": 0, "skipped": 0, "unusable": 21}
    assert not [e for e in lines if "probabilities" in e], "unknown is not normal"
    alerts = [e for e in lines if e["type"] == "alert"]
    assert {e["kind"] for e in alerts} == {"rule"}
    assert {e["priority"] for e in alerts} == {"high"}, "the rules go on without the model"


class SlowModel:
    """A model that takes twice the time that there is between two windows."""

    name = "onnx"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def logits(self, _signal: Any, _spectrogram: Any) -> np.ndarray:
        time.sleep(self._seconds)
        return np.array([-5.0, 5.0, -5.0], np.float32)


def test_a_machine_that_is_twice_too_slow(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is four times as fast as in truth: a window comes each 0.25 s, and the model takes 0.5 s for one."""
    speed, seconds = 4.0, 50
    monkeypatch.setattr(service, "LATE_HOPS", service.LATE_HOPS / speed)
    loaded = load(str(bundle))
    policy = load_policy(None, labels=[c.abbreviation for c in loaded.manifest.classes])
    recording = simulate([Episode("sinus rhythm", seconds)], rate=250, seed=5).recording

    class Kept:
        def __init__(self) -> None:
            self.events: list[Any] = []

        def emit(self, event: Any) -> None:
            self.events.append(event)

        def close(self) -> None: ...

    kept = Kept()
    with SimulatedDevice(recording, speed=speed) as board:
        begun = time.monotonic()
        source = DeviceSource(board.path)
        model = SlowModel(2 / speed)
        summary = Monitor(source, lambda f: Engine(loaded, model, policy, f), [kept], live=True).run()
        took = time.monotonic() - begun
    windows = summary.windows
    assert sum(windows.values()) == seconds - 9, "each window is judged or given up"
    assert windows["skipped"] >= 12
    assert windows["analyzed"] >= 7, "it goes on with what it can do"
    told = [e for e in kept.events if isinstance(e, Technical) and e.code == "overload"]
    assert 0 < sum(e.counts["windows"] for e in told if e.counts) <= windows["skipped"]
    told = [e for e in kept.events if isinstance(e, Technical) and e.code == "degraded"]
    assert [(e.phase, e.message.split(":")[0]) for e in told] == [("new", "long_hop"), ("once", "longer_hop")]
    assert summary.modes is not None
    assert sum(summary.modes.values()) == seconds - 9
    assert summary.modes["longer_hop"] >= 12, "from then on it keeps up"
    assert summary.stages_ms is not None
    assert summary.stages_ms["inference"]["p50"] >= 1000 * 2 / speed
    assert took < seconds / speed + 5, "it does not fall behind: without shedding it would be 10 s late"
    assert summary.losses["frames_lost"] == summary.losses["gap_frames"] == 0, "the signal is kept"
    assert [to_dict(e)["seq"] for e in kept.events] == list(range(len(kept.events)))
