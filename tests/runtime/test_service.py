"""The service around the engine: stamping, shedding under overload, sinks that fail, ends of every kind."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime import service
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.engine import Engine, StreamFormat
from ecg_edge.runtime.events import Alert, Event, Status, Summary, Technical, to_dict, validate
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.service import Monitor, stopped_by_signals
from ecg_edge.runtime.sinks.jsonl import JsonLinesFile
from ecg_edge.runtime.sources.items import Chunk, Gap, Item, Notice

RATE = 250
FORMAT = StreamFormat(RATE, ("I", "II"), 1_000_000)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


class Clock:
    """Stands in for the module `time`: goes on only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(service, "time", self)

    def monotonic(self) -> float:
        return self.now


class SlowModel:
    """Answers each window after `seconds` of the clock; says what it says of a sinus rhythm."""

    name = "onnx"

    def __init__(self, clock: Clock | None = None, seconds: float = 0.0) -> None:
        self._clock, self._seconds = clock, seconds

    def logits(self, _signal: Any, _spectrogram: Any) -> np.ndarray:
        if self._clock:
            self._clock.now += self._seconds
        return np.array([-5.0, 5.0, -5.0], np.float32)


class Kept:
    """A sink that keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closed = False

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed = True


class Full(Kept):
    """A sink whose disk is full after `space` events."""

    def __init__(self, space: int) -> None:
        super().__init__()
        self._space = space

    def emit(self, event: Event) -> None:
        if len(self.events) == self._space:
            raise EcgEdgeError("no space left")
        super().emit(event)


class Script:
    """A source that gives a list of items; an exception in it is raised."""

    def __init__(self, *items: Item | Exception) -> None:
        self._items = items

    def items(self, stop: threading.Event) -> Iterator[Item]:
        for item in self._items:
            if stop.is_set():
                return
            if isinstance(item, Exception):
                raise item
            yield item

    def losses(self) -> dict[str, int]:
        return {"link_missing": 7}


def beats(seconds: float, at: float = 0.0, start: float = 0.0) -> Chunk:
    """Return a chunk of something like an ECG."""
    t = start + np.arange(round(seconds * RATE)) / RATE
    wave = 1000 * np.exp(-(((t % 0.8) - 0.4) ** 2) / 0.001) + 30 * np.sin(40 * t)
    return Chunk(np.stack([wave, 1.3 * wave], axis=1).astype(np.int32), None, at)


def monitor(
    bundle: Bundle, source: Any, *sinks: Any, model: SlowModel | None = None, probabilities: bool = True, **options: Any
) -> Monitor:
    policy = load_policy(None, labels=[c.abbreviation for c in bundle.manifest.classes])
    backend = model or SlowModel()
    return Monitor(source, lambda form: Engine(bundle, backend, policy, form, probabilities), sinks, **options)


def of(events: list[Event], kind: type) -> list[Any]:
    return [e for e in events if isinstance(e, kind)]


def test_a_stream_is_numbered_and_accounted_for(bundle: Bundle) -> None:
    sink = Kept()
    items = [FORMAT, beats(12), Gap(500, 0.0), Notice("link_lost", "new", "gone"), beats(15, start=14)]
    summary = monitor(bundle, Script(*items), sink, budget_ms=1e12).run()
    assert [e.seq for e in sink.events] == list(range(len(sink.events)))
    for event in sink.events:
        validate(to_dict(event))
    assert sink.events[-1] == replace(summary, seq=len(sink.events) - 1)
    assert sink.closed
    assert summary.signal_s == 29.0, "time goes on over a gap"
    assert summary.losses["link_missing"] == 7
    assert summary.losses["gap_frames"] == 500
    assert all(e.wall_time is None for e in sink.events), "a recording has no time of day"
    (lost,) = (e for e in of(sink.events, Technical) if e.code == "link_lost")
    assert lost.time == 14.0


def test_live_events_have_the_time_of_day_and_the_latency(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    sink = Kept()
    chunks = [beats(1, clock.now - 0.25, n) for n in range(15)]
    model = SlowModel()
    summary = monitor(bundle, Script(FORMAT, *chunks), sink, model=model, live=True, budget_ms=200).run()
    assert all(e.wall_time for e in sink.events)
    assert summary.latency_ms is not None
    assert summary.latency_ms["max"] == pytest.approx(250)
    windows = summary.windows["analyzed"]
    assert windows > 3
    # The last windows are completed by the end of the stream and not by a late chunk.
    assert 0 < windows - summary.misses <= 2  # type: ignore[operator]
    assert all(e.latency_ms is not None for e in of(sink.events, Alert))


@pytest.mark.parametrize("live", [True, False])
def test_overload_gives_windows_up_and_says_so(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, live: bool) -> None:
    clock = Clock(monkeypatch)
    begun = clock.now
    sink = Kept()

    class Live(Script):
        """Chunks of 0.1 s, which arrive at true time whether they are taken or not."""

        def items(self, _stop: threading.Event) -> Iterator[Item]:
            yield FORMAT
            for n in range(600):
                at = begun + (n + 1) * 0.1
                clock.now = max(clock.now, at)
                yield beats(0.1, at, n * 0.1)

    model = SlowModel(clock, 2.5)  # for what comes once a second
    summary = monitor(bundle, Live(), sink, model=model, live=live).run()
    windows = summary.windows
    lag = clock.now - (begun + 60)
    assert sum(windows.values()) == 51, "each window is judged or given up"
    if not live:
        assert windows["skipped"] == 0, "a recording waits"
        assert lag > 60
        return
    assert windows["skipped"] >= 25
    assert windows["analyzed"] >= 10, "it goes on with what it can do"
    assert lag < 6, "it does not fall behind"
    told = [e for e in of(sink.events, Technical) if e.code == "overload"]
    shed = sum(e.counts["windows"] for e in told)
    assert 5 <= shed < windows["skipped"], "the rest is not tried, see test_service_modes"
    told = [e for e in of(sink.events, Technical) if e.code == "degraded"]
    assert [e.phase for e in told] == ["new", "once"]
    assert told[1].time < 30
    assert sum(summary.modes.values()) == 51  # type: ignore[union-attr]
    assert len([e for e in of(sink.events, Status) if e.probabilities]) == windows["analyzed"]
    assert summary.misses == windows["analyzed"]


def test_a_stop_after_so_much_signal(bundle: Bundle) -> None:
    chunks = [beats(0.5, 0.0, n / 2) for n in range(100)]
    assert monitor(bundle, Script(FORMAT, *chunks), Kept(), seconds=12.4).run().signal_s == 12.5


def test_failure_of_the_source_comes_after_the_summary(bundle: Bundle) -> None:
    sink = Kept()
    with pytest.raises(EcgEdgeError, match="cable out"):
        monitor(bundle, Script(FORMAT, beats(12), EcgEdgeError("cable out")), sink).run()
    assert isinstance(sink.events[-1], Summary)
    assert sink.closed


def test_no_stream_is_no_summary(bundle: Bundle) -> None:
    sink = Kept()
    with pytest.raises(EcgEdgeError, match="check its firmware"):
        monitor(bundle, Script(), sink).run()
    assert sink.events == []
    assert sink.closed
    stopped = monitor(bundle, Script(), Kept())
    stopped.stop.set()
    with pytest.raises(EcgEdgeError, match="nothing was monitored"):
        stopped.run()


@pytest.mark.parametrize("space", [0, 3])
def test_a_full_disk_ends_the_run_in_order(bundle: Bundle, space: int) -> None:
    full, other = Full(space), Kept()
    chunks = [beats(1, 0.0, n) for n in range(100)]
    with pytest.raises(EcgEdgeError, match="no space left"):
        monitor(bundle, Script(FORMAT, *chunks), full, other).run()
    assert [e.seq for e in other.events] == list(range(len(other.events)))
    assert isinstance(other.events[-1], Summary)
    assert other.events[-1].signal_s < 20
    assert full.closed


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_log_on_a_full_disk(bundle: Bundle) -> None:
    log, other = JsonLinesFile(Path("/dev/full")), Kept()
    with pytest.raises(EcgEdgeError, match=r"cannot write events to /dev/full.*free the disk"):
        monitor(bundle, Script(FORMAT, beats(20)), log, other).run()
    assert isinstance(other.events[-1], Summary)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_in_order(bundle: Bundle, number: signal.Signals) -> None:
    class Endless(Script):
        def items(self, stop: threading.Event) -> Iterator[Item]:
            yield FORMAT
            yield beats(11)
            os.kill(os.getpid(), number)
            deadline = time.monotonic() + 30
            while not stop.is_set():
                assert time.monotonic() < deadline
                time.sleep(0.01)

    before = signal.getsignal(number)
    sink = Kept()
    running = monitor(bundle, Endless(), sink)
    with stopped_by_signals(running):
        assert running.run().signal_s == 11.0
        assert signal.getsignal(number) == signal.SIG_DFL, "a second one ends the process at once"
    assert signal.getsignal(number) == before
    assert isinstance(sink.events[-1], Summary)
