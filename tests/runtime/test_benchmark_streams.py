"""Many streams in one process: that every one of them is served, and where the curve ends."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.runtime import benchmark_streams
from ecg_edge.runtime.backends import Backend, open_backend
from ecg_edge.runtime.benchmark import make_recording
from ecg_edge.runtime.benchmark_streams import CURVE, SPARE_BYTES, measure_streams
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.machine import Machine
from ecg_edge.runtime.policy import load_policy


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a model of a few nodes."""
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


@pytest.fixture(scope="module")
def backend(bundle: Bundle) -> Backend:
    """Return its model."""
    return open_backend(bundle)


def test_every_second_of_every_stream_has_its_window(bundle: Bundle, backend: Backend) -> None:
    found = measure_streams(bundle, backend, load_policy(), make_recording(), curve=(1, 3), seconds=2)
    assert [one["streams"] for one in found] == [1, 3]
    assert [one["windows"] for one in found] == [2, 6]
    for one in found:
        assert one["sustained"]
        assert 0 < one["work_ms"]["p50"] <= one["work_ms"]["p99"] <= one["work_ms"]["max"] < 1000
        assert one["ms_a_stream_second"] == pytest.approx(one["work_ms"]["p50"] / one["streams"], rel=0.01)
        assert one["rss_mb"] > 10


def test_streams_are_at_different_places_of_the_signal(bundle: Bundle) -> None:
    seen = []

    class Watching:
        name = "watching"

        def logits(self, signal: np.ndarray, spectrogram: np.ndarray) -> np.ndarray:
            seen.append(signal.tobytes())
            return np.zeros(3, dtype=np.float32)

    measure_streams(bundle, Watching(), load_policy(), make_recording(), curve=(2,), seconds=1)
    assert len(set(seen[-2:])) == 2


def test_the_curve_ends_with_the_first_number_that_is_not_sustained(
    bundle: Bundle, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(feed: Any) -> tuple[float, float]:
        work = 300.0 * len(feed._engines)
        return work, work

    monkeypatch.setattr(benchmark_streams._Feed, "second", second)
    found = measure_streams(bundle, backend, load_policy(), make_recording(), curve=(1, 3, 4, 5), seconds=3)
    assert [(one["streams"], one["sustained"]) for one in found] == [(1, True), (3, True), (4, False)]
    assert found[-1]["work_ms"] == {"p50": 1200.0, "p95": 1200.0, "p99": 1200.0, "max": 1200.0}


@pytest.mark.parametrize(("spare", "streams"), [(SPARE_BYTES // 1024 + 1, [1]), (SPARE_BYTES // 1024 - 1, [])])
def test_the_curve_ends_where_memory_does(
    bundle: Bundle, backend: Backend, tmp_path: Path, spare: int, streams: list[int]
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {spare} kB\n")
    machine = Machine(tmp_path)
    found = measure_streams(bundle, backend, load_policy(), make_recording(), curve=(1,), seconds=1, machine=machine)
    assert [one["streams"] for one in found] == streams


def test_a_short_recording_goes_round(bundle: Bundle, backend: Backend) -> None:
    recording = make_recording()
    short = replace(recording, counts=recording.counts[:700], invalid=None)  # five packets of 125 frames, and a rest
    (one,) = measure_streams(bundle, backend, load_policy(), short, curve=(1,), seconds=1)
    assert one["windows"] == 1


def test_numbers_of_streams_rise_and_hold_those_that_are_promised() -> None:
    assert list(CURVE) == sorted(set(CURVE))
    assert {1, 10, 100, 250, 500, 1000} <= set(CURVE)


def test_the_curve_is_printed(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ecg_edge.runtime.cli.bench.measure_streams", lambda *a, **k: measure_streams(*a, **k, curve=(1, 2))
    )
    assert main(["bench", "--bundle", str(bundle.folder), "--streams", "--seconds", "1"]) == 0
    text = capsys.readouterr().out
    for word in ("2 streams", "sustained", "no memory for more"):
        assert word in text
