"""The latency histogram against percentiles of the durations themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.runtime.latency import LatencyHistogram


def histogram(durations: np.ndarray | list[float], budget_ms: float = 100.0) -> LatencyHistogram:
    counted = LatencyHistogram(budget_ms)
    for ms in durations:
        counted.add(float(ms))
    return counted


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(2e-3, 9e5), min_size=1, max_size=200))
def test_percentiles_are_within_1_2_percent(durations: list[float]) -> None:
    """Nearest rank: the smallest duration that at least the share is not above; numpy's `inverted_cdf`."""
    found = histogram(durations).percentiles()
    assert found is not None
    for name, share in (("p50", 50), ("p95", 95), ("p99", 99)):
        exact = np.percentile(durations, share, method="inverted_cdf")
        assert found[name] == pytest.approx(exact, rel=0.012)
        assert found[name] <= found["max"]
    assert found["max"] == max(durations)


def test_percentiles_of_a_long_run() -> None:
    durations = np.random.default_rng(0).lognormal(0.5, 1.0, 20_000)
    found = histogram(durations).percentiles()
    assert found is not None
    for name, share in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert found[name] == pytest.approx(np.percentile(durations, share, method="inverted_cdf"), rel=0.012)


def test_nothing_counted_has_no_percentiles() -> None:
    assert LatencyHistogram(100).percentiles() is None


def test_misses_are_above_the_budget() -> None:
    counted = histogram([99.9, 100.0, 100.1, 5000.0])
    assert counted.misses == 2
    assert counted.max_ms == 5000.0


def test_clock_that_went_back_counts_as_zero() -> None:
    counted = histogram([-5.0, 0.0])
    assert counted.misses == 0
    assert counted.percentiles() == {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}


def test_duration_beyond_the_scale_is_counted_and_its_maximum_exact() -> None:
    counted = histogram([1e7] * 3)
    assert counted.misses == 3
    assert counted.max_ms == 1e7
