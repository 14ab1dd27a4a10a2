"""`ecg-edge wire`: what a person sees of a cable, live and from a capture."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.device import SimulatedDevice
from ecg_edge.firmware_bridge.faults import Faults
from ecg_edge.firmware_bridge.packetize import packetize
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.sources.records import read_recording


@pytest.fixture(scope="module")
def recording(record: Path) -> Recording:
    return read_recording(record)


@pytest.fixture
def capture(recording: Recording, tmp_path: Path) -> Path:
    path = tmp_path / "cable.raw"
    path.write_bytes(b"".join(packetize(recording)))
    return path


def told(done: Any) -> list[dict[str, Any]]:
    assert (done.status, done.err) == (0, "")
    return [json.loads(line) for line in done.out.splitlines()]


def test_decode_a_capture_for_a_person(cli: Any, capture: Path) -> None:
    lines = cli("wire", "decode", capture).out.splitlines()
    assert lines[0].split() == ["arrival", "s", "device", "s", "seq", "what"]
    assert "HELLO    250 Hz, 8 channels I II V1 V2 V3 V4 V5 V6, 1 uV a count, 'ecg-edge simulated'" in lines[1]
    assert "SAMPLES  frames 0-9, I " in lines[2]
    assert lines[2].endswith(" mV")
    assert "STATUS   ended" in lines[-1]
    off = [line for line in lines if line.endswith("OFF V2")]
    assert len(off) == 100, "four seconds of ten frames a packet at 250 Hz"


def test_decode_as_json(cli: Any, capture: Path, recording: Recording) -> None:
    objects = told(cli("wire", "decode", capture, "--json"))
    assert objects[0]["type"] == "hello"
    samples = [o for o in objects if o["type"] == "samples"]
    assert [row for o in samples for row in o["counts"]] == recording.counts.tolist()
    assert samples[0]["uv_per_count"] == 1.0
    assert "at" not in samples[0], "a bare capture has no times"


def test_decode_shows_damage_where_it_is(cli: Any, recording: Recording, tmp_path: Path) -> None:
    packets = list(packetize(recording))
    garbled = Faults(flip=1, seed=1).inject(packets[10:11])
    path = tmp_path / "cable.raw"
    path.write_bytes(b"".join([*packets[:10], *garbled, *packets[11:20]]))
    lines = cli("wire", "decode", path).out.splitlines()
    assert "BAD" in lines[11]
    assert "1 missing before this" in lines[12] + lines[13]
    kinds = [o["type"] for o in told(cli("wire", "decode", path, "--json"))]
    assert 1 <= kinds.count("damage") <= 2


def test_decode_from_standard_input_until_a_pipe_is_closed(cli: Any, capture: Path) -> None:
    objects = told(cli("wire", "decode", "-", "--json", stdin=capture.read_bytes()))
    assert objects[-1]["type"] == "status"


def test_stats_of_a_capture(cli: Any, capture: Path) -> None:
    (report,) = told(cli("wire", "stats", capture, "--baud", "115200", "--json"))
    assert report["frames"] == 7500
    assert report["baud_share"] == pytest.approx(0.575, abs=0.02)
    text = cli("wire", "stats", capture).out
    assert "losses        none of any kind" in text
    assert "7500" in text


def test_a_live_device_is_captured_and_read_later(cli: Any, recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "cable.raw"
    with SimulatedDevice(recording, faults=Faults.parse("drop=0.1,duplicate=0.1,seed=2")) as board:
        (done,) = told(cli("wire", "dump", board.path, path, "--start", "--seconds", "6.5", "--json"))
    assert done["bytes"] == path.stat().st_size > 20_000
    (report,) = told(cli("wire", "stats", path, "--json"))
    assert report["losses"]["link_missing"] > 5
    assert report["losses"]["link_duplicates"] > 5
    assert report["losses"]["frames_restarts"] == 0, "START was not repeated once samples came"
    assert report["frames"] + report["losses"]["frames_lost"] > 1000
    assert 0 <= report["arrival"]["jitter_ms"]["p50"] < 1000
    assert abs(report["clock"]["drift_ppm"]) < 20_000
    objects = told(cli("wire", "decode", path, "--json"))
    assert objects[0]["at"] == 0
    assert objects == told(cli("wire", "decode", path, "--json"))


def test_an_idle_device_says_how_to_start_it(cli: Any, recording: Recording) -> None:
    with SimulatedDevice(recording) as board:
        done = cli("wire", "stats", board.path, "--seconds", "1.2")
    assert "The device is idle: --start makes it send." in done.out


def test_ctrl_c_ends_with_the_figures(process: Any, recording: Recording) -> None:
    with SimulatedDevice(recording) as board:
        child = process("wire", "stats", board.path, "--start", "--json")
        while board.fault_counts.packets < 20:
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert json.loads(out)["packets"]["HELLO"] >= 1


def test_a_port_that_is_gone_or_silent(cli: Any, tmp_path: Path) -> None:
    done = cli("wire", "decode", tmp_path / "nowhere")
    assert done.status == 1
    assert "no serial port" in done.err
    empty = tmp_path / "empty.raw"
    empty.touch()
    for action in ("decode", "stats"):
        done = cli("wire", action, empty)
        assert done.status == 1
        assert "gave nothing to show" in done.err


def test_bench(cli: Any) -> None:
    (report,) = told(cli("wire", "bench", "--seconds", "0.1", "--json"))
    assert report["clean"]["times_real_time"] > 50
    assert "x real time" in cli("wire", "bench", "--seconds", "0.1").out


@pytest.mark.parametrize("board", ["native", "cyton", "ads129x", "protocentral", "csv"])
def test_bytes_of_something_else(cli: Any, tmp_path: Path, board: str) -> None:
    path = tmp_path / "noise.raw"
    path.write_bytes(np.random.default_rng(5).bytes(20_000))
    done = cli("wire", "stats", path, "--board", board, "--json")
    assert done.status == 0
    report = json.loads(done.out)
    assert report["frames"] < 5, "sixteen bits of a mark come by chance now and then"
    assert report["losses"]["link_resync_bytes"] > 19_000
    if not report["packets"]:
        assert "check --baud, --board and" in done.err
    assert cli("wire", "decode", path, "--board", board).status == 0
