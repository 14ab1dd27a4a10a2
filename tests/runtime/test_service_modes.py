"""A live stream on a machine that is too slow for a while: modes entered, told, counted and left. No time is slept."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from ecg_edge.runtime import service
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.engine import Engine, StreamFormat
from ecg_edge.runtime.events import Alert, Event, Status, Summary, Technical, to_dict, validate
from ecg_edge.runtime.laps import STAGES
from ecg_edge.runtime.metrics import Metrics
from ecg_edge.runtime.one_branch import OneBranch
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.service import Monitor
from ecg_edge.runtime.sources.items import Chunk, Item

RATE = 250
FORMAT = StreamFormat(RATE, ("I", "II"), 1_000_000)
BEGUN = 1000.0


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


@dataclass
class Machine:
    """Clock, board, model and sink of one run: the board samples at true time, whether the machine keeps up or not."""

    seconds: int
    """Of signal."""
    costs: Callable[[float], float]
    """Seconds that the model takes for a window, by stream time."""
    off: tuple[float, float] = (0.0, 0.0)
    """Stream time from and to which all electrodes are off."""
    piece: float = 0.5
    """Seconds of signal in a chunk."""
    name: str = "onnx"
    now: float = BEGUN
    late: dict[float, float] = field(default_factory=dict)
    """By stream time, seconds by which a chunk is taken after its arrival."""
    tried: list[float] = field(default_factory=list)
    """Stream time of the chunk with which a window came to the model."""
    events: list[Event] = field(default_factory=list)
    _stream: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def logits(self, _signal: Any, _spectrogram: Any) -> np.ndarray:
        self.tried.append(self._stream)
        self.now += self.costs(self._stream)
        return np.array([-5.0, 5.0, -5.0], np.float32)

    def items(self, _stop: threading.Event) -> Iterator[Item]:
        yield FORMAT
        frames = round(self.piece * RATE)
        for n in range(round(self.seconds / self.piece)):
            t = (n * frames + np.arange(frames)) / RATE
            wave = 1000 * np.exp(-(((t % 0.8) - 0.4) ** 2) / 0.001) + 30 * np.sin(40 * t)
            self._stream = (n + 1) * self.piece
            at = BEGUN + self._stream
            self.now = max(self.now, at)
            self.late[self._stream] = self.now - at
            off = np.full((frames, 2), self.off[0] < self._stream <= self.off[1])
            yield Chunk(np.stack([wave, 1.3 * wave], axis=1).astype(np.int32), off, at)

    def losses(self) -> dict[str, int]:
        return {}

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None: ...

    @property
    def told(self) -> list[Technical]:
        return [e for e in self.events if isinstance(e, Technical) and e.code == "degraded"]


@pytest.fixture
def run(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Summary]:
    policy = load_policy(None, labels=[c.abbreviation for c in bundle.manifest.classes])

    def go(machine: Machine, rules: bool = True, **options: Any) -> Summary:
        monkeypatch.setattr(service, "time", machine)
        options = {"live": True, **options}
        return Monitor(
            machine, lambda form: Engine(bundle, machine, policy, form, rules=rules), [machine], **options
        ).run()

    return go


def slow_until(end: float, seconds: float = 2.5) -> Callable[[float], float]:
    return lambda stream: seconds if 30 < stream <= end else 0.05


def names(told: list[Technical]) -> list[tuple[str, str]]:
    return [(e.phase, e.message.split(":")[0]) for e in told]


def test_modes_are_entered_told_counted_and_left(run: Any) -> None:
    machine = Machine(400, slow_until(120))
    summary = run(machine)
    assert names(machine.told) == [
        ("new", "long_hop"),
        ("once", "longer_hop"),
        ("once", "rules_only"),
        ("once", "longer_hop"),
        ("once", "long_hop"),
        ("end", "full"),
    ]
    assert [e.counts["stride"] for e in machine.told if e.counts] == [2, 5, 30, 5, 2, 1]
    into, back = machine.told[:3], machine.told[3:]
    assert all("too slow" in e.message and "unknown, not normal" in e.message for e in into)
    assert all("has room again" in e.message for e in back)
    late = [e for e in machine.events if isinstance(e, Technical) and e.code == "over_budget"]
    assert [(e.phase, e.message) for e in late] == [
        ("new", "windows miss the budget of 100 ms: alerts come late"),
        ("end", "windows keep the budget of 100 ms again"),
    ]
    assert 30 < late[0].time < 45
    assert late[1].time > 120
    assert 30 < into[0].time < into[1].time < into[2].time < 70, "quickly down"
    assert back[0].time > 120, "not up while it is slow"
    # Each window went by in one of the modes, and was judged or given up.
    assert sum(summary.windows.values()) == 391
    assert summary.modes is not None
    assert sum(summary.modes.values()) == 391
    assert set(summary.modes) == {"full", "long_hop", "longer_hop", "rules_only"}
    # 30 windows at 1 in 5, then 30 at 1 in 2, on the way back, and a few on the way down.
    assert 150 <= summary.modes["longer_hop"] <= 180
    assert 60 <= summary.modes["long_hop"] <= 80
    assert summary.windows["analyzed"] == len(machine.tried)
    # In rules_only the model is tried one window in 30, and is not tried otherwise.
    alone = [s for s in machine.tried if into[2].time < s < back[0].time]
    assert set(np.diff(alone)) == {30.0}
    # The latency does not run away: the longest wait is for one window, and what comes within it.
    assert max(machine.late.values()) < 3.5
    assert max(late for stream, late in machine.late.items() if stream > 130) < 0.1


def test_events_of_modes_stand_in_order(run: Any) -> None:
    machine = Machine(150, slow_until(60))
    summary = run(machine)
    assert [e.seq for e in machine.events] == list(range(len(machine.events)))
    for event in machine.events:
        validate(to_dict(event))
    assert machine.events[-1] == replace(summary, seq=len(machine.events) - 1, wall_time=machine.events[-1].wall_time)
    times = [e.time for e in machine.told]
    assert times == sorted(times)
    for event in machine.told:
        assert event.wall_time is not None
        assert event.time % machine.piece == 0, "stream time of the chunk that was taken when it was decided"
    walls = [datetime.fromisoformat(e.wall_time) for e in machine.told if e.wall_time]
    assert walls == sorted(walls)


def test_signs_of_life_go_on_while_the_model_rests(run: Any) -> None:
    machine = Machine(200, lambda stream: 2.5 if stream > 30 else 0.05)
    run(machine)
    assert names(machine.told)[-1] == ("once", "rules_only")
    status = [e for e in machine.events if isinstance(e, Status)]
    assert [e.time for e in status] == [10.0 * n for n in range(1, 21)], "every 10 s, whatever is given up"
    assert all(e.heart_rate == pytest.approx(75, abs=1) for e in status[1:]), "the rules know the rate"


def test_without_rules_the_model_goes_on_one_window_in_five(run: Any) -> None:
    machine = Machine(160, lambda stream: 2.5 if stream > 30 else 0.05)
    summary = run(machine, rules=False)
    assert names(machine.told) == [("new", "long_hop"), ("once", "longer_hop")]
    late = [s for s in machine.tried if 60 < s < 155]  # the last ones come with the end of the stream
    assert set(np.diff(late)) == {5.0}
    assert sum(summary.windows.values()) == sum(summary.modes.values()) == 151


@pytest.mark.parametrize("hiccup", [0.3, 3.0, 10.0, 60.0])
def test_a_single_hiccup_is_a_step_at_most(run: Any, hiccup: float) -> None:
    hiccups = iter([hiccup])
    machine = Machine(200, lambda stream: next(hiccups, 0.05) if stream > 40 else 0.05)
    summary = run(machine)
    if hiccup < 4:
        assert machine.told == []
        assert summary.modes == {"full": 191}
    else:
        assert names(machine.told)[0] == ("new", "long_hop")
        assert [e.phase for e in machine.told] == ["new", "end"], "and it is over by itself"


def test_what_comes_at_once_is_late_at_once(run: Any) -> None:
    """Twelve windows in a chunk, 0.05 s each: all but the first are over the budget, and it is one hiccup."""
    machine = Machine(36, lambda _: 0.05, piece=12.0)
    summary = run(machine)
    assert summary.misses > 20
    assert machine.told == []


def test_a_window_without_a_usable_lead_says_nothing_of_the_model(run: Any) -> None:
    machine = Machine(300, lambda stream: 2.5 if stream > 30 else 0.05, off=(100, 280))
    run(machine)
    assert names(machine.told)[-1] == ("once", "rules_only"), "windows that cost nothing do not count as room"
    lost = [e for e in machine.events if isinstance(e, Technical) and e.code == "signal_lost"]
    assert [e.phase for e in lost] == ["new", "end"]
    assert 100 < lost[0].time < 115, "told when it is known and not at the next probe"


def test_a_budget_that_is_kept_degrades_nothing(run: Any) -> None:
    machine = Machine(60, lambda _: 0.4)
    assert run(machine, budget_ms=500).modes == {"full": 51}
    assert run(Machine(15, lambda _: 0.0)).windows["skipped"] == 0


def test_a_slow_model_that_keeps_up_goes_on_and_is_said_to_be_late(run: Any) -> None:
    machine = Machine(60, lambda _: 0.4)
    summary = run(machine, budget_ms=300)
    assert summary.modes == {"full": 51}
    assert summary.misses == 51
    late = [e for e in machine.events if isinstance(e, Technical) and e.code == "over_budget"]
    assert [(e.phase, e.time) for e in late] == [("new", 15.5)]  # the fifth window, of 14 s; the filters lag by 1.47 s
    assert machine.told == []


class Light:
    """A model of one branch that takes 0.05 s and finds what the whole one does not."""

    name = "onnx"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.asked: list[float] = []

    def logits(self, _signal: Any, _spectrogram: Any) -> np.ndarray:
        self.asked.append(self.machine._stream)
        self.machine.now += 0.05
        return np.array([-5.0, -5.0, 1.0], np.float32)


def test_a_lighter_model_takes_over_and_hands_back(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(200, lambda stream: 0.3 if 30 < stream <= 60 else 0.06)
    light = Light(machine)
    # The light bundle's own threshold of PVC, .7, is below its answer, .73; that of the other would be above.
    theirs = replace(bundle.manifest, name="tiny-signal", classes=with_thresholds(bundle, 0.7))
    mine = replace(bundle, manifest=replace(bundle.manifest, classes=with_thresholds(bundle, 0.8)))
    stands_in = OneBranch(replace(bundle, manifest=theirs), light)
    monkeypatch.setattr(service, "time", machine)
    policy = load_policy(None, labels=[c.abbreviation for c in bundle.manifest.classes])
    summary = Monitor(
        machine, lambda form: Engine(mine, machine, policy, form, rules=True, light=stands_in), [machine], live=True
    ).run()
    assert [(e.phase, e.message) for e in machine.told] == [
        ("new", "one_branch: this machine is too slow, every window is analyzed by tiny-signal, from the signal alone"),
        ("end", "full: this machine has room again, every window is analyzed"),
    ]
    assert [e.counts["one_branch"] for e in machine.told if e.counts] == [1, 0]
    assert summary.windows == {"analyzed": 191, "skipped": 0, "unusable": 0}
    assert len(light.asked) == summary.modes["one_branch"]
    assert len(light.asked) + len(machine.tried) == 191
    found = [(e.label, e.phase) for e in machine.events if isinstance(e, Alert) and e.kind == "model"]
    assert ("PVC", "new") in found
    assert ("PVC", "end") in found


def with_thresholds(bundle: Bundle, threshold: float) -> tuple[ClassInfo, ...]:
    return tuple(replace(c, threshold=threshold) for c in bundle.manifest.classes)


def test_metrics_have_modes_and_stages(run: Any) -> None:
    known = Metrics()
    summary = run(Machine(100, slow_until(60)), metrics=known)
    text = known.text()
    for mode, count in summary.modes.items():
        assert f'ecg_edge_mode_windows_total{{mode="{mode}"}} {count}\n' in text
    assert text.count("# TYPE ecg_edge_stage_seconds histogram\n") == 1
    for stage in STAGES:
        assert f'ecg_edge_stage_seconds_bucket{{stage="{stage}",le="+Inf"}}' in text
        assert f'ecg_edge_stage_seconds_count{{stage="{stage}"}}' in text


def test_metrics_follow_windows_that_nobody_judges(run: Any) -> None:
    """Silence of the metrics is for alarming on, so what is given up is not silence."""

    class Ages(Metrics):
        def __init__(self) -> None:
            super().__init__()
            self.windows: list[int] = []

        def update(self, summary: Summary, *rest: Any) -> None:
            self.windows.append(sum(summary.windows.values()))
            super().update(summary, *rest)

    known = Ages()
    run(Machine(100, lambda stream: 2.5 if stream > 20 else 0.05), metrics=known)
    assert known.windows[:89] == list(range(1, 90))
    assert known.windows[-1] == 91


def test_of_a_record_nothing_is_degraded_and_no_time_is_kept(run: Any) -> None:
    slow = Machine(60, lambda _: 2.5)
    summary = run(slow, live=False)
    assert summary.windows == {"analyzed": 51, "skipped": 0, "unusable": 0}
    assert (summary.modes, summary.stages_ms) == (None, None)
    assert not {"modes", "stages_ms"} & set(to_dict(summary))
    fast = Machine(60, lambda _: 0.0)
    run(fast, live=False)
    machine_fields = {"latency_ms", "misses"}
    bare = [[{k: v for k, v in to_dict(e).items() if k not in machine_fields} for e in m.events] for m in (slow, fast)]
    assert bare[0] == bare[1]


def test_stages_are_in_the_summary_of_a_live_run(run: Any) -> None:
    summary = run(Machine(30, lambda _: 0.0))
    assert summary.stages_ms is not None
    assert tuple(sorted(summary.stages_ms)) == tuple(sorted(STAGES))
    assert summary.stages_ms["front_end"]["p50"] > 0
    assert summary.stages_ms["rules"]["p50"] > 0
    assert summary.stages_ms["queue"]["max"] == 0, "the clock of the service stands still but for the model"
