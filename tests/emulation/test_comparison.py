"""What aarch64.py takes for a difference, on answers made by hand; no emulator is needed."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from . import aarch64
from .comparison import compare

ANSWER: dict[str, Any] = {
    "tolerance": 0.01,
    "verified": True,
    "reason": None,
    "records": {
        "a": {"labels": ["AF"], "windows": 2, "logits": [[1.0, -1.0], [2.0, -2.0]]},
        "b": {"labels": [], "windows": 1, "logits": [[0.0, -3.0]]},
    },
    "events": [{"seq": 0, "type": "status", "probabilities": {"AF": 0.731}}, {"seq": 1, "type": "summary"}],
}


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Return the answer with one value in it replaced."""
    answer: Any = deepcopy(ANSWER)
    place = answer
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return answer  # type: ignore[no-any-return]


def test_the_same_answers() -> None:
    found = compare("m", ANSWER, deepcopy(ANSWER))
    assert found.differences == ()
    assert (found.records, found.windows, found.largest, found.events) == (2, 3, 0.0, 2)


def test_a_logit_within_the_tolerance_is_told_and_no_difference() -> None:
    found = compare("m", ANSWER, changed(("records", "a", "logits", 1, 0), 2.004))
    assert found.largest == pytest.approx(0.004)
    assert found.differences == ()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("records", "a", "logits", 1, 0), 2.02, "logits differ by 0.02"),
        (("records", "a", "logits", 1, 0), float("nan"), "logits differ by nan"),
        (("records", "b", "labels"), ["AF"], "b: no label here, AF there"),
        (("records", "a", "windows"), 3, "2 windows here, 3 there"),
        (("records", "a", "logits"), [[1.0, -1.0]], "windows here"),
        (("events", 0, "probabilities", "AF"), 0.75, "event 0 (status): probabilities"),
        (("events",), ANSWER["events"][:1], "2 events here, 1 there"),
        (("verified",), False, "bundle verify failed there"),
        (("error",), "no backend runs tflite models", "does not run there"),
    ],
)
def test_whatever_else_is_not_the_same_is_named(path: tuple[str | int, ...], value: Any, says: str) -> None:
    (line,) = compare("m", ANSWER, changed(path, value)).differences
    assert says in line


def test_a_backend_that_neither_has_is_skipped_and_says_so() -> None:
    found = compare("m", {"error": "no LiteRT"}, {"error": "no LiteRT"})
    assert (found.skipped, found.differences) == ("no LiteRT", ())


@pytest.mark.parametrize(("labels", "status"), [([], 0), (["AF"], 1)])
def test_exit_status_and_table(
    labels: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(_command: Any, what: str, _environment: Any) -> str:
        there = changed(("records", "b", "labels"), labels)
        answer = there if "cortex-a76" in what else ANSWER
        return json.dumps({"machine": "one", "models": {"arrhythmia/onnx": answer}})

    monkeypatch.setattr(aarch64, "run", run)
    monkeypatch.setattr(aarch64.ArmMachine, "prepare", lambda _self: None)
    monkeypatch.setattr(aarch64.ArmMachine, "command", lambda *_arguments: [])
    assert aarch64.main(["--folder", str(tmp_path)]) == status
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines() if line.startswith("cortex")]
    assert [(row[0], row[2], row[-1]) for row in rows] == [
        ("cortex-a72", "passed", "same"),
        ("cortex-a76", "passed", "DIFFER" if status else "same"),
    ]
    assert ("cortex-a76, arrhythmia/onnx: b: no label here, AF there" in err) == bool(status)


def test_a_missing_program_names_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert aarch64.main(["--folder", str(tmp_path / "arm")]) == 1
    assert "apt-get install qemu-user-static" in capsys.readouterr().err
