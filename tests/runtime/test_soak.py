"""The soak, for some minutes of stream: everything adds up, and what does not is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.firmware_bridge.device_clock import DeviceClock
from ecg_edge.runtime import soak as soak_module
from ecg_edge.runtime import soak_board
from ecg_edge.runtime.soak import COST_LIMIT, GROWTH_LIMIT_MB, RATE, Outcome, Step, main, soak
from ecg_edge.runtime.sources import device

MINUTES = 0.15  # hours: nine minutes, long enough for each kind of fault when they are made frequent


@pytest.fixture
def frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults a minute apart, and short waits."""
    for kind in soak_board.EVERY_S:
        monkeypatch.setitem(soak_board.EVERY_S, kind, 60)
    monkeypatch.setattr(soak_board, "SILENCE_S", 0.2)
    monkeypatch.setattr(soak_board, "LONGEST_S", 5)
    monkeypatch.setattr(soak_module, "NAN_EVERY", 20)
    monkeypatch.setattr(device, "SILENCE_S", 0.1)
    monkeypatch.setattr(device, "RETRY_S", (0.01,))


def adds_up(outcome: Outcome) -> None:
    """Assert all but memory and cost, which nine minutes say nothing about."""
    steps = [replace(step, rss_mb=100.0, cpu_s=1.0) for step in outcome.steps]
    assert replace(outcome, steps=steps).wrong() == []


@pytest.mark.parametrize("seed", [1, 3])
def test_every_loss_is_counted(frequent: None, tiny_bundle: Any, tmp_path: Path, seed: int) -> None:
    outcome = soak(MINUTES, seed, rules=seed == 3, bundle=str(tiny_bundle(tmp_path / "tiny")))
    adds_up(outcome)
    assert outcome.sampled >= MINUTES * 3600 * RATE
    assert outcome.sampled == outcome.used + outcome.counted
    assert outcome.counted > 0
    assert len(outcome.steps) == 24
    for kind in (*soak_board.EVERY_S, "packets dropped", "packets duplicated", "packets reordered", "packets flipped"):
        assert outcome.faults[kind] > 0, kind
    assert outcome.faults["model NaN"] > 0
    assert outcome.losses["frames_restarts"] == outcome.faults["restart"]


def test_what_is_played_depends_on_the_seed_alone(frequent: None, tiny_bundle: Any, tmp_path: Path) -> None:
    bundle = str(tiny_bundle(tmp_path / "tiny"))
    one, two, other = (soak(0.05, seed, bundle=bundle) for seed in (5, 5, 6))
    assert (one.faults, one.sampled, one.counted) == (two.faults, two.sampled, two.counted)
    assert one.faults != other.faults


def test_an_exception_anywhere_is_told(tiny_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> float:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(DeviceClock, "add", fail)
    found = soak(0.05, bundle=str(tiny_bundle(tmp_path / "tiny"))).wrong()
    assert "exception: ZeroDivisionError: a defect" in found


def test_what_does_not_add_up_is_told() -> None:
    steps = [Step(1.0, 10.0, 100.0), Step(24.0, 10.0, 100.0)]
    account = {"delivered": 90, "dropped": 9, "held": 1, "failures": 0}
    good = Outcome(
        24, 1, False, steps, 10_000, 9_000, 1_000, {"analyzed": 31}, 3, 100, {"file": account}, {"gap_frames": 1_000}
    )
    assert good.wrong() == []
    for change, text in (
        ({"sampled": 10_001}, "10001 frames sent, 9000 used and 1000 counted as lost"),
        ({"windows": {"analyzed": 30}}, "30 windows where the stream has 31"),
        ({"events": 101}, "sink file accounts for 100 of 101 events"),
        ({"steps": [steps[0], Step(24.0, 10.0, 100.0 + GROWTH_LIMIT_MB)]}, "memory grew by 2.00 MB"),
        ({"steps": [steps[0], Step(24.0, 10.0 * COST_LIMIT, 100.0)]}, "the last hours cost 1.20 times the first"),
    ):
        assert replace(good, **change).wrong() == [text]  # type: ignore[arg-type]


def test_the_command(frequent: None, tiny_bundle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--hours", "0.05", "--json", "--bundle", str(tiny_bundle(tmp_path / "tiny"))])
    done = capsys.readouterr()
    found = json.loads(done.out)
    assert status == bool(found["wrong"])
    assert found["exceptions"] == []
    assert done.err.count("s of processor") == 24
    with pytest.raises(SystemExit):
        main(["--hours", "0"])
