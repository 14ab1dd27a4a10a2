"""The stop watch of the stages, on a clock that goes on only when told."""

from types import SimpleNamespace

import numpy as np
import pytest

from ecg_edge.runtime import laps
from ecg_edge.runtime.laps import STAGES, Laps


class Clock:
    """Stands in for `time.perf_counter_ns`, in milliseconds."""

    def __init__(self) -> None:
        self.ms = 5.0

    def __call__(self) -> int:
        return round(self.ms * 1e6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(laps, "time", SimpleNamespace(perf_counter_ns=made))
    return made


def test_laps_are_summed_by_stage_until_a_window(clock: Clock) -> None:
    watch = Laps()
    for stage, ms in (("front_end", 2.0), ("rules", 0.5), ("front_end", 1.0), ("inference", 8.0), ("decision", 0.25)):
        clock.ms += ms
        watch.end(stage)
    watch.window()
    taken = {stage: histogram.total_ms for stage, histogram in watch.histograms.items()}
    assert taken == pytest.approx(
        {"queue": 0, "front_end": 3, "rules": 0.5, "inference": 8, "decision": 0.25, "hand_over": 0}
    )
    clock.ms += 4.0
    watch.end("inference")
    watch.window()
    assert watch.histograms["inference"].total_ms == pytest.approx(12)
    assert watch.histograms["front_end"].total_ms == pytest.approx(3), "sums begin anew with each window"
    assert {sum(h.buckets) for h in watch.histograms.values()} == {2}, "each stage, each window"


def test_what_passes_before_a_begin_belongs_to_no_stage(clock: Clock) -> None:
    watch = Laps()
    clock.ms += 1000.0
    watch.begin()
    clock.ms += 1.0
    watch.end("rules")
    watch.window()
    assert sum(h.total_ms for h in watch.histograms.values()) == pytest.approx(1)


def test_of_waits_that_overlap_the_longest_counts(clock: Clock) -> None:
    watch = Laps()
    for seconds in (0.01, 0.03, 0.02, -0.5):
        watch.waited(seconds)
    watch.window()
    watch.waited(-0.5)  # a chunk from a clock ahead of this one
    watch.window()
    assert watch.histograms["queue"].total_ms == pytest.approx(30)
    assert watch.histograms["queue"].max_ms == pytest.approx(30)


def test_percentiles_of_each_stage(clock: Clock) -> None:
    watch = Laps()
    assert watch.percentiles() == {}, "before the first window nothing is known"
    durations = np.random.default_rng(0).lognormal(1.0, 0.5, 500)
    for ms in durations:
        clock.ms += float(ms)
        watch.end("inference")
        watch.window()
    found = watch.percentiles()
    assert tuple(found) == STAGES
    for name, share in (("p50", 50), ("p95", 95), ("p99", 99)):
        exact = np.percentile(durations, share, method="inverted_cdf")
        assert found["inference"][name] == pytest.approx(exact, rel=0.012)
    assert found["rules"] == {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
