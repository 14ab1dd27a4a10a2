"""The rhythm rules on simulated hearts: each finding in time, nothing where nothing is, the same however it is cut."""

from collections.abc import Sequence

import numpy as np
import pytest

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.bundle import load
from ecg_edge.runtime.engine import Engine
from ecg_edge.runtime.events import Alert, Event, Status, Technical, stamp, to_json
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.rhythm.monitor import RhythmMonitor
from ecg_edge.runtime.sources.items import format_of

SINUS = Episode("sinus rhythm", 20)
EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
LEADS = {"8 leads": EIGHT, "1 lead": ("II",)}


class Silent:
    """A model that finds nothing."""

    name = "none"

    def __init__(self, classes: int) -> None:
        self.answer = np.full(classes, -20.0, dtype=np.float32)

    def logits(self, signal: np.ndarray, spectrogram: np.ndarray) -> np.ndarray:
        return self.answer


@pytest.fixture(scope="module")
def bundle(tiny_bundle, tmp_path_factory):
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


@pytest.fixture(scope="module")
def play(bundle):
    """Return a function that runs a recording through an engine in chunks and returns the engine and its events."""

    def play(recording: Recording, chunks: Sequence[int] = (), policy=None) -> tuple[Engine, list[Event]]:
        policy = policy or load_policy()
        engine = Engine(
            bundle, Silent(len(bundle.manifest.classes)), policy, format_of(recording), rules=True, keep_beats=True
        )
        edges = np.cumsum(chunks)[:-1] if len(chunks) else []
        events: list[Event] = []
        off = recording.invalid if recording.invalid is not None else np.zeros(recording.counts.shape, np.bool_)
        for counts, invalid in zip(np.split(recording.counts, edges), np.split(off, edges), strict=True):
            events += engine.push(counts, invalid=invalid)
        return engine, events + engine.finish()

    return play


def told(events: Sequence[Event]) -> list[tuple[str, float]]:
    """Return (label, time) of each rule alert that was announced."""
    return [(e.label, e.time) for e in events if isinstance(e, Alert) and e.phase == "new" and e.kind == "rule"]


@pytest.mark.parametrize("leads", LEADS.values(), ids=LEADS)
@pytest.mark.parametrize(
    ("episode", "label", "latest"),
    [
        (Episode("asystole", 12), "Asystole", 5.0),
        (Episode("ventricular fibrillation", 12), "VF", 5.2),
        (Episode("ventricular tachycardia", 12), "VF|VT", 5.2),
        (Episode("sinus tachycardia", 12, bpm=160), "ExtremeTachy", 8.0),  # 17 beats take 6.4 s
        (Episode("sinus bradycardia", 16, bpm=32), "ExtremeBrady", 9.5),  # 4 intervals take 7.5 s
        (Episode("asystole", 2.6), "Pause", 4.0),
    ],
    ids=lambda value: value.rhythm if isinstance(value, Episode) else None,
)
def test_every_finding_is_announced_in_time(play, leads, episode, label, latest):
    simulated = simulate([SINUS, episode, Episode("sinus rhythm", 12)], rate=250, leads=leads, seed=2)
    engine, events = play(simulated.recording)
    found = told(events)
    first = [(name, time) for name, time in found if name in label.split("|")]
    assert first, found
    assert SINUS.seconds <= first[0][1] + engine.rules_delay_seconds <= SINUS.seconds + latest
    # What was announced before it or beside it are only its forerunners.
    assert {name for name, _ in found} <= {*label.split("|"), "Pause", "VT", "ExtremeTachy"}


@pytest.mark.parametrize("leads", LEADS.values(), ids=LEADS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_announced_in_rhythms_that_need_nobody(play, leads, seed):
    episodes = [
        Episode("sinus rhythm", 30, premature_ventricular=12, premature_atrial=8),
        Episode("atrial fibrillation", 30, bpm=90),
        Episode("left bundle branch block", 20),
        Episode("sinus bradycardia", 20, bpm=48),
    ]
    simulated = simulate(episodes, rate=250, leads=leads, seed=seed)
    engine, events = play(simulated.recording)
    assert told(events) == []
    # All beats are found but for those of the first seconds, from which a beat was learned.
    times = np.array([time for time, _ in engine.take_beats()])
    truth = np.array([b.time for b in simulated.beats if 5 < b.time < 99])
    distance = np.abs(truth[:, None] - times[None, :]).min(axis=1)
    assert np.mean(distance < 0.15) > 0.97


def test_a_latched_alert_lasts_until_it_is_acknowledged_and_comes_again(play, bundle):
    episodes = [SINUS, Episode("asystole", 8), SINUS, Episode("asystole", 8), SINUS]
    recording = simulate(episodes, rate=250, leads=("II",), seed=2).recording
    engine = Engine(bundle, Silent(3), load_policy(), format_of(recording), rules=True)
    events = engine.push(recording.counts[: 45 * 250])
    held = [e for e in events if isinstance(e, Alert) and e.label == "Asystole"]
    assert [(e.phase, e.latched) for e in held] == [("new", None), ("update", True)]
    assert [(e.id, e.reason) for e in engine.acknowledge("Asystole")] == [("Asystole-1", "acknowledged")]
    events = engine.push(recording.counts[45 * 250 :]) + engine.finish()
    again = [e.id for e in events if isinstance(e, Alert) and e.label == "Asystole" and e.phase == "new"]
    assert again == ["Asystole-2"]


def test_electrodes_off_are_no_asystole(play):
    recording = simulate(
        [Episode("sinus rhythm", 60)], rate=250, leads=("I", "II"), seed=3, lead_off=[("I", 20, 40), ("II", 20, 40)]
    ).recording
    _, events = play(recording)
    assert told(events) == []
    assert any(isinstance(e, Technical) and e.code == "lead_off" for e in events)
    rates = {e.time: e.heart_rate for e in events if isinstance(e, Status)}
    assert rates[10.0] == pytest.approx(68, abs=8)
    assert rates[30.0] is None, "unknown is not zero"
    assert rates[60.0] == pytest.approx(68, abs=8)


def test_time_goes_on_while_no_electrode_is_on(play):
    """What comes after it is found where it is, and in time."""
    off = [(lead, 20, 50) for lead in ("I", "II")]
    episodes = [Episode("sinus rhythm", 80), Episode("asystole", 12)]
    simulated = simulate(episodes, rate=250, leads=("I", "II"), seed=3, lead_off=off)
    engine, events = play(simulated.recording)
    ((label, time),) = [(label, time) for label, time in told(events) if label != "Pause"]
    assert label == "Asystole"
    assert 80 <= time + engine.rules_delay_seconds <= 85
    found = np.array([t for t, _ in engine.take_beats()])
    truth = np.array([b.time for b in simulated.beats if 53 < b.time < 79])
    assert np.abs(truth[:, None] - found[None, :]).min(axis=1).max() < 0.15


@pytest.mark.parametrize(
    ("rhythm", "label", "latest"), [("asystole", "Asystole", 5), ("ventricular fibrillation", "VF", 5.2)]
)
@pytest.mark.parametrize("lost", [0.01, 0.03])
def test_lost_packets_do_not_blind_the_rules(bundle, rhythm, label, latest, lost):
    recording = simulate([Episode("sinus rhythm", 30), Episode(rhythm, 15)], rate=500, leads=EIGHT, seed=3).recording
    engine = Engine(bundle, Silent(3), load_policy(), format_of(recording), rules=True)
    rng = np.random.default_rng(3)
    events: list[Event] = []
    for start in range(0, len(recording.counts), 10):  # 20 ms a packet
        events += engine.gap(10) if rng.random() < lost else engine.push(recording.counts[start : start + 10])
    assert engine.gap_frames > 100
    (time,) = (time for name, time in told(events) if name == label)
    assert 30 < time <= 30 + latest
    assert all(e.heart_rate for e in events if isinstance(e, Status) and e.time <= 30), "and the rate is known"


def test_a_longer_gap_is_not_bridged(bundle):
    recording = simulate([Episode("sinus rhythm", 40)], rate=500, leads=EIGHT, seed=3).recording
    engine = Engine(bundle, Silent(3), load_policy(), format_of(recording), rules=True)
    engine.push(recording.counts[: 500 * 20])
    assert engine._rhythm.heart_rate
    engine.gap(100)
    engine.push(recording.counts[500 * 20 + 100 : 500 * 22])
    assert engine._rhythm.heart_rate is None, "what lies between the beats before and after is not known"


def test_one_electrode_off_takes_nothing_from_the_others(play):
    episodes = [SINUS, Episode("ventricular fibrillation", 12)]
    simulated = simulate(episodes, rate=250, seed=2, lead_off=[("V2", 8, 32), ("V5", 15, 25)])
    _, events = play(simulated.recording)
    assert [label for label, _ in told(events)] == ["VF"]
    alert = next(e for e in events if isinstance(e, Alert))
    assert "V2" not in alert.leads
    assert alert.quality < 1


@pytest.mark.parametrize("is_asystole", [True, False])
def test_a_flat_line_is_asystole_only_where_the_policy_says_so_and_never_silently(play, tmp_path, is_asystole):
    recording = simulate([Episode("sinus rhythm", 40)], rate=250, leads=("I", "II"), seed=3).recording
    recording.counts[20 * 250 :] = recording.counts[20 * 250]
    path = tmp_path / "policy.toml"
    path.write_text(f"[rules]\nflat_line_is_asystole = {str(is_asystole).lower()}\n")
    _, events = play(recording, policy=load_policy(path))
    assert [label for label, _ in told(events) if label != "Pause"] == (["Asystole"] if is_asystole else [])
    assert any(isinstance(e, Technical) and e.code == "flat_line" for e in events)
    assert all(e.quality == 0 for e in events if isinstance(e, Alert) and e.label == "Asystole" and e.phase == "new")


def test_a_line_that_was_never_alive_is_no_asystole(play):
    counts = np.full((30 * 250, 1), 700, dtype=np.int32)
    _, events = play(Recording("flat", 250, ("II",), counts, 1_000_000))
    assert told(events) == []


def test_noise_on_one_of_the_leads_brings_neither_fibrillation_nor_a_flood_of_beats(play):
    simulated = simulate([Episode("sinus rhythm", 60)], rate=250, leads=("I", "II", "V5"), seed=4)
    recording = simulated.recording
    rng = np.random.default_rng(0)
    time = np.arange(10 * 250) / 250
    recording.counts[20 * 250 : 30 * 250, 1] += (1500 * np.sin(2 * np.pi * 5 * time)).astype(np.int32)  # rubbing
    recording.counts[40 * 250 : 50 * 250, 0] += rng.integers(-1500, 1500, 10 * 250).astype(np.int32)
    engine, events = play(recording)
    assert told(events) == []
    assert len(engine.take_beats()) <= 1.05 * len(simulated.beats)


def test_the_events_do_not_depend_on_how_the_samples_were_cut(play):
    episodes = [SINUS, Episode("ventricular fibrillation", 9), Episode("asystole", 8), SINUS]
    recording = simulate(
        episodes, rate=257, leads=("I", "II", "V2"), seed=5, lead_off=[("V2", 10, 22), ("I", 40, 44.3)]
    ).recording
    n = len(recording.counts)
    rng = np.random.default_rng(1)
    whole = lines(play(recording)[1])
    for chunks in ([1] * 300 + [n - 300], cut(n, 20, rng), cut(n, 700, rng), [3 * 257] * (n // 771) + [n % 771]):
        assert lines(play(recording, chunks)[1]) == whole


@pytest.mark.parametrize("leads", LEADS.values(), ids=LEADS)
def test_a_calm_second_taken_at_once_gives_what_its_quarters_give(play, monkeypatch, leads):
    episodes = [
        Episode("sinus rhythm", 60, premature_ventricular=5),
        *(Episode("asystole", 7), Episode("sinus rhythm", 30), Episode("ventricular fibrillation", 9)),
        *(Episode("atrial fibrillation", 30, bpm=95), Episode("sinus tachycardia", 30, bpm=150)),
    ]
    lead_off = [(leads[0], 12, 16)] if len(leads) > 1 else []
    recording = simulate(episodes, rate=250, leads=leads, seed=7, lead_off=lead_off).recording
    pushed = []
    push = RhythmMonitor.push
    monkeypatch.setattr(RhythmMonitor, "push", lambda m, b, i, times: pushed.append(len(times)) or push(m, b, i, times))
    at_once = play(recording)
    assert pushed.count(4) > 20, "it is calm again and again"
    pushed.clear()
    monkeypatch.setattr(RhythmMonitor, "_is_calm", lambda m: False)
    one_by_one = play(recording)
    assert set(pushed) == {1}
    assert lines(at_once[1]) == lines(one_by_one[1])
    assert at_once[0].take_beats() == one_by_one[0].take_beats()


def test_an_asystole_of_the_rules_silences_the_rhythms_of_the_model(play, bundle):
    simulated = simulate([Episode("atrial fibrillation", 40), Episode("asystole", 30)], rate=250, leads=("II",), seed=2)
    sure = Silent(3)
    sure.answer[:] = 20.0  # of everything, all the time
    engine = Engine(bundle, sure, load_policy(), format_of(simulated.recording), rules=True)
    events = engine.push(simulated.recording.counts) + engine.finish()
    ends = [(e.label, e.reason) for e in events if isinstance(e, Alert) and e.phase == "end" and e.kind == "model"]
    assert ("AF", "suppressed") in ends


def cut(n: int, mean: int, rng: np.random.Generator) -> list[int]:
    """Return lengths of chunks that add up to n."""
    edges = np.sort(rng.integers(0, n, n // mean))
    return np.diff([0, *edges.tolist(), n]).tolist()


def lines(events: Sequence[Event]) -> list[str]:
    return [to_json(stamp(event, seq=k)) for k, event in enumerate(events)]
