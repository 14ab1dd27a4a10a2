"""A clock's drift from arrivals: lines that are known, under delays that are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.clock_fit import fit

DEVICE = np.arange(0, 60, 0.02)


def arrivals(ppm: float, delays: np.ndarray) -> np.ndarray:
    """When packets arrive whose sender's clock goes `ppm` fast: what it calls a second takes 1 / (1 + ppm) of one."""
    return 1000.0 + DEVICE / (1 + ppm * 1e-6) + delays


@pytest.mark.parametrize("ppm", [-10_000, -50, 0, 3, 50, 10_000])
def test_prompt_packets_give_the_drift_exactly(ppm: float) -> None:
    found = fit(DEVICE, arrivals(ppm, np.full(len(DEVICE), 0.004)))
    assert found is not None
    assert found.drift_ppm == pytest.approx(ppm, abs=1e-3)
    assert found.delays.max() < 1e-9


@settings(deadline=None)
@given(st.integers(0, 999), st.sampled_from([-200.0, 0.0, 40.0]))
def test_delays_that_are_at_times_small_do_not_disturb(seed: int, ppm: float) -> None:
    rng = np.random.default_rng(seed)
    delays = rng.exponential(0.004, len(DEVICE)) + (rng.random(len(DEVICE)) < 0.05) * 0.5
    found = fit(DEVICE, arrivals(ppm, delays))
    assert found is not None
    assert found.drift_ppm == pytest.approx(ppm, abs=5)  # a least-squares line misses by some hundreds here
    assert np.all(found.delays >= 0)
    assert np.median(found.delays) == pytest.approx(np.median(delays), rel=0.1)


def test_the_line_is_the_lowest_that_no_packet_is_under() -> None:
    rng = np.random.default_rng(3)
    arrival = arrivals(100, rng.exponential(0.01, len(DEVICE)))
    found = fit(DEVICE, arrival)
    assert found is not None
    # The same by brute force: of all lines through two points with none below, the one with the least sum.
    offset = arrival - DEVICE
    few = np.argsort(found.delays)[:8]
    best = np.inf
    for a in few:
        for b in few:
            if a < b:
                slope = (offset[b] - offset[a]) / (DEVICE[b] - DEVICE[a])
                above = offset - offset[a] - slope * (DEVICE - DEVICE[a])
                best = min(best, above.sum()) if above.min() > -1e-9 else best
    assert found.delays.sum() == pytest.approx(best)


def test_usb_that_hands_over_every_16_ms() -> None:
    arrival = arrivals(30, np.zeros(len(DEVICE)))
    found = fit(DEVICE, np.ceil(arrival / 0.016) * 0.016)
    assert found is not None
    # A millisecond or two of drift hides within such steps, and the uncertainty says so.
    assert abs(found.drift_ppm - 30) < found.uncertainty_ppm < 300


def test_too_little_to_compare() -> None:
    assert fit(np.array([]), np.array([])) is None
    assert fit(np.array([1.0]), np.array([5.0])) is None
    assert fit(np.array([1.0, 1.0]), np.array([5.0, 6.0])) is None


def test_packets_of_one_instant_count_by_their_promptest() -> None:
    found = fit(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.5, 0.2, 1.2, 1.9]))
    assert found is not None
    assert found.drift_ppm == pytest.approx(0, abs=1e-6)
    assert found.delays == pytest.approx([0.3, 0, 0, 0.7])
