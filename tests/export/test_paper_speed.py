"""The comparison with the paper's network: the networks that it claims, and arithmetic that holds."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from ecg_edge.export import paper_speed
from ecg_edge.export.paper_speed import Timed, main, report


def test_ratios_are_of_times_and_of_times_per_second() -> None:
    paper = Timed("paper", 2.5, 1, 1.0, 5.0)
    told = report([paper, Timed("small", 10.0, 1, 1.0, 1.0), Timed("small", 2.5, 1, 1.0, 0.25)])
    assert [row["ms_per_second"] for row in told["networks"]] == [2.0, 0.1, 0.1]
    assert [row["speedup_per_call"] for row in told["networks"]] == [1, 5, 20]
    assert [row["speedup_per_second"] for row in told["networks"]] == [1, 20, 20]


def test_both_networks_are_timed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_speed, "WARM_UP", 1)
    assert main(["--calls", "5", "--json"]) == 0
    paper, student, short = json.loads(capsys.readouterr().out)["networks"]
    assert paper["parameters"] > 20e6, "an SE-ResNet34 and an xresnet1d50"
    assert [row["window_seconds"] for row in (paper, student, short)] == [2.5, 10, 2.5]
    assert student["parameters"] == short["parameters"]
    assert 3.5 < student["mmac"] / short["mmac"] < 4.5, "a quarter of the window is a quarter of the work"
    assert paper["mmac"] > short["mmac"]
    assert all(row["ms"] > 0 for row in (paper, student, short))


def test_wrong_number_of_calls_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--calls", "0"])
    assert "--calls" in capsys.readouterr().err
