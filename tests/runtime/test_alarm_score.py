"""The alarm score of the Challenge 2015: its formula by hand, and records in its format cut from real ones."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime import alarm_score
from ecg_edge.runtime.alarm_score import Verdict, annotated_alarm, judge, score
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.sources.records import read_recording, write_recording
from ecg_edge.runtime.sources.wfdb_annotation import read_annotations


def test_a_missed_alarm_costs_five_times_as_much():
    outcomes = [(True, True)] * 3 + [(True, False)] + [(False, True)] * 2 + [(False, False)] * 4
    figures = score([Verdict("r", "Asystole", true, confirmed) for true, confirmed in outcomes])
    assert {key: figures[key] for key in ("tp", "fn", "fp", "tn")} == {"tp": 3, "fn": 1, "fp": 2, "tn": 4}
    assert figures["score"] == pytest.approx(100 * 7 / (7 + 2 + 5), abs=0.01)
    assert figures["true_positive_rate"] == 75.0
    assert figures["by_alarm"]["Asystole"]["true_negative_rate"] == pytest.approx(66.67)


@pytest.mark.parametrize(
    ("label", "announced", "over", "confirmed"),
    [
        ("VT", 295.0, 300.0, True),
        ("VF", 100.0, 290.0, True),  # still on within the ten seconds
        ("VT", 100.0, 289.0, False),
        ("VT", 300.5, 310.0, False),  # too late for the event in real time
        ("ExtremeTachy", 295.0, 300.0, False),
    ],
)
def test_an_alarm_is_confirmed_by_a_fitting_alert_in_the_ten_seconds_before_it(label, announced, over, confirmed):
    verdict = judge("v1", "Ventricular_Tachycardia", True, [(label, announced, over)])
    assert verdict.confirmed is confirmed
    assert verdict.outcome == ("tp" if confirmed else "fn")


def test_the_header_names_the_alarm():
    assert annotated_alarm("a103l", ("Asystole", "False alarm")) == ("Asystole", False)
    assert annotated_alarm("v1", ("Ventricular_Flutter_Fib", "True alarm")) == ("Ventricular_Flutter_Fib", True)
    for comments in ((), ("Asystole",), ("True alarm",), ("Asystole", "Bradycardia", "True alarm")):
        with pytest.raises(EcgEdgeError, match="leave out --alarms"):
            annotated_alarm("r", comments)


def flutter_onset(path, rate: int, after: float) -> float:
    """Return when the first annotated fibrillation or flutter of ten seconds and more begins after so many seconds."""
    notes = [a for a in read_annotations(path).entries if a.symbol == "+"]
    for note, following in pairwise(notes):
        start = note.sample / rate
        if note.aux.lstrip("(") in ("VF", "VFIB", "VFL") and start > after and following.sample / rate - start > 10:
            return start
    raise AssertionError(f"{path} has none")


def test_records_of_its_format(data_dir, tiny_bundle, tmp_path, capsys):
    onset = flutter_onset(data_dir / "vfdb" / "419", 250, alarm_score.ALARM_S)
    sources = [  # name, source, seconds at which the alarm stands, comments
        ("f1", "vfdb/419", onset + 7, ("Ventricular_Flutter_Fib", "True alarm")),
        ("f2", "mitdb/119", 400.0, ("Ventricular_Flutter_Fib", "False alarm")),
        ("a1", "mitdb/119", 700.0, ("Asystole", "False alarm")),
        ("t1", "mitdb/119", 700.0, ("Tachycardia", "True alarm")),  # a wrong truth: it must count as missed
    ]
    paths = []
    for name, source, alarm, comments in sources:
        start = alarm - alarm_score.ALARM_S
        cut = read_recording(data_dir / source, leads=("II", "V1"), start_seconds=start, stop_seconds=alarm + 30)
        written = write_recording(replace(cut, name=name, comments=comments), tmp_path)
        paths.append(str(written))
    args = ["evaluate-stream", *paths, "--alarms", "--bundle", str(tiny_bundle(tmp_path / "tiny"))]
    assert main([*args, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [r["outcome"] for r in report["records"]] == ["tp", "tn", "tn", "fn"]
    assert report["score"] == pytest.approx(100 * 3 / (3 + 5))
    assert main(args) == 0
    assert "Ventricular_Flutter_Fib" in capsys.readouterr().out
    assert main([*args, "--annotations", str(tmp_path)]) == 1
    assert "leave out --annotations" in capsys.readouterr().err
