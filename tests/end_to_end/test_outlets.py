"""Recording, sinks and metrics from the command line: what they get, and that the engine never notices them."""

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.device import SimulatedDevice
from ecg_edge.runtime.sources.records import read_recording

PATIENCE_S = 60.0  # a busy machine is slow and not wrong


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A disk of 600 kB, where this machine lets a test have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no tmpfs can be mounted (needs root): a disk that is really full is not tested")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def records(folder: Path) -> list[Path]:
    return sorted(path.with_suffix("") for path in folder.glob("*.hea"))


def bare(text: str) -> list[str]:
    """Return the lines of a run without what depends on the machine, as they stand."""
    table = r"\{[^{}]*\}"
    fields = rf'"(?:latency_ms|misses|sinks)": (?:{table}|[0-9.]+|\{{(?:"[a-z_]+": {table}(?:, )?)*\}})(?:, )?'
    return [re.sub(fields, "", line).replace(", }", "}") for line in text.splitlines()]


@pytest.fixture
def sinks(tmp_path: Path) -> Path:
    """A sinks file with one that works, one that hangs, one that fails and one whose server is not there."""
    path = tmp_path / "sinks.toml"
    path.write_text(
        '[disk]\nkind = "file"\npath = "events.jsonl"\n'
        '[hung]\nkind = "command"\nrun = ["sleep", "1000"]\ntimeout_s = 500\n'
        '[broken]\nkind = "command"\nrun = ["false"]\n'
        '[away]\nkind = "webhook"\nurl = "http://127.0.0.1:9/"\nstore = "away.db"\nevents = ["alert"]\n'
    )
    return path


def test_the_same_bytes_with_and_without(cli: Any, bundle: Path, record: Path, sinks: Path, tmp_path: Path) -> None:
    common = ("replay", record, "--json", "--probabilities", "--rules", "--bundle", bundle)
    plain = cli(*common)
    more = cli(*common, "--sinks", sinks, "--record", tmp_path / "records", "--metrics", "0", "--log", tmp_path / "log")
    assert (plain.status, more.status, more.err) == (0, 0, "")
    assert bare(more.out) == bare(plain.out)
    assert '"sinks"' not in plain.out
    assert more.out != plain.out
    # The recorded signal gives the same events again.
    (path,) = records(tmp_path / "records")
    assert bare(cli("replay", path, *common[2:]).out) == bare(plain.out)
    assert bare(path.with_suffix(".jsonl").read_text()) == bare(plain.out)


def test_the_summary_tells_what_became_of_the_events(
    cli: Any, bundle: Path, record: Path, lines_of: Any, sinks: Path, tmp_path: Path
) -> None:
    done = cli("replay", record, "--json", "--bundle", bundle, "--sinks", sinks, "--record", tmp_path / "records")
    lines = lines_of(done.out)
    before, alerts = len(lines) - 1, sum(line["type"] == "alert" for line in lines)
    found = lines[-1]["sinks"]
    assert list(found) == ["away", "broken", "disk", "hung", "record_events", "record_frames"]
    assert found["disk"] == {"delivered": before, "dropped": 0, "held": 0, "failures": 0}
    assert found["hung"] == {"delivered": 0, "dropped": 0, "held": before, "failures": 0}
    assert found["broken"]["dropped"] == found["broken"]["failures"] >= 1
    assert alerts > 0
    assert (found["away"]["held"], found["away"]["delivered"]) == (alerts, 0)
    assert found["away"]["failures"] >= 1
    assert found["record_frames"] == {"delivered": 7500, "dropped": 0, "held": 0, "failures": 0}
    assert (tmp_path / "events.jsonl").read_text() == done.out, "the summary goes out too"


def test_a_recording_of_a_real_record(cli: Any, bundle: Path, data_dir: Path, tmp_path: Path, wfdb: ModuleType) -> None:
    source = data_dir / "ptbxl/records500/00000/00017_hr"
    if not source.with_suffix(".hea").is_file():
        pytest.skip("this selection of PTB-XL lacks 00017")
    assert cli("replay", source, "--bundle", bundle, "--record", tmp_path).status == 0
    (path,) = records(tmp_path)
    there, here = wfdb.rdrecord(str(source)), wfdb.rdrecord(str(path))
    assert here.sig_name == [name.replace("AV", "aV") for name in there.sig_name]
    np.testing.assert_allclose(here.p_signal, there.p_signal, atol=1e-9)


def test_a_disk_that_is_really_full(
    cli: Any, bundle: Path, record: Path, lines_of: Any, tmpfs: Path, of_signal: Any
) -> None:
    """30 s of 8 leads are 180 kB; half of the disk is taken by somebody else, who leaves room for ten seconds."""
    (tmpfs / "other").write_bytes(b"x" * 540_000)
    plain = of_signal(lines_of(cli("replay", record, "--json", "--bundle", bundle).out))
    done = cli("replay", record, "--json", "--bundle", bundle, "--record", tmpfs / "records")
    lines = lines_of(done.out)
    assert (done.status, done.err) == (0, "")
    told = [line for line in lines if line.get("code") == "record_failed"]
    assert [line["phase"] for line in told] == ["new"]
    assert "No space left" in told[0]["message"]
    rest = [{k: v for k, v in line.items() if k != "seq"} for line in of_signal(lines) if line not in told]
    assert rest == [{k: v for k, v in line.items() if k != "seq"} for line in plain], "the engine goes on"
    frames = lines[-1]["sinks"]["record_frames"]
    assert frames["failures"] > 0
    assert frames["delivered"] + frames["held"] + frames["dropped"] == 7500
    (path,) = records(tmpfs / "records")
    kept = read_recording(path)
    assert 0 < len(kept.counts) == frames["delivered"]
    np.testing.assert_array_equal(kept.counts, read_recording(record).counts[: len(kept.counts)])


def fetched(port: int, path: str = "/metrics") -> tuple[str, dict[str, float]]:
    """Return the type and the values of an exposition, by a parser as strict as the format."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        text, content = answer.read().decode(), answer.headers["Content-Type"]
    assert text.endswith("\n")
    values: dict[str, float] = {}
    typed = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"# TYPE ([a-z_]+) (counter|gauge|histogram)", line):
            typed = match[1]
        elif not line.startswith("# HELP "):
            label = r'[a-z_]+0?[a-z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
            match = re.fullmatch(rf"([a-z_]+)((?:\{{{label}(?:,{label})*\}})?) (\S+)", line)
            assert match, line
            assert match[1].startswith(typed), line
            assert match[1] + match[2] not in values, f"twice: {line}"
            values[match[1] + match[2]] = float(match[3])
    return content, values


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_metrics_of_a_live_stream(process: Any, bundle: Path, record: Path, lines_of: Any, tmp_path: Path) -> None:
    port = free_port()
    sinks = tmp_path / "sinks.toml"
    sinks.write_text('[disk]\nkind = "file"\npath = "events.jsonl"\n')
    with SimulatedDevice(read_recording(record), speed=8.0) as board:
        arguments = ("--json", "--rules", "--probabilities", "--bundle", bundle, "--metrics", str(port))
        child = process("stream", "--device", board.path, *arguments, "--sinks", sinks, "--record", tmp_path / "r")
        first = child.stdout.readline()
        values: dict[str, float] = {}
        deadline = time.monotonic() + PATIENCE_S
        rates: list[float] = []
        while values.get('ecg_edge_windows_total{outcome="analyzed"}', 0) < 8:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            content, values = fetched(port)
            rates += [v for k, v in values.items() if k == "ecg_edge_heart_rate_bpm"]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetched(port, "/")
        child.send_signal(signal.SIGINT)
        out, err = child.stdout.read(), child.stderr.read()  # communicate() would miss what readline() has read ahead
        child.wait(PATIENCE_S)
    assert (child.returncode, err) == (0, "")
    assert content == "text/plain; version=0.0.4; charset=utf-8"
    windows = sum(v for k, v in values.items() if k.startswith("ecg_edge_windows_total") and "skipped" not in k)
    assert values["ecg_edge_window_latency_seconds_count"] == windows
    buckets = [v for k, v in values.items() if k.startswith("ecg_edge_window_latency_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert values['ecg_edge_window_latency_seconds_bucket{le="+Inf"}'] == windows
    assert values["ecg_edge_window_latency_seconds_sum"] > 0
    assert values["ecg_edge_leads_usable"] == 12
    assert 0 < values["ecg_edge_quality_ratio"] <= 1
    assert rates, "known during the sinus rhythm, and not at any moment"
    assert all(20 < rate < 250 for rate in rates)
    assert values["ecg_edge_signal_seconds_total"] >= 17
    assert values["ecg_edge_window_age_seconds"] < PATIENCE_S
    lines = lines_of(first + out)
    for kind in lines[-1]["losses"]:
        assert f'ecg_edge_losses_total{{kind="{kind}"}}' in values
    for sink in lines[-1]["sinks"]:
        for what in ("delivered_total", "dropped_total", "failures_total", "held"):
            assert f'ecg_edge_sink_{what}{{sink="{sink}"}}' in values
    assert list(lines[-1]["sinks"]) == ["disk", "record_events", "record_frames", "stdout"]


def test_standard_output_that_nobody_reads(
    process: Any, bundle: Path, record: Path, lines_of: Any, tmp_path: Path
) -> None:
    """The pipe's 64 kB are soon full; the stream goes on, and the other sink gets every event."""
    sinks = tmp_path / "sinks.toml"
    sinks.write_text('[disk]\nkind = "file"\npath = "events.jsonl"\n')
    link = tmp_path / "board"
    with SimulatedDevice(read_recording(record), speed=20.0, link=link):
        arguments = ("--json", "--probabilities", "--bundle", bundle, "--sinks", sinks)
        child = process("stream", "--device", link, *arguments)
        fill = os.open(f"/proc/{child.pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK)  # the child's end of the pipe
        try:
            while True:
                os.write(fill, b" " * 4096)
        except BlockingIOError:
            os.close(fill)
        log = tmp_path / "events.jsonl"
        deadline = time.monotonic() + PATIENCE_S
        while not log.exists() or '"summary"' not in log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0
    found = lines_of(log.read_text())
    assert found[-1]["signal_s"] == 30.0
    assert found[-1]["sinks"]["stdout"]["held"] > 0
    assert lines_of(out.lstrip(" ")) == found, "who reads in the end misses nothing"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--metrics", "nine"), "'nine' is no address"),
        (("--metrics", "1.2.3.4:70000"), "is no address"),
        (("--record-hours", "0", "--record", "x"), "use a number above 0"),
        (("--as-device", "--record", "x"), "--as-device monitors nothing: give --record to ecg-edge stream"),
        (("--as-device", "--sinks", "x"), "give --sinks to ecg-edge stream"),
    ],
)
def test_wrong_use(cli: Any, arguments: tuple[str, ...], text: str) -> None:
    done = cli("replay", "demo", *arguments)
    assert (done.status, done.out) == (2, "")
    assert text in done.err


def test_what_cannot_be_opened(cli: Any, bundle: Path, record: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bad = tmp_path / "bad.toml"
    bad.write_text('[a]\nkind = "fax"\n')
    for arguments, text in (
        (("--record", tmp_path / "file"), "name another folder"),
        (("--sinks", bad), "use one of file, mqtt"),
        (("--sinks", tmp_path / "none"), "name an existing file"),
        (("--metrics", "192.0.2.1:80"), "cannot serve metrics at 192.0.2.1:80"),
    ):
        done = cli("replay", record, "--bundle", bundle, *arguments)
        assert done.status == 1, arguments
        assert text in done.err
        assert done.err.count("\n") == 1
