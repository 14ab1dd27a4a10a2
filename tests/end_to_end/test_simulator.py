"""`replay --as-device` with each of its faults, in a process of its own, and what `stream` makes of it.

The log names each fault, and the figures add up: what the device says it sent is what the host took in, or counted.
"""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.firmware_bridge import device_clock

from .conftest import COMMAND, TIMEOUT_S

SPEED = "10"  # times true time; what the link does is the same at any, but for the time that an unplugged one is away
FRAMES, RATE = 7500, 250
CABLE_BYTES = 2 * 4096  # of a pty, and of what the simulated device has ready for it


@contextmanager
def simulated(process: Any, *arguments: str | Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Start `replay --as-device ... --json`; yields a function that stops it and returns what it says it did."""
    server = process("replay", *arguments, "--as-device", "--json")

    def stop() -> list[dict[str, Any]]:
        server.send_signal(signal.SIGTERM)
        out, _ = server.communicate(timeout=TIMEOUT_S)
        assert server.returncode == 0
        return [json.loads(line) for line in out.splitlines()]

    stop.paths = server.stdout  # type: ignore[attr-defined]
    yield stop


@pytest.fixture
def monitored(process: Any, cli: Any, bundle: Path, lines_of: Any, record: Path, tmp_path: Path) -> Any:
    """Return a function that streams a simulated device with faults; returns (events, what the device did)."""

    def run(
        *faults: str | Path, speed: str = SPEED, seconds: str | None = None
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        link = tmp_path / "board"
        length = () if seconds is None else ("--seconds", seconds)
        with simulated(process, record, "--speed", speed, "--link", link, *faults) as stop:
            assert stop.paths.readline().strip() == str(link)  # type: ignore[attr-defined]
            done = cli("stream", "--device", link, "--json", "--bundle", bundle, *length)
            assert (done.status, done.err) == (0, "")
            (did,) = stop()
        return lines_of(done.out), did

    return run


def told(lines: list[dict[str, Any]], code: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("code") == code]


def adds_up(lines: list[dict[str, Any]], sent: int) -> bool:
    """Return whether every frame that was sent was taken in or is counted as lost."""
    losses = lines[-1]["losses"]
    taken = round(lines[-1]["signal_s"] * RATE) - losses["gap_frames"]
    return bool(taken + losses["frames_lost"] == sent)


def nothing_lost(lines: list[dict[str, Any]]) -> bool:
    """Return whether every counter of link and frames is zero: what ails an electrode or a clock costs no frame."""
    losses = lines[-1]["losses"]
    return not any(n for k, n in losses.items() if k.startswith(("link_", "frames_", "gap_")))


def errors(lines: list[dict[str, Any]], *kinds: str) -> int:
    return sum(line["counts"].get(kind, 0) for line in told(lines, "link_errors") for kind in kinds)


# Faults of the link ----------------------------------------------------------------------------------------------


def test_no_fault(monitored: Any) -> None:
    lines, did = monitored()
    assert did["frames"] == FRAMES
    assert adds_up(lines, FRAMES)
    assert nothing_lost(lines)
    assert {e["code"] for e in lines if e["type"] == "technical"} == {"lead_off"}, "of V2, in the record itself"


def test_dropped_packets(monitored: Any) -> None:
    lines, did = monitored("--faults", "drop=0.5@5+5,seed=2")
    assert did["dropped"] > 20
    assert adds_up(lines, FRAMES)
    assert errors(lines, "missing") == lines[-1]["losses"]["link_missing"] == did["dropped"]
    assert {5 <= gap["time"] <= 11 for gap in told(lines, "gap")} == {True}
    assert sum(gap["counts"]["frames"] for gap in told(lines, "gap")) == lines[-1]["losses"]["frames_lost"]


def test_duplicated_packets(monitored: Any) -> None:
    lines, did = monitored("--faults", "duplicate=0.3@5+5,seed=2")
    assert did["duplicated"] > 10
    assert adds_up(lines, FRAMES)
    assert errors(lines, "duplicates") == lines[-1]["losses"]["link_duplicates"] == did["duplicated"]
    assert not told(lines, "gap")


def test_swapped_packets(monitored: Any) -> None:
    lines, did = monitored("--faults", "reorder=0.2@5+5,seed=2")
    assert did["reordered"] > 5
    assert adds_up(lines, FRAMES)
    assert errors(lines, "late") == lines[-1]["losses"]["link_late"] == did["reordered"]
    assert lines[-1]["losses"]["frames_stale"] == lines[-1]["losses"]["frames_lost"] > 0


def test_flipped_bits(monitored: Any) -> None:
    lines, did = monitored("--faults", "flip=0.3@5+5,seed=2")
    assert did["flipped"] > 10
    assert adds_up(lines, FRAMES)
    assert errors(lines, "bad_crc", "bad_cobs", "bad_header") >= did["flipped"]
    assert "garbled" in told(lines, "link_errors")[0]["message"]
    assert lines[-1]["losses"]["link_missing"] == did["flipped"]


def test_stall(monitored: Any) -> None:
    lines, did = monitored("--faults", "stall=40@5", speed="10")
    assert [e["phase"] for e in told(lines, "link_lost") + told(lines, "link_restored")] == ["new", "once"]
    assert did["frames"] == FRAMES
    assert adds_up(lines, FRAMES)
    assert not told(lines, "gap")


def test_unplugged_and_plugged_in_again(monitored: Any) -> None:
    lines, did = monitored("--faults", "unplug=10@5")
    assert did["unplugged"] == 1
    assert [e["phase"] for e in told(lines, "link_lost") + told(lines, "link_restored")] == ["new", "once"]
    (gap,) = told(lines, "gap")
    assert gap["counts"]["frames"] > 0.5 * RATE, "by the host's clock, the only one that went on"
    losses = lines[-1]["losses"]
    assert losses["frames_restarts"] == 1
    taken = round(lines[-1]["signal_s"] * RATE) - losses["gap_frames"]
    in_the_cable = did["frames"] - (taken + losses["frames_lost"])
    assert did["frames"] > FRAMES + 4 * RATE
    assert 0 <= in_the_cable <= CABLE_BYTES // 24, "8 leads of 24 bits a frame"


def test_clock_drift_is_seen_by_wire(process: Any, cli: Any, record: Path, tmp_path: Path) -> None:
    link = tmp_path / "board"
    with simulated(process, record, "--link", link, "--faults", "drift=20000") as stop:
        stop.paths.readline()  # type: ignore[attr-defined]
        done = cli("wire", "stats", link, "--start", "--seconds", "7", "--json")
        stop()
    report = json.loads(done.out)
    assert report["clock"]["drift_ppm"] == pytest.approx(20_000, abs=6_000)
    assert set(report["losses"].values()) == {0}


@pytest.mark.parametrize(("ppm", "way"), [(20_000, "fast"), (-20_000, "slow")])
def test_clock_drift(monitored: Any, monkeypatch: pytest.MonkeyPatch, ppm: int, way: str) -> None:
    """At true time, as at any other there is no clock to be held against; a drift is told after 10 s instead of 60."""
    monkeypatch.setattr(device_clock, "TOLD_SPAN_S", 10.0)
    lines, did = monitored("--faults", f"drift={ppm}", speed="1", seconds="14")
    (event,) = told(lines, "clock_drift")
    assert event["counts"] == {f"{way}_ppm": pytest.approx(20_000, abs=4_000)}
    assert f"{event['counts'][f'{way}_ppm']} ppm" in event["message"]
    assert f"{way}: so far off" in event["message"]
    assert lines[-1]["clock"]["drift_ppm"] == pytest.approx(ppm, abs=4_000)
    assert nothing_lost(lines)
    taken = round(lines[-1]["signal_s"] * RATE)
    assert 14 * RATE <= taken <= did["frames"] <= taken + RATE, "the rest was sent while the monitor left"


# Faults of electrodes --------------------------------------------------------------------------------------------


def test_lead_off(monitored: Any) -> None:
    lines, did = monitored("--faults", "lead_off=V1@5+5")
    begins, ends, *_ = told(lines, "lead_off")  # of V1; V2 is off from 20 to 24 s in the record itself
    assert (begins["phase"], begins["leads"]) == ("new", ["V1"])
    assert 5 <= begins["time"] <= 8
    assert (ends["phase"], ends["leads"]) == ("end", ["V1"])
    assert 10 <= ends["time"] <= 13
    assert lines[-1]["losses"]["invalid_samples"] == (5 + 4) * RATE
    assert nothing_lost(lines)
    assert adds_up(lines, did["frames"])


def test_saturation(monitored: Any) -> None:
    lines, did = monitored("--faults", "saturate=V3@5+10")
    # A count at the converter's end of scale says nothing of the heart, whatever the board says of its electrode.
    begins = told(lines, "lead_off")[0]
    assert (begins["phase"], begins["leads"]) == ("new", ["V3"])
    assert 5 <= begins["time"] <= 8
    assert "at the limit of the converter" in begins["message"]
    assert lines[-1]["losses"]["invalid_samples"] == (10 + 4) * RATE, "V2 is off for 4 s in the record itself"
    assert nothing_lost(lines)
    assert adds_up(lines, did["frames"])


@pytest.mark.parametrize(("fault", "hz"), [("mains", 50), ("mains60", 60)])
def test_hum(monitored: Any, fault: str, hz: int) -> None:
    """Of 3 mV: the low-pass takes it, so that it harms nothing, and the log names it."""
    lines, did = monitored("--faults", f"{fault}=3@8+10")
    begins, ends = told(lines, "mains_hum")
    assert (begins["phase"], ends["phase"]) == ("new", "end")
    assert begins["leads"] == ends["leads"] == ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert f"hum of {hz} Hz, 3.0 mV" in begins["message"]
    assert 8 <= begins["time"] <= 13
    assert 18 <= ends["time"] <= 26
    assert not told(lines, "poor_signal") + told(lines, "saturation") + told(lines, "motion")
    assert nothing_lost(lines)
    assert adds_up(lines, did["frames"])


def test_hum_beyond_what_the_filter_takes(monitored: Any) -> None:
    lines, did = monitored("--faults", "mains=100@8+10")
    assert "hum of 50 Hz, 100.0 mV" in told(lines, "mains_hum")[0]["message"]
    assert {lead for e in told(lines, "poor_signal") if e["phase"] == "new" for lead in e["leads"]} >= {"II", "V3"}
    assert nothing_lost(lines)
    assert adds_up(lines, did["frames"])


def test_motion(monitored: Any) -> None:
    lines, did = monitored("--faults", "motion=5@8+10")
    begun = [e for e in told(lines, "motion") if e["phase"] == "new"]
    assert {lead for e in begun for lead in e["leads"]} == {"I", "II", "V1", "V2", "V3", "V4", "V5", "V6"}
    assert all("the electrode moves" in e["message"] for e in begun)
    assert all(8 <= e["time"] <= 22 for e in begun)
    assert told(lines, "motion")[-1]["phase"] == "end"
    assert not told(lines, "mains_hum")
    assert nothing_lost(lines)
    assert adds_up(lines, did["frames"])


def test_motion_that_leaves_the_range(monitored: Any) -> None:
    lines, did = monitored("--faults", "motion=20@8+10")
    assert told(lines, "motion")
    assert told(lines, "saturation")[0]["phase"] == "new"
    assert lines[-1]["losses"]["saturated_samples"] > RATE / 10
    assert nothing_lost(lines)
    assert adds_up(lines, did["frames"])


@pytest.mark.parametrize(("noise", "code"), [("ma", "poor_signal"), ("bw", "motion")])
def test_motion_from_a_noise_record(monitored: Any, data_dir: Path, noise: str, code: str) -> None:
    """Muscle at 2 mV rms, which is too rough to read, and a baseline that wanders as much."""
    lines, did = monitored("--faults", "motion=2@5+10", "--noise-record", data_dir / "nstdb" / noise)
    assert 5 <= told(lines, code)[0]["time"] <= 10
    assert nothing_lost(lines)
    assert adds_up(lines, did["frames"])


NIGHT = """
seed = 3
fault = [
    {kind = "drop", at = 3, seconds = 2, amount = 0.5},
    {kind = "duplicate", at = 6, seconds = 2, amount = 0.5},
    {kind = "reorder", at = 9, seconds = 2, amount = 0.5},
    {kind = "flip", at = 12, seconds = 2, amount = 0.5},
    {kind = "stall", at = 15, seconds = 40},
    {kind = "lead_off", at = 10, seconds = 5, leads = ["V1"]},
    {kind = "saturate", at = 10, seconds = 5, leads = ["V3"]},
    {kind = "mains", at = 15, seconds = 8, amount = 2, leads = ["V4"]},
    {kind = "motion", at = 16, seconds = 8, amount = 8, leads = ["V6"]},
]
"""


def test_a_script_of_a_bad_night(monitored: Any, tmp_path: Path) -> None:
    """Everything at once: each is named, and whatever was sent was used or is counted."""
    script = tmp_path / "night.toml"
    script.write_text(NIGHT)
    lines, did = monitored("--fault-script", script)
    assert did["frames"] == FRAMES
    assert adds_up(lines, FRAMES)
    losses = lines[-1]["losses"]
    assert errors(lines, "missing") == losses["link_missing"] == did["dropped"] + did["flipped"] > 20
    assert errors(lines, "duplicates") == losses["link_duplicates"] == did["duplicated"] > 5
    assert errors(lines, "late") == losses["link_late"] == did["reordered"] > 5
    assert errors(lines, "bad_crc", "bad_cobs", "bad_header") >= did["flipped"] > 5
    assert sum(gap["counts"]["frames"] for gap in told(lines, "gap")) == losses["gap_frames"] == losses["frames_lost"]
    assert [e["phase"] for e in told(lines, "link_lost") + told(lines, "link_restored")] == ["new", "once"]
    for code, lead in (("lead_off", "V1"), ("lead_off", "V3"), ("mains_hum", "V4"), ("motion", "V6")):
        assert lead in {lead for e in told(lines, code) if e["phase"] == "new" for lead in e["leads"]}, code


# Ways out --------------------------------------------------------------------------------------------------------


def test_tcp(process: Any, cli: Any, bundle: Path, record: Path, lines_of: Any) -> None:
    with simulated(process, record, "--tcp", "0", "--speed", SPEED, "--faults", "unplug=10@5") as stop:
        url = stop.paths.readline().strip()  # type: ignore[attr-defined]
        assert re.fullmatch(r"socket://127\.0\.0\.1:\d+", url), "of this machine only, unless told otherwise"
        done = cli("stream", "--device", url, "--json", "--bundle", bundle)
        (did,) = stop()
    assert (done.status, done.err) == (0, "")
    lines = lines_of(done.out)
    assert did["unplugged"] == 1
    assert told(lines, "link_lost")
    assert told(lines, "link_restored")
    assert lines[-1]["losses"]["frames_restarts"] == 1


def test_several_devices_at_once(process: Any, cli: Any, bundle: Path, record: Path, tmp_path: Path) -> None:
    link = tmp_path / "bed"
    with simulated(process, record, record, "--speed", SPEED, "--link", link, "--faults", "drop=0.1") as stop:
        paths = [stop.paths.readline().strip() for _ in range(2)]  # type: ignore[attr-defined]
        assert paths == [f"{link}0", f"{link}1"]
        children = [process("stream", "--device", path, "--json", "--bundle", bundle) for path in paths]
        ends = [json.loads(child.communicate(timeout=TIMEOUT_S)[0].splitlines()[-1]) for child in children]
        did = stop()
    assert [end["losses"]["link_missing"] for end in ends] == [d["dropped"] for d in did]
    assert did[0]["dropped"] != did[1]["dropped"], "each has its own chances"


def test_standard_output_into_standard_input(bundle: Path, record: Path, lines_of: Any) -> None:
    device = [*COMMAND, "replay", str(record), "--as-device", "--stdout", "--speed", "max", "--faults", "drop=0.05"]
    monitor = [*COMMAND, "stream", "--device", "-", "--json", "--bundle", str(bundle)]
    with subprocess.Popen(device, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False) as sending:
        done = subprocess.run(monitor, stdin=sending.stdout, capture_output=True, timeout=TIMEOUT_S, check=True)
        assert sending.stderr is not None
        said = sending.stderr.read().decode()
    lines = lines_of(done.stdout.decode())
    assert f"dropped {lines[-1]['losses']['link_missing']}" in said
    assert adds_up(lines, FRAMES) or lines[-1]["signal_s"] < 30, "the last packets may be among the dropped"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--faults", "unplug=1@1"), "give it a --link, or use --tcp"),
        (("--stdout", "--tcp", "0"), "three ways out"),
        (("--faults", "drop=1", "--fault-script", "x"), "two ways to say one thing"),
        (("--tcp", "anywhere"), "write PORT or HOST:PORT"),
        (("--faults", "lead_off=aVR"), "the recording has"),
        (("--noise-record", "nowhere", "--faults", "motion=1"), "nowhere"),
        (("--fault-script", "nowhere.toml"), "nowhere.toml"),
        (("--stdout", "--json"), "leave out --json"),
    ],
)
def test_wrong_use_is_one_line_with_the_mend(cli: Any, record: Path, arguments: tuple[str, ...], says: str) -> None:
    done = cli("replay", record, "--as-device", *arguments)
    assert done.status in (1, 2)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert says in done.err


def test_options_of_a_device_without_one(cli: Any, record: Path) -> None:
    for arguments in (("--tcp", "0"), ("--stdout",), ("--faults", "drop=1"), ("--noise-record", "x")):
        done = cli("replay", record, *arguments)
        assert done.status == 2
        assert f"{arguments[0]} goes with --as-device" in done.err
    assert "one record at a time" in cli("replay", record, record).err


def test_a_port_that_is_taken(cli: Any, record: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("replay", record, "--as-device", "--tcp", str(taken.getsockname()[1]))
    assert done.status == 1
    assert "choose another port" in done.err
