"""The engine as a function of the samples: the same for any chunking, honest about what it does not know."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT
from ecg_edge.runtime import backends
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.engine import Engine, StreamFormat
from ecg_edge.runtime.events import Alert, Event, Status, Summary, Technical, stamp, to_json, validate
from ecg_edge.runtime.laps import Laps
from ecg_edge.runtime.policy import Policy, load_policy
from ecg_edge.runtime.stft import Stft

RATE = 125
MICROVOLT = 1_000_000  # picovolts
LIMB = ("I", "II")

POLICY = replace(load_policy(), unknown_after_s=12.0, smoothing_s=0.0, confirm_windows=2, confirm_of=3)


@dataclass
class Spy:
    """A backend that answers what it is told to, and remembers what it saw."""

    answer: Callable[[int], Sequence[float]] = lambda _: (-3.0, 3.0, -3.0)
    """From the number of the call to the logits."""
    seen: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    name: str = "onnx"

    def logits(self, signal: np.ndarray, spectrogram: np.ndarray) -> np.ndarray:
        self.seen.append((signal.copy(), spectrogram.copy()))
        return np.array(self.answer(len(self.seen) - 1), dtype=np.float32)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(tiny_bundle(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def heart() -> np.ndarray:
    """Forty seconds of a simulated heart, leads I and II, int32 (5000, 2) microvolts; louder from 20 s on."""
    counts = simulate([Episode("sinus rhythm", 40)], rate=RATE, leads=LIMB, seed=4).recording.counts.copy()
    counts[20 * RATE :] += counts[20 * RATE :] // 4
    return counts


def engine_for(
    bundle: Bundle, backend: object | None = None, leads: Sequence[str] = LIMB, policy: Policy = POLICY, **options: bool
) -> Engine:
    return Engine(
        bundle,
        Spy() if backend is None else backend,  # type: ignore[arg-type]
        policy,
        StreamFormat(RATE, tuple(leads), MICROVOLT),
        **options,
    )


def run(engine: Engine, counts: np.ndarray, invalid: np.ndarray | None = None) -> list[Event]:
    return [*engine.push(counts, invalid=invalid), *engine.finish()]


def technical(events: Sequence[Event], code: str | None = None) -> list[Technical]:
    return [e for e in events if isinstance(e, Technical) and code in (None, e.code)]


def alerts(events: Sequence[Event]) -> list[Alert]:
    return [e for e in events if isinstance(e, Alert)]


def windows(engine: Engine) -> int:
    return sum(engine.summary().windows.values())


def off(seconds: Sequence[tuple[float, float]], total: int, channels: Sequence[int] = (0, 1)) -> np.ndarray:
    invalid = np.zeros((total, 2), dtype=bool)
    for start, stop in seconds:
        invalid[int(start * RATE) : int(stop * RATE), list(channels)] = True
    return invalid


# A function of the samples.


def account(events: Sequence[Event], summary: Summary) -> list[str]:
    return [to_json(e) for e in (*events, summary)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_events_do_not_depend_on_the_chunks(bundle: Bundle, heart: np.ndarray, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 25 * RATE))
    invalid = np.zeros((n, 2), dtype=bool)
    for start in data.draw(st.lists(st.integers(0, n), max_size=3)):
        invalid[start : start + data.draw(st.integers(1, 6 * RATE)), data.draw(st.sampled_from((0, 1, [0, 1])))] = True
    gaps = data.draw(st.dictionaries(st.integers(0, n), st.sampled_from((1, 40, 500, 9000)), max_size=2))
    cuts = data.draw(st.lists(st.integers(0, n), max_size=15))
    counts = heart[10 * RATE : 10 * RATE + n]

    def account_of(places: Sequence[int]) -> list[str]:
        engine = engine_for(bundle, backends.open_backend(bundle), every_probability=True)
        events: list[Event] = []
        left = dict(gaps)
        for start, stop in pairwise([0, *places, n]):
            mask = invalid[start:stop] if invalid[start:stop].any() else None
            events += engine.push(counts[start:stop], float(stop), mask)
            if stop in left:
                events += engine.gap(left.pop(stop))
        return account([*events, *engine.finish()], engine.summary())

    assert account_of(sorted({*cuts, *gaps})) == account_of(sorted(gaps))


def test_determinism(bundle: Bundle, heart: np.ndarray) -> None:
    backend = backends.open_backend(bundle)
    first, second = (
        account(run(engine, heart), engine.summary())
        for engine in (engine_for(bundle, backend, every_probability=True) for _ in range(2))
    )
    assert first == second
    assert len([line for line in first if '"probabilities"' in line]) == 31


def test_model_sees_the_last_ten_seconds_and_their_spectrogram(bundle: Bundle, heart: np.ndarray) -> None:
    spy = Spy()
    engine = engine_for(bundle, spy)
    run(engine, heart)
    assert len(spy.seen) == 31
    stft = Stft(bundle.manifest.contract)
    for (before, _), (signal, spectrogram) in pairwise(spy.seen):
        assert np.array_equal(signal[:, :-100], before[:, 100:])
        assert np.array_equal(spectrogram, stft.frames(signal))
    assert engine.present == LEADS[:6]
    assert engine.summary().leads == LEADS[:6]


# Every event is one that may be written.


def test_every_event_passes_the_schema_after_json(bundle: Bundle, heart: np.ndarray) -> None:
    trouble = off([(12, 13), (22, 27)], len(heart))
    heart = heart.copy()
    heart[30 * RATE : 31 * RATE] = 0
    engine = engine_for(bundle, Spy(lambda k: (3.0, -3.0, np.nan) if k == 3 else (3.0, 3.0, 3.0)))
    events = [*engine.push(heart[:2000], invalid=trouble[:2000]), *engine.gap(77)]
    engine.skip_windows(2)
    events += [*engine.push(heart[2000:], invalid=trouble[2000:]), *engine.finish(), engine.summary()]
    assert {type(e).__name__ for e in events} == {"Alert", "Technical", "Status", "Summary"}
    assert {e.code for e in technical(events)} >= {"lead_off", "gap", "overload", "model_fault"}
    for seq, event in enumerate(events):
        line = to_json(stamp(event, seq=seq, wall_time="2026-03-01T08:20:00.212+00:00", latency_ms=3.0))
        assert "\n" not in line
        validate(json.loads(line))


# Short streams.


@pytest.mark.parametrize("seconds", [0, 0.01, 3, 4.99])
def test_stream_too_short_gets_no_diagnosis(bundle: Bundle, heart: np.ndarray, seconds: float) -> None:
    spy = Spy()
    engine = engine_for(bundle, spy, every_probability=True)
    events = run(engine, heart[: int(seconds * RATE)])
    assert [(e.type, e.code, e.phase) for e in events if isinstance(e, Technical)] == [
        ("technical", "short_signal", "once")
    ]
    assert len(events) == 1
    assert not spy.seen
    assert windows(engine) == 0


@pytest.mark.parametrize("seconds", [5, 7, 9.9])
def test_short_stream_is_judged_with_zeros_before_it_and_says_so(
    bundle: Bundle, heart: np.ndarray, seconds: float
) -> None:
    spy = Spy()
    engine = engine_for(bundle, spy, every_probability=True)
    events = run(engine, heart[: int(seconds * RATE)])
    (said,) = technical(events)
    assert said.code == "short_signal"
    assert "counted as zero" in said.message
    (status,) = [e for e in events if isinstance(e, Status)]
    assert status.probabilities is not None
    (signal, spectrogram) = spy.seen[0]
    silent = 1000 - -(-int(seconds * RATE) * 100 // RATE)
    assert not signal[:, :silent].any()
    assert signal[1, silent:].any()
    assert np.array_equal(spectrogram, Stft(bundle.manifest.contract).frames(signal))
    assert engine.analyzed == windows(engine) == 1
    assert engine.take_arrivals() == [0.0]


def test_ten_seconds_are_a_whole_window(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle)
    assert not technical(run(engine, heart[: 10 * RATE]))
    assert engine.analyzed == 1


# Unknown is not normal.


def test_lead_that_is_off_is_told_left_out_and_missed_by_the_model(bundle: Bundle, heart: np.ndarray) -> None:
    spy = Spy()
    engine = engine_for(bundle, spy, every_probability=True)
    events = run(engine, heart, off([(12, 17)], len(heart), channels=[0]))
    told = technical(events)
    # Lead I takes those that are derived from it along.
    derived = ("I", "III", "aVR", "aVL", "aVF")
    assert [(e.code, e.phase, e.leads, e.time) for e in told] == [
        ("lead_off", "new", derived, 13.0),
        ("lead_off", "end", derived, 18.0),
    ]
    statuses = [e for e in events if isinstance(e, Status)]
    for status, (signal, spectrogram) in zip(statuses, spy.seen, strict=True):
        # More than two of its ten seconds are bad from the window that ends at 15 s to the one that ends at 24 s.
        expected = ("II",) if 15 <= status.time <= 24 else LEADS[:6]
        assert status.leads == expected
        for row, lead in enumerate(LEADS):
            assert signal[row].any() == (lead in expected)
            assert spectrogram[row].any() == (lead in expected)
    assert min(s.quality for s in statuses) == pytest.approx(1 - 25 / 60)
    assert engine.analyzed == 31
    assert engine.summary().losses["invalid_samples"] == 5 * RATE
    assert engine.summary().leads == LEADS[:6]


def test_all_leads_off_is_signal_lost_and_no_diagnosis(bundle: Bundle, heart: np.ndarray) -> None:
    spy = Spy(lambda _: (5.0, 5.0, 5.0))
    engine = engine_for(bundle, spy, every_probability=True)
    events = run(engine, heart, off([(0, 40)], len(heart)))
    assert [(e.code, e.phase) for e in technical(events)] == [("lead_off", "new"), ("signal_lost", "new")]
    assert not alerts(events)
    assert all(s.probabilities is None and s.leads == () and s.quality == 0 for s in events if isinstance(s, Status))
    assert not spy.seen
    assert (engine.analyzed, engine.unusable) == (0, 31)
    assert engine.summary().leads == ()


def test_signal_that_returns_is_told_and_judged_again(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle)
    lost = technical(run(engine, heart, off([(11, 16)], len(heart))), "signal_lost")
    assert [(e.phase, e.time) for e in lost] == [("new", 14.0), ("end", 24.0)]
    assert (engine.analyzed, engine.unusable) == (21, 10)


def test_flat_line_is_no_rhythm(bundle: Bundle) -> None:
    engine = engine_for(bundle, Spy(lambda _: (5.0, 5.0, 5.0)))
    events = run(engine, np.full((20 * RATE, 2), 12_345, np.int32))
    assert [(e.code, e.phase) for e in technical(events)] == [("flat_line", "new"), ("signal_lost", "new")]
    assert not alerts(events)
    assert engine.analyzed == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_model_without_a_finite_answer_never_alerts(bundle: Bundle, heart: np.ndarray, value: float) -> None:
    engine = engine_for(bundle, Spy(lambda _: (9.0, value, 9.0)), every_probability=True)
    events = run(engine, heart)
    assert [(e.code, e.phase) for e in technical(events)] == [("model_fault", "new")]
    assert not alerts(events)
    assert all(e.probabilities is None for e in events if isinstance(e, Status))
    assert (engine.analyzed, engine.unusable) == (0, 31)
    assert engine.summary().leads == ()


def test_model_that_answers_again_says_so(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle, Spy(lambda k: (np.nan,) * 3 if 5 <= k < 8 else (0.0,) * 3))
    told = technical(run(engine, heart))
    assert [(e.code, e.phase, e.time) for e in told] == [("model_fault", "new", 15.0), ("model_fault", "end", 18.0)]
    assert (engine.analyzed, engine.unusable) == (28, 3)


@pytest.mark.parametrize("rail", [COUNT_LIMIT, -COUNT_LIMIT, COUNT_LIMIT + 1, -COUNT_LIMIT - 1])
def test_converter_s_end_of_scale_is_no_signal(bundle: Bundle, heart: np.ndarray, rail: int) -> None:
    counts = heart.copy()
    counts[12 * RATE : 17 * RATE, 1] = rail
    engine = engine_for(bundle)
    railed = run(engine, counts)
    marked = engine_for(bundle)
    assert account(railed, engine.summary()) == account(
        run(marked, heart, off([(12, 17)], len(heart), channels=[1])), marked.summary()
    )
    assert engine.summary().losses["invalid_samples"] == 5 * RATE


def test_saturation_is_told_and_counted(bundle: Bundle, heart: np.ndarray) -> None:
    counts = heart.copy()
    counts[15 * RATE : 15 * RATE + 20, 0] += 50_000
    engine = engine_for(bundle)
    told = technical(run(engine, counts), "saturation")
    assert [(e.phase, e.time, e.leads) for e in told] == [
        ("new", 16.0, ("I", "III", "aVL")),  # the others have half of it
        ("end", 17.0, ("I", "III", "aVL")),
    ]
    assert engine.summary().losses["saturated_samples"] > 0


# Gaps and overload.


def test_gap_is_told_and_time_goes_on(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle, every_probability=True)
    events = [*engine.push(heart[: 15 * RATE]), *engine.gap(4 * RATE), *engine.push(heart[15 * RATE :])]
    events += engine.finish()
    (gap,) = technical(events, "gap")
    assert (gap.time, gap.counts) == (15.0, {"frames": 4 * RATE})
    summary = engine.summary()
    assert summary.losses == {"gap_frames": 4 * RATE, "invalid_samples": 0, "saturated_samples": 0}
    assert summary.signal_s == summary.time == 44.0
    assert windows(engine) == 35
    # Three of the four lost seconds in a window make it unusable, until all but two have left it.
    assert [(e.phase, e.time) for e in technical(events, "signal_lost")] == [("new", 18.0), ("end", 27.0)]
    times = [e.time for e in events if isinstance(e, Status)]
    assert times == [float(t) for t in range(10, 45)]


def test_long_gap_is_not_filled_but_counts_as_time(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle, Spy(lambda _: (5.0, -5.0, -5.0)), every_probability=True)
    hour = 3600 * RATE
    events = [*engine.push(heart[: 20 * RATE]), *engine.gap(hour)]
    assert engine.summary().time == 3620.0
    events += [*engine.push(heart[20 * RATE :]), *engine.finish()]
    summary = engine.summary()
    assert (summary.time, summary.signal_s) == (3640.0, 100.0)
    assert summary.losses["gap_frames"] == hour
    assert windows(engine) == 91
    times = [e.time for e in events if isinstance(e, Status)]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert times[-1] == 3640.0
    # What was announced before the gap ended within it, unknown; after it, it is another episode.
    told = [(a.phase, a.reason, a.id) for a in alerts(events) if a.phase != "update"]
    assert told == [
        ("new", None, "AF-1"),
        ("end", "unknown", "AF-1"),
        ("new", None, "AF-2"),
        ("end", "stream_end", "AF-2"),
    ]
    again = next(a for a in alerts(events) if a.id == "AF-2")
    assert 3620 < again.onset < again.time <= 3640


def test_stream_that_begins_with_a_gap(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle)
    events = [*engine.gap(3 * RATE), *engine.push(heart[: 20 * RATE]), *engine.finish()]
    assert technical(events)[0].time == 0.0
    assert [e.phase for e in technical(events, "lead_off")] == ["new", "end"]
    assert windows(engine) == 14


def test_windows_given_up_are_told_and_counted(bundle: Bundle, heart: np.ndarray) -> None:
    spy = Spy()
    engine = engine_for(bundle, spy)
    events = engine.push(heart[: 14 * RATE])
    judged = engine.analyzed
    engine.skip_windows(3)
    events += engine.push(heart[14 * RATE : 25 * RATE])
    engine.skip_windows(1)
    engine.skip_windows(2)  # the end of the stream comes within them
    events += [*engine.push(heart[25 * RATE : 26 * RATE]), *engine.finish()]
    told = technical(events)
    assert [(e.code, e.phase) for e in told] == [("overload", "once")] * 2
    assert told[0].counts == {"windows": 3}
    skipped = sum(e.counts["windows"] for e in told if e.counts)
    assert skipped == engine.skipped
    assert engine.analyzed == len(spy.seen) == 17 - skipped
    assert windows(engine) == 17
    assert judged >= 2
    # The signal of the windows given up is not lost to the one after them.
    assert any(np.array_equal(a[:, 400:], b[:, :-400]) for (a, _), (b, _) in pairwise(spy.seen))


def test_one_window_in_so_many_is_judged(bundle: Bundle, heart: np.ndarray) -> None:
    whole = Spy()
    all_of_it = run(engine_for(bundle, whole), heart)
    spy = Spy()
    engine = engine_for(bundle, spy)
    engine.stride = 5
    events = run(engine, heart)
    assert windows(engine) == len(whole.seen) == 31
    assert (engine.analyzed, engine.skipped) == (len(spy.seen), 31 - len(spy.seen))
    assert len(engine.take_arrivals()) == engine.analyzed
    for (signal, spectrogram), (expected, expected_too) in zip(spy.seen, whole.seen[::5], strict=True):
        np.testing.assert_array_equal(signal, expected, "the same windows, those that end at 10, 15, ... s")
        np.testing.assert_array_equal(spectrogram, expected_too)
    assert technical(events, "overload") == [], "it is no surprise"
    signs = [[e.time for e in kind if isinstance(e, Status)] for kind in (events, all_of_it)]
    assert signs[0] == signs[1] == [10.0, 20.0, 30.0, 40.0]


def test_a_window_that_is_both_shed_and_not_due_counts_once(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle)
    engine.stride = 2
    events = engine.push(heart[: 15 * RATE])
    engine.skip_windows(4)
    events += [*engine.push(heart[15 * RATE : 30 * RATE]), *engine.finish()]
    assert [e.counts for e in technical(events, "overload")] == [{"windows": 4}]
    assert windows(engine) == 21
    assert engine.analyzed == 11 - 2


def test_what_nobody_has_looked_for_is_unknown_and_ends(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle, Spy(lambda _: (5.0, -5.0, -5.0)))
    events = engine.push(heart[: 15 * RATE])
    assert [a.phase for a in alerts(events)] == ["new"]
    engine.stride = 30
    events += engine.push(heart[15 * RATE : 28 * RATE])
    (end,) = (a for a in alerts(events) if a.phase == "end")
    assert (end.time, end.reason) == (26.0, "unknown"), (
        "13 s is the last one judged, 12 s hold, the next probe is at 30"
    )


def test_laps_change_nothing_that_is_given(bundle: Bundle, heart: np.ndarray) -> None:
    plain, timed = (engine_for(bundle, rules=True) for _ in range(2))
    timed.laps = Laps()
    events = [run(engine, heart) for engine in (plain, timed)]
    assert account(events[0], plain.summary()) == account(events[1], timed.summary())
    timed.laps.window()
    taken = {stage for stage, histogram in timed.laps.histograms.items() if histogram.total_ms > 0}
    assert taken == {"front_end", "rules", "inference", "decision"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(("push", "gap", "skip", "off")), st.integers(0, 900)), max_size=8))
def test_every_window_is_accounted_for(bundle: Bundle, heart: np.ndarray, actions: list[tuple[str, int]]) -> None:
    engine = engine_for(bundle)
    frames = 0
    for what, size in actions:
        if what == "skip":
            engine.skip_windows(size % 5)
            continue
        if what == "gap":
            engine.gap(size)
        else:
            engine.push(heart[:size], invalid=np.ones((size, 2), bool) if what == "off" else None)
        frames += size
    engine.finish()
    samples = -(-frames * 100 // RATE)
    whole = samples // 100 - 9 if samples >= 1000 else int(frames >= 5 * RATE)
    assert windows(engine) == whole
    assert len(engine.take_arrivals()) == whole - engine.skipped


# Alerts and arrivals.


def test_alert_s_times(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle, Spy(lambda k: (5.0, 5.0, -5.0) if 7 <= k < 15 else (-5.0, 5.0, -5.0)))
    new, end = alerts(run(engine, heart))
    assert (new.phase, end.phase, end.reason) == ("new", "end", "below")
    assert (new.label, new.code, new.id, new.kind) == ("AF", "164889003", "AF-1", "model")
    assert (new.onset, new.time) == (17.0, 18.0)  # the windows are numbered from the one that ends at 10 s
    assert end.onset == new.onset
    assert end.time == 25.0 + POLICY.end_windows - 1
    assert new.leads == LEADS[:6]
    assert new.probability == pytest.approx(1 / (1 + np.exp(-5)))
    assert engine.summary().alerts == {"AF": 1}


def test_open_episode_ends_with_the_stream(bundle: Bundle, heart: np.ndarray) -> None:
    *_, last = run(engine_for(bundle, Spy(lambda _: (5.0, 5.0, 5.0))), heart)
    assert isinstance(last, Alert)
    assert (last.phase, last.reason, last.time) == ("end", "stream_end", 40.0)


def test_arrivals_are_handed_back_once_for_each_window_judged(bundle: Bundle, heart: np.ndarray) -> None:
    engine = engine_for(bundle)
    arrivals = []
    for start in range(0, len(heart), 25):
        engine.push(heart[start : start + 25], at=start + 25.0)
        arrivals += engine.take_arrivals()
        assert engine.take_arrivals() == []
    engine.finish(at=9999.0)
    arrivals += engine.take_arrivals()
    assert len(arrivals) == engine.analyzed == 31
    for number, at in enumerate(arrivals):
        if at < 9999:
            complete = (10 + number + engine.delay_seconds) * RATE
            assert complete - 25 <= at <= complete + 50


def test_sign_of_life_every_ten_hops(bundle: Bundle, heart: np.ndarray) -> None:
    events = run(engine_for(bundle), heart)
    assert [e.time for e in events if isinstance(e, Status)] == [10.0, 20.0, 30.0, 40.0]
    assert all(e.probabilities is None for e in events if isinstance(e, Status))


# The stream's format.


def test_single_lead(bundle: Bundle, heart: np.ndarray) -> None:
    spy = Spy()
    engine = engine_for(bundle, spy, leads=("II",))
    assert not technical(run(engine, heart[:, 1:]))
    assert all(np.flatnonzero(signal.any(axis=1)).tolist() == [LEADS.index("II")] for signal, _ in spy.seen)
    assert engine.summary().leads == ("II",)


def test_eight_leads_make_twelve(bundle: Bundle) -> None:
    counts = simulate([Episode("sinus rhythm", 12)], rate=RATE, leads=MEASURED_LEADS, seed=1).recording.counts
    engine = engine_for(bundle, leads=MEASURED_LEADS)
    run(engine, counts)
    assert engine.summary().leads == LEADS


@pytest.mark.parametrize(
    "stream",
    [StreamFormat(50, ("II",), MICROVOLT), StreamFormat(250, ("II",), 0), StreamFormat(250, ("II",), MICROVOLT, 55)],
)
def test_format_that_cannot_be_served_is_refused(bundle: Bundle, stream: StreamFormat) -> None:
    with pytest.raises(EcgEdgeError):
        Engine(bundle, Spy(), POLICY, stream)
