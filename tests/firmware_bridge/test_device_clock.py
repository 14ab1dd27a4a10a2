"""A device's clock by the host's: the drift that is there, the moment a packet was complete, and clocks that jump."""

import numpy as np
import pytest

from ecg_edge.firmware_bridge.device_clock import EARLY_S, POINTS, TOLD_SPAN_S, DeviceClock

PACKET_S = 0.1


def run(
    clock: DeviceClock, seconds: float, ppm: float = 0.0, *, start: float = 0.0, host: float = 1000.0, seed: int = 1
) -> np.ndarray:
    """Feed packets with delays of 4 ms and more, at times of half a second; return the mapping's errors in seconds."""
    rng = np.random.default_rng(seed)
    true = np.arange(PACKET_S, seconds, PACKET_S)
    device = start + true * (1 + ppm * 1e-6)
    delays = 0.004 + rng.exponential(0.004, len(true)) + (rng.random(len(true)) < 0.02) * 0.5
    arrival = np.maximum.accumulate(host + true + delays)  # a link keeps the order
    mapped = np.array([clock.add(d, a) for d, a in zip(device, arrival, strict=True)])
    assert (mapped <= arrival).all(), "a sample cannot have been taken after it arrived"
    return mapped - (host + true + 0.004)


@pytest.mark.parametrize("ppm", [-10_000, -50, 0, 3, 50, 10_000])
def test_the_drift_is_found_and_the_jitter_taken_out(ppm: float) -> None:
    clock = DeviceClock()
    errors = run(clock, 600, ppm)
    assert clock.reading is not None
    assert clock.reading.drift_ppm == pytest.approx(ppm, abs=10)
    assert abs(clock.reading.drift_ppm - ppm) <= max(clock.reading.uncertainty_ppm, 0.1)
    assert np.abs(errors[len(errors) // 2 :]).max() < 0.003, "where single packets are late by up to half a second"


def test_months_take_no_more_memory_than_an_hour_and_follow_the_temperature() -> None:
    clock = DeviceClock()
    device = arrival = 0.0
    for hour in range(6):
        ppm = 20.0 * hour
        for _ in range(3600):
            arrival += 1.0
            device += 1.0 + ppm * 1e-6
            clock.add(device, 1000.0 + arrival + 0.002)
    assert len(clock._device) <= POINTS
    assert clock.reading is not None
    assert clock.reading.drift_ppm == pytest.approx(100, abs=5), "of the latest hour, not the mean of six"


def test_nothing_is_told_before_a_minute() -> None:
    clock = DeviceClock()
    run(clock, TOLD_SPAN_S - 5, 50)
    assert clock.reading is None


def test_a_restart_keeps_the_drift_and_begins_a_line() -> None:
    clock = DeviceClock()
    run(clock, 300, 200)
    clock.restart()
    assert clock.reading is not None
    errors = run(clock, 20, 200, host=5000.0, seed=2)
    assert clock.reading.drift_ppm == pytest.approx(200, abs=20)
    assert np.abs(errors[50:]).max() < 0.005, "the crystal is the same one"


def test_a_32_bit_clock_that_wraps_is_a_restart() -> None:
    """A firmware that counts microseconds in 32 bits begins anew after 71 minutes; its source tells of a new run."""
    clock = DeviceClock()
    wrap = 2**32 / 1e6
    run(clock, 120, 40, start=wrap - 120)
    clock.restart()
    errors = run(clock, 120, 40, start=0.0, host=1120.0, seed=3)
    assert clock.reading is not None
    assert clock.reading.drift_ppm == pytest.approx(40, abs=15)
    assert np.abs(errors[100:]).max() < 0.005


def test_a_host_that_slept_begins_a_line() -> None:
    """Its monotonic clock stood still while the device's went on: packets come before they could."""
    clock = DeviceClock()
    run(clock, 120)
    device, arrival = 120.0 + 3600.0, 1000.0 + 120.0 + EARLY_S
    assert clock.add(device, arrival) == arrival
    assert clock.add(device + 1, arrival + 1.5) == pytest.approx(arrival + 1)


def test_a_stall_delays_arrivals_and_not_the_moments() -> None:
    clock = DeviceClock()
    run(clock, 120)
    mapped = [clock.add(120 + k * PACKET_S, 1150.0) for k in range(200)]  # 20 s held back, then all at once
    assert np.allclose(np.diff(mapped), PACKET_S, atol=1e-4)
    assert mapped[0] == pytest.approx(1120.004, abs=0.003)


def test_a_sender_that_reads_its_clock_late() -> None:
    """PROTOCOL.md lets a time be off by a tenth of a second; then it goes down from one packet to the next at times."""
    clock = DeviceClock()
    rng = np.random.default_rng(4)
    for k in range(1, 12_000):
        true = k * 0.05
        clock.add(true * (1 - 300e-6) + rng.uniform(0, 0.1), 1000.0 + true + 0.002)
    assert clock.reading is not None
    assert clock.reading.drift_ppm == pytest.approx(-300, abs=30)


@pytest.mark.parametrize("speed", [0.5, 8.0, 1e9])
def test_a_recording_played_at_another_speed_has_no_clock(speed: float) -> None:
    clock = DeviceClock()
    for k in range(2000):
        arrival = 1000.0 + k / speed
        assert k < 20 or clock.add(float(k), arrival) == arrival
        clock.add(float(k), arrival)
    assert clock.reading is None
