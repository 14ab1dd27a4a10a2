"""Hum and motion of electrodes, told of what the filters take away, and told of nothing else."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.runtime import contact
from ecg_edge.runtime.conditioning import Conditioner
from ecg_edge.runtime.contact import Contact
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.events import Event, Technical

PV = 1_000_000  # a count is a microvolt
LEADS = ("II", "V1")
SECONDS = 20


def heart(rate: int) -> npt.NDArray[np.float64]:
    """Return a sinus rhythm (frames, 2) in microvolts."""
    recording = simulate([Episode("sinus rhythm", SECONDS)], rate=rate, seed=1, leads=LEADS).recording
    return recording.counts * (recording.pv_per_lsb * 1e-6)


def told(
    signal: npt.NDArray[np.float64], rate: int, off: npt.NDArray[np.bool_] | None = None, cuts: Sequence[int] = ()
) -> list[Event]:
    """Return what is told of a signal (frames, 2) in microvolts that goes through the front end in pieces."""
    front_end = Conditioner(Contract(), rate, PV, LEADS)
    ends = [*cuts, len(signal)]
    for start, end in zip([0, *cuts], ends, strict=True):
        counts = np.rint(signal[start:end]).astype(np.int32)
        front_end.push(counts, None if off is None else off[start:end])
    front_end.flush()
    return front_end.contact.tell(1e9, 0.0)


def phases(events: Sequence[Event]) -> list[tuple[str, str, tuple[str, ...] | None]]:
    return [(e.code, e.phase, e.leads) for e in events if isinstance(e, Technical)]


def during(rate: int, start: float, stop: float) -> npt.NDArray[np.float64]:
    time = np.arange(SECONDS * rate) / rate
    return ((time >= start) & (time < stop)).astype(float)


@pytest.mark.parametrize(("rate", "hz"), [(125, 50), (250, 50), (250, 60), (360, 60), (500, 50), (1000, 60)])
def test_hum_is_told_with_frequency_size_and_lead(rate: int, hz: int) -> None:
    signal = heart(rate)
    assert told(signal, rate) == []
    signal[:, 1] += 2000 * np.sin(2 * np.pi * (hz + 0.1) * np.arange(len(signal)) / rate + 1) * during(rate, 5, 11)
    events = told(signal, rate)
    assert phases(events) == [("mains_hum", "new", ("V1",)), ("mains_hum", "end", ("V1",))]
    assert isinstance(events[0], Technical)
    assert f"hum of {hz} Hz, 2.0 mV" in events[0].message or f"hum of {hz} Hz, 1.9 mV" in events[0].message


@pytest.mark.parametrize(("size", "is_told"), [(400, False), (600, True)])
def test_hum_from_half_a_millivolt(size: float, is_told: bool) -> None:
    hum = size * np.sin(2 * np.pi * 50 * np.arange(SECONDS * 500) / 500)
    assert bool(told(heart(500) + hum[:, np.newaxis], 500)) == is_told


def test_what_else_is_loud_at_50_hz_is_no_hum() -> None:
    rate = 500
    rng = np.random.default_rng(0)
    frames = SECONDS * rate
    pacing, steps = np.zeros(frames), np.zeros(frames)
    pacing[:: rate * 6 // 10] = 300_000  # of one sample
    steps[7 * rate + 123 :] = 150_000
    muscle = rng.normal(0, 5000, frames)
    tone_40 = 3000 * np.sin(2 * np.pi * 40 * np.arange(frames) / rate)
    for noise in (pacing, steps, muscle, tone_40):
        codes = {code for code, _, _ in phases(told(heart(rate) + noise[:, np.newaxis], rate))}
        assert "mains_hum" not in codes


def test_motion_is_told_with_size_and_lead() -> None:
    rate = 250
    signal = heart(rate)
    signal[:, 0] += 5000 * during(rate, 8, 20)
    events = told(signal, rate)
    assert phases(events) == [("motion", "new", ("II",)), ("motion", "end", ("II",))]
    assert isinstance(events[0], Technical)
    assert 2.0 < float(events[0].message.split("baseline off by ")[1].split()[0]) <= 5.3


def test_a_heart_moves_no_electrode() -> None:
    """Whatever it does: its complexes are not of the baseline."""
    for rhythm in ("ventricular tachycardia", "ventricular fibrillation", "asystole", "atrial fibrillation"):
        recording = simulate([Episode("sinus rhythm", 10), Episode(rhythm, 20)], rate=250, seed=2).recording
        front_end = Conditioner(Contract(), 250, recording.pv_per_lsb, recording.leads)
        front_end.push(recording.counts)
        assert front_end.contact.tell(1e9, 0.0) == []


def test_an_electrode_that_comes_back_elsewhere_has_not_moved() -> None:
    """It was off meanwhile, which is told by others; and its hum is that of the air."""
    rate = 250
    signal = heart(rate)
    off = np.zeros(signal.shape, dtype=np.bool_)
    off[6 * rate : 12 * rate, 1] = True
    signal[6 * rate : 12 * rate, 1] = 1e6 * np.sin(2 * np.pi * 50 * np.arange(6 * rate) / rate)
    signal[12 * rate :, 1] += 50_000
    assert told(signal, rate, off) == []


def test_it_does_not_depend_on_the_chunks_or_on_haste() -> None:
    rate = 250
    rng = np.random.default_rng(3)
    signal = heart(rate)
    signal[:, 0] += 3000 * np.sin(2 * np.pi * 50 * np.arange(len(signal)) / rate) * during(rate, 3, 6)
    signal[:, 1] += 9000 * during(rate, 11, 13)
    whole = told(signal, rate)
    assert len(whole) == 4
    assert told(signal, rate, cuts=sorted(rng.integers(1, len(signal), 200).tolist())) == whole
    hasty = Conditioner(Contract(), rate, PV, LEADS, eager=True)
    for start in range(0, len(signal), 25):
        hasty.push(np.rint(signal[start : start + 25]).astype(np.int32))
    hasty.flush()
    assert hasty.contact.tell(1e9, 0.0) == whole


def test_events_wait_for_the_windows() -> None:
    watch = Contact(250, PV, ("II",))
    step = np.zeros((250, 1))
    watch.add(step)
    watch.end_second(1.0)
    watch.add(step + 3000)
    watch.end_second(2.0)
    assert watch.tell(1.9, 1.9) == []
    (event,) = watch.tell(2.0, 2.5)
    assert (event.time, phases([event])) == (2.5, [("motion", "new", ("II",))])
    for second in range(3, 3 + contact.CALM_SECONDS):
        assert watch.tell(1e9, 0.0) == []
        watch.add(step + 3000)
        watch.end_second(float(second))
    assert phases(watch.tell(1e9, 0.0)) == [("motion", "end", ("II",))]


def test_a_rate_too_low_for_a_grid() -> None:
    """At 100 Hz a tone of 60 Hz is one of 40 Hz, and one of 50 Hz is anything: nothing is said of either."""
    hum = 5000 * np.sin(2 * np.pi * 60 * np.arange(SECONDS * 100) / 100 + 1)
    assert told(np.repeat(hum[:, np.newaxis], 2, axis=1), 100) == []
