"""`ecg-edge replay`: a record, or the built-in one, through the engine."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.runtime.events import NOTICE
from ecg_edge.runtime.sources.records import write_recording


def probabilities(lines: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [line["probabilities"] for line in lines if "probabilities" in line]


def test_demo(cli: Any, bundle: Path, lines_of: Any, of_signal: Any, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    first = cli("replay", "demo", "--json", "--bundle", bundle)
    assert (first.status, first.err) == (0, "")
    lines = lines_of(first.out)
    summary = lines[-1]
    assert (summary["signal_s"], summary["bundle"], summary["notice"]) == (120.0, "tiny", NOTICE)
    assert summary["windows"] == {"analyzed": 111, "skipped": 0, "unusable": 0}
    assert summary["alerts"], "the demo shows what an alert looks like"
    assert not any("wall_time" in line for line in lines)
    # V2 is off from 90 to 98 s.
    off = [line for line in lines if line.get("code") == "lead_off"]
    assert [(line["phase"], line["leads"]) for line in off] == [("new", ["V2"]), ("end", ["V2"])]
    # The same samples give the same bytes, whether they also go to a log or not; the log has what was written.
    again = cli("replay", "demo", "--json", "--bundle", bundle, "--log", log)
    assert of_signal(lines_of(again.out)) == of_signal(lines)
    assert log.read_text() == again.out
    assert [list(line) for line in lines_of(again.out)] == [list(line) for line in lines]


def test_log_is_appended_to(cli: Any, bundle: Path, record: Path, lines_of: Any, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    text = cli("replay", record, "--bundle", bundle, "--log", log).out
    cli("replay", record, "--bundle", bundle, "--log", log)
    half = len(log.read_text().splitlines()) // 2
    one, other = log.read_text().splitlines()[:half], log.read_text().splitlines()[half:]
    lines = lines_of("\n".join(one))
    assert len(lines_of("\n".join(other))) == len(lines)
    # The text tells a person the same: each event its line, then the account.
    assert text.isascii()
    assert "\033" not in text, "no color where it is not a terminal"
    assert text.count("ALERT") == sum(line.get("phase") == "new" and line["type"] == "alert" for line in lines)
    assert text.count("status ") == sum(line["type"] == "status" for line in lines)
    assert "30.0 s of signal, 21 windows analyzed" in text
    assert text.rstrip().endswith(NOTICE)


def test_probabilities_of_every_window(cli: Any, bundle: Path, record: Path, lines_of: Any) -> None:
    done = cli("replay", record, "--json", "--probabilities", "--speed", "50", "--bundle", bundle)
    lines = lines_of(done.out)
    assert done.status == 0
    assert len(probabilities(lines)) == lines[-1]["windows"]["analyzed"] == 21
    assert all(list(p) == ["AF", "NSR", "PVC"] for p in probabilities(lines))


def test_leads(cli: Any, bundle: Path, record: Path, lines_of: Any) -> None:
    one = lines_of(cli("replay", record, "--json", "--leads=-,MLII", "--bundle", bundle).out)
    assert one[-1]["leads"] == ["II"]
    # The built-in recording has channels to be named, too.
    demo = lines_of(cli("replay", "demo", "--json", "--leads=-,II,-,V6", "--bundle", bundle).out)
    assert demo[-1]["leads"] == ["II", "V6"]


def test_mains(cli: Any, bundle: Path, lines_of: Any, tmp_path: Path) -> None:
    """Hum a thousand times as strong as an ECG leaves traces in the low-pass's stop band, and none in the notch."""
    clean = replace(simulate([Episode("sinus rhythm", 14)], rate=250, seed=3).recording, name="clean")
    hum = np.rint(1_000_000 * np.sin(2 * np.pi * 60 * np.arange(len(clean.counts)) / 250)).astype(np.int32)
    loud = replace(clean, counts=clean.counts + hum[:, np.newaxis], name="loud")
    quiet, humming, notched = (
        probabilities(lines_of(cli("replay", record, "--json", "--probabilities", *more, "--bundle", bundle).out))
        for record, more in (
            (write_recording(clean, tmp_path), ("--mains", "60")),
            (write_recording(loud, tmp_path), ()),
            (tmp_path / "loud", ("--mains", "60")),
        )
    )
    off = [max(abs(a["AF"] - b["AF"]) for a, b in zip(quiet, other, strict=True)) for other in (humming, notched)]
    assert 3 * off[1] < off[0] > 0.2, off


def test_policy(cli: Any, bundle: Path, record: Path, lines_of: Any, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('default_priority = "none"\n[labels.AF]\nenabled = false\n[labels.PVC]\nenabled = false\n')
    done = cli("replay", record, "--json", "--no-rules", "--policy", policy, "--bundle", bundle)
    assert lines_of(done.out)[-1]["alerts"] == {}
    policy.write_text("confirm_window = 2\n")
    done = cli("replay", record, "--json", "--policy", policy, "--bundle", bundle)
    assert (done.status, done.out) == (1, "")
    assert "confirm_windows" in done.err, "it names the key that was meant"


def test_real_record(cli: Any, bundle: Path, data_dir: Path, lines_of: Any) -> None:
    path = data_dir / "ptbxl/records500/00000/00017_hr"
    if not path.with_suffix(".hea").is_file():
        pytest.skip("this selection of PTB-XL lacks 00017")
    done = cli("replay", path, "--json", "--probabilities", "--bundle", bundle)
    lines = lines_of(done.out)
    assert (done.status, done.err) == (0, "")
    assert (lines[-1]["signal_s"], lines[-1]["windows"]["analyzed"]) == (10.0, 1)


def test_in_a_process_of_its_own(process: Any, bundle: Path, record: Path, lines_of: Any) -> None:
    child = process("replay", record, "--json", "--speed", "max", "--bundle", bundle)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert lines_of(out)[-1]["signal_s"] == 30.0


def test_reader_of_the_pipe_that_goes(process: Any, bundle: Path, record: Path) -> None:
    child = process("replay", record, "--json", "--speed", "30", "--probabilities", "--bundle", bundle)
    assert json.loads(child.stdout.readline())["seq"] == 0
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(60) == 0
