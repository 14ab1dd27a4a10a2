"""The service and the clocks: times of day by the device's clock, steps and drift told, the watchdog fed by data."""

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.device_clock import ClockReading
from ecg_edge.runtime import service
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.engine import Engine, StreamFormat
from ecg_edge.runtime.events import Event, Summary, Technical, to_dict
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.service import Monitor
from ecg_edge.runtime.sources.items import Chunk, Item, Notice, Tick
from ecg_edge.runtime.systemd import Notifier
from ecg_edge.runtime.wall_clock import WallClock

from .test_systemd import Manager

RATE = 250
FORMAT = StreamFormat(RATE, ("I", "II"), 1_000_000)
WALL = 1_700_000_000.0


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


class Model:
    """Says of each window what it says of a sinus rhythm, after a pause."""

    name = "onnx"

    def __init__(self, pause: Callable[[], None] = lambda: None) -> None:
        self._pause = pause

    def logits(self, _signal: Any, _spectrogram: Any) -> np.ndarray:
        self._pause()
        return np.array([-5.0, 5.0, -5.0], np.float32)


class Kept:
    """A sink that keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None: ...

    def technical(self, *codes: str) -> list[Technical]:
        return [e for e in self.events if isinstance(e, Technical) and e.code in codes]


class Machine:
    """This machine's clocks, and what happens before some seconds of signal."""

    def __init__(self, seconds: int, delay: Callable[[int], float] = lambda _: 0.02, **before: Any) -> None:
        self.monotonic, self.set_by = 1000.0, 0.0
        self._seconds, self._delay, self._before = seconds, delay, before

    def wall_clock(self) -> WallClock:
        return WallClock(lambda: self.monotonic, lambda: WALL + self.monotonic - 1000.0 + self.set_by)

    def items(self, _stop: threading.Event) -> Iterator[Item]:
        yield FORMAT
        for n in range(self._seconds):
            yield from self._before.get(f"at_{n}", lambda _: ())(self) or ()
            t = np.arange(n * RATE, (n + 1) * RATE) / RATE
            wave = 1000 * np.exp(-(((t % 0.8) - 0.4) ** 2) / 0.001) + 30 * np.sin(40 * t)
            sampled = 1000.0 + n + 1
            self.monotonic = max(self.monotonic, sampled + self._delay(n))
            yield Chunk(np.stack([wave, 1.3 * wave], axis=1).astype(np.int32), None, self.monotonic, sampled)

    def losses(self) -> dict[str, int]:
        return {}


@pytest.fixture
def run(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Kept, Summary]]:
    """Return a function that runs a stream on a machine and returns what came of it."""
    policy = load_policy(None, labels=[c.abbreviation for c in bundle.manifest.classes])

    class Time:
        def __init__(self, machine: Machine) -> None:
            self.monotonic = lambda: machine.monotonic

    def go(machine: Machine, live: bool = True) -> tuple[Kept, Summary]:
        monkeypatch.setattr(service, "WallClock", machine.wall_clock)
        monkeypatch.setattr(service, "time", Time(machine))
        kept = Kept()
        return kept, Monitor(machine, lambda f: Engine(bundle, Model(), policy, f, True), [kept], live=live).run()

    return go


def wall(event: Event) -> float:
    assert event.wall_time is not None
    return datetime.fromisoformat(event.wall_time).timestamp()


def test_times_of_day_are_those_of_the_signal_and_not_of_its_arrival(run: Any) -> None:
    delays = np.random.default_rng(1).exponential(0.3, 40)
    kept, _ = run(Machine(40, lambda n: float(delays[n])))
    told = [e for e in kept.events if not isinstance(e, Summary)]
    assert len(told) > 25
    for event in told:
        assert wall(event) - WALL == pytest.approx(event.time, abs=0.0011)


def step(seconds: float) -> Callable[[Machine], None]:
    return lambda machine: setattr(machine, "set_by", seconds)


@pytest.mark.parametrize(("seconds", "words", "counts"), [
    (3600.0, "set forward by 3600.000 s", {"forward_ms": 3_600_000}),
    (-90.5, "set back by 90.500 s", {"back_ms": 90_500}),
])  # fmt: skip
def test_a_clock_that_is_set_is_told_once_and_changes_nothing_else(
    run: Any, seconds: float, words: str, counts: dict[str, int]
) -> None:
    plain, _ = run(Machine(30))
    kept, _ = run(Machine(30, at_20=step(seconds)))
    (told,) = kept.technical("clock_step")
    assert (told.phase, told.time, told.counts) == ("once", 20.0, counts)
    assert words in told.message

    def bare(events: list[Event]) -> list[str]:
        machine = {"seq", "wall_time", "stages_ms"}
        return [json.dumps({k: v for k, v in to_dict(e).items() if k not in machine}) for e in events]

    rest = [e for e in kept.events if e is not told]
    assert bare(rest) == bare(plain.events), "stream times, latencies, alerts"
    for before, after in zip(plain.events, rest, strict=True):
        expected = 0.0 if after.seq < told.seq else seconds  # type: ignore[operator]
        assert wall(after) - wall(before) == pytest.approx(expected, abs=0.0011)


def test_link_events_have_the_time_at_which_they_are_told(run: Any) -> None:
    def away(machine: Machine) -> Iterator[Item]:
        yield Notice("link_lost", "new", "gone")
        machine.monotonic += 7200
        yield Notice("link_restored", "once", "back")

    kept, _ = run(Machine(15, at_12=away))
    lost, back = kept.technical("link_lost", "link_restored")
    assert lost.time == back.time == 12.0
    assert wall(back) - wall(lost) == pytest.approx(7200, abs=0.01)


@pytest.mark.parametrize(
    ("ppm", "told"), [(12_000.0, ["12005 ppm (1.20 %) fast"]), (-2_500.0, ["2495 ppm (0.25 %) slow"]), (50.0, [])]
)
def test_the_drift_is_shown_and_a_large_one_told(run: Any, ppm: float, told: list[str]) -> None:
    readings = {f"at_{n}": lambda _, n=n: [ClockReading(ppm + n, 4.04)] for n in (5, 6, 7)}
    kept, summary = run(Machine(12, **readings))
    assert summary.clock == {"drift_ppm": ppm + 7, "uncertainty_ppm": 4.04}
    assert [words in e.message for e, words in zip(kept.technical("clock_drift"), told, strict=True)] == [True] * len(
        told
    )
    _, replayed = run(Machine(12, **readings), live=False)
    assert replayed.clock is None, "of a recording nothing depends on a clock"


def test_an_uncertain_drift_is_not_told(run: Any) -> None:
    kept, _ = run(Machine(12, at_5=lambda _: [ClockReading(3000.0, 900.0)]))
    assert kept.technical("clock_drift") == []


# The watchdog ----------------------------------------------------------------------------------------------------


@pytest.fixture
def manager() -> Iterator[Manager]:
    with tempfile.TemporaryDirectory() as folder:
        made = Manager(str(Path(folder) / "notify"))
        yield made
        made.close()


def watched(
    bundle: Bundle, manager: Manager, items: Callable[[threading.Event], Iterator[Item]], model: Model | None = None
) -> Monitor:
    class Source:
        def losses(self) -> dict[str, int]:
            return {}

    policy = load_policy(None, labels=[c.abbreviation for c in bundle.manifest.classes])
    source: Any = Source()
    source.items = items
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": str(os.getpid())})
    answers = model or Model()
    return Monitor(source, lambda f: Engine(bundle, answers, policy, f), [Kept()], live=True, notifier=notifier)


def signal(seconds: int) -> Chunk:
    t = np.arange(seconds * RATE) / RATE
    wave = 1000 * np.exp(-(((t % 0.8) - 0.4) ** 2) / 0.001) + 30 * np.sin(40 * t)
    return Chunk(np.stack([wave, 1.3 * wave], axis=1).astype(np.int32), None, time.monotonic())


def test_ready_when_the_device_has_said_what_it_sends_and_alive_while_it_is_away(
    bundle: Bundle, manager: Manager
) -> None:
    heard: dict[str, list[str]] = {}

    def items(_stop: threading.Event) -> Iterator[Item]:
        yield Tick()
        heard["before"] = manager.heard()
        yield FORMAT
        yield signal(14)
        heard["at first"] = manager.heard()
        yield Notice("link_lost", "new", "cable out")
        for _ in range(20):  # a restart would not plug the cable in, and would lose what is known of the patient
            time.sleep(0.05)
            yield Tick()
        heard["away"] = manager.heard()
        yield Notice("link_restored", "once", "samples come again")
        heard["back"] = manager.heard()

    watched(bundle, manager, items).run()
    assert heard["before"] == ["WATCHDOG=1", "STATUS=waiting for the device to say what it sends"]
    assert heard["at first"][0] == "READY=1"
    assert heard["away"][0] == "STATUS=link lost: cable out"
    assert heard["away"].count("WATCHDOG=1") >= 5
    assert heard["back"][0] == "STATUS=14 s of signal, 3 windows analyzed, 0 skipped"
    assert manager.heard() == ["STOPPING=1"]


def test_a_hung_engine_starves_the_watchdog(bundle: Bundle, manager: Manager) -> None:
    hung, going_on = threading.Event(), threading.Event()

    def hang() -> None:
        hung.set()
        going_on.wait(60)

    def items(_stop: threading.Event) -> Iterator[Item]:
        yield FORMAT
        yield signal(12)

    thread = threading.Thread(target=watched(bundle, manager, items, Model(hang)).run)
    thread.start()
    assert hung.wait(60)
    manager.heard()
    time.sleep(1.0)  # ten times as long as between two signs of life
    assert manager.heard() == []
    going_on.set()
    thread.join(60)
    assert "WATCHDOG=1" in manager.heard()
