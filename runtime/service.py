"""What waits, around the engine that does not: takes items from a source, stamps events, feeds the sinks."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Protocol

from ecg_edge.firmware_bridge.device_clock import ClockReading
from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .control import Control
from .degradation import FULL, MODES, RULES_ONLY, Degradation, Mode
from .engine import Engine, StreamFormat
from .events import Event, Summary, Technical, stamp
from .laps import Laps
from .latency import LatencyHistogram
from .metrics import Metrics
from .recorder.recorder import Recorder
from .sinks import Outlet, Sink
from .sources.items import Chunk, Gap, Item, Notice, Tick
from .systemd import Notifier
from .wall_clock import WallClock

DEFAULT_BUDGET_MS = 100.0
LATE_HOPS = 1.0  # a live chunk older than this many hops means overload: the next window is given up
SETTLE_S = 2.0  # so long the sinks have to get rid of what they hold, before the summary tells of it and after it
CALM_S = 5.0  # of signal without trouble after which a sink's trouble counts as over: a network comes and goes
DRIFT_TOLD_PPM = 1000.0  # of the device's clock: intervals and rates are off by as much, a beat in a thousand


class Source(Protocol):
    """Gives items; see sources.items."""

    def items(self, stop: threading.Event) -> Iterator[Item]:
        """Yield items until the stream ends or `stop` is set."""
        ...

    def losses(self) -> dict[str, int]:
        """Return the source's counters of what was lost."""
        ...


class Monitor:
    """Runs one stream from its source to its sinks."""

    def __init__(
        self,
        source: Source,
        make_engine: Callable[[StreamFormat], Engine],
        sinks: Sequence[Sink],
        *,
        budget_ms: float = DEFAULT_BUDGET_MS,
        live: bool = False,
        seconds: float | None = None,
        recorder: Recorder | None = None,
        metrics: Metrics | None = None,
        notifier: Notifier | None = None,
        control: Control | None = None,
    ) -> None:
        """Prepare.

        live: stamp the time of day, give windows up when this machine falls behind, and tell of sinks in trouble;
        seconds: stop after so much signal, None for no limit; recorder: gets the signal as it comes, and the events;
        metrics: is told how the monitor is after each window; notifier: is told that it is ready, alive and stopping;
        control: is asked for what people want.
        """
        self._source, self._make_engine = source, make_engine
        self._sinks: list[Sink] = [*sinks, recorder] if recorder else list(sinks)
        self._recorder, self._metrics = recorder, metrics
        self._outlets: list[Outlet] = [sink for sink in self._sinks if isinstance(sink, Outlet)]
        self._troubled: dict[int, float] = {}  # outlet -> seconds of signal at which its trouble was last seen
        if metrics:
            metrics.watch(self.accounts)
        self._control = control
        self._failure: EcgEdgeError | None = None
        self._live, self._seconds = live, seconds
        self._latency = LatencyHistogram(budget_ms)
        self._degradation: Degradation | None = None  # live only, once there is an engine
        self._modes: Counter[str] = Counter()
        self._passed, self._judged = 0, 0  # windows so far: all, and those that the model judged
        self._laps = Laps() if live else None
        self._seq = 0
        self._engine: Engine | None = None
        self._format: StreamFormat | None = None
        self._frames = 0
        self._shed_until = float("-inf")
        self._waited = 0.0  # seconds for which the last chunk had waited when it was taken
        self._late_told = False
        self._wall = WallClock() if live else None
        self._anchor: tuple[float, float] | None = None  # seconds of stream time, and of the monotonic clock
        self._reading: ClockReading | None = None  # how the device's clock goes
        self._drift_told = False
        self._notifier = notifier
        self._link_lost: str | None = None  # in words, while it is
        self.stop = threading.Event()
        """Set it to end the stream in order."""

    def run(self) -> Summary:
        """Run the stream to its end, emit the summary and return it.

        Whatever ends the stream, what was received is judged and written out first. Raises EcgEdgeError where the
        source gives up or a sink cannot write; the summary has been emitted then, to the sinks that can, if there
        was a stream at all.
        """
        try:
            for item in self._source.items(self.stop):
                self._look_at_the_clock()
                self._take(item)
                if self._notifier:
                    self._notifier.alive(self._how_it_is)
                if self._seconds is not None and self._format and self._frames >= self._seconds * self._format.rate:
                    break
        except EcgEdgeError as error:
            self._failure = self._failure or error
        if self._notifier:
            self._notifier.stopping()
        try:
            if self._engine is None:
                raise self._failure or EcgEdgeError(
                    "stopped before the device said what it sends: nothing was monitored"
                    if self.stop.is_set()
                    else "the stream ended before the device said what it sends: check its firmware"
                )
            now = time.monotonic()
            if self._laps:
                self._laps.begin()
            self._emit(self._engine.finish(now), self._engine.take_arrivals())
            self._settle()
            self._tell_troubles(self._engine.summary().time, 0.0)
            summary = self._counted(self._engine)
            if self._outlets:
                summary = replace(summary, sinks=self.accounts())
            self._tell(summary)
        finally:
            self._settle()
            for sink in self._sinks:
                sink.close()
        if self._failure is not None:
            raise self._failure
        return summary

    def accounts(self) -> dict[str, dict[str, int]]:
        """Return what became of the events, by sink; for any thread."""
        return {name: a.as_dict() for outlet in self._outlets for name, a in outlet.accounts().items()}

    def _obey(self, engine: Engine) -> None:
        """Do what people have asked for since the last item."""
        for request in self._control.pending() if self._control else ():
            try:
                account, alerts = engine.silence(request.labels)
            except EcgEdgeError as error:
                request.answer(f"error {error}")
                continue
            self._emit([account, *alerts], [])
            request.answer(f"ok {account.message}")

    def _take(self, item: Item) -> None:
        if self._laps:
            self._laps.begin()
        if self._engine is not None:
            self._obey(self._engine)
        if isinstance(item, StreamFormat):
            self._format, self._engine = item, self._make_engine(item)
            if self._live:
                self._engine.laps = self._laps
                self._degradation = Degradation(
                    self._latency.budget_ms,
                    1000 * self._engine.hop_seconds,
                    rules=self._engine.has_rules,
                    light=self._engine.light_model is not None,
                )
            if self._recorder:
                self._recorder.begin(item)
            if self._notifier:
                self._notifier.ready()
            return
        engine = self._engine
        if isinstance(item, Notice):
            self._technical(item.code, item.phase, item.message, item.counts or None)
            if item.code in ("link_lost", "link_restored"):
                self._link_lost = item.message if item.code == "link_lost" else None
                if self._notifier:
                    self._notifier.tell(self._how_it_is())
        elif isinstance(item, ClockReading):
            self._take_reading(item)
        elif isinstance(item, Tick):
            self._tell_troubles(self._stream_s)
        elif engine is None or self._format is None:
            raise EcgEdgeError("the source gave signal before its format: check the device's firmware")
        elif isinstance(item, Gap):
            self._frames += item.frames
            if self._recorder:
                self._recorder.gap(item.frames)
            self._waited = time.monotonic() - item.at
            self._emit(engine.gap(item.frames, item.at), engine.take_arrivals())
        elif isinstance(item, Chunk):
            self._frames += len(item.counts)
            if self._recorder:
                self._recorder.chunk(item.counts, item.invalid)
            self._anchor = self._stream_s, item.at if item.sampled is None else item.sampled
            self._tell_troubles(self._stream_s)
            self._shed(engine, item.at)
            self._waited = time.monotonic() - item.at
            if self._laps:
                self._laps.waited(self._waited)
                self._laps.begin()
            self._emit(engine.push(item.counts, item.at, item.invalid), engine.take_arrivals())

    @property
    def _stream_s(self) -> float:
        return self._frames / self._format.rate if self._format else 0.0

    def _take_reading(self, reading: ClockReading) -> None:
        self._reading = reading
        ppm = reading.drift_ppm
        if self._live and not self._drift_told and abs(ppm) - 3 * reading.uncertainty_ppm > DRIFT_TOLD_PPM:
            self._drift_told = True
            way, size = "fast" if ppm > 0 else "slow", round(abs(ppm))
            message = f"the device's clock is {size} ppm ({size / 10_000:.2f} %) {way}: so far off are times and rates"
            self._technical("clock_drift", "once", message, {f"{way}_ppm": size})

    def _look_at_the_clock(self) -> None:
        step = self._wall.look() if self._wall else 0.0
        if step:
            way = "forward" if step > 0 else "back"
            message = f"this machine's clock was set {way} by {abs(step):.3f} s: times of day jump, stream time goes on"
            self._technical("clock_step", "once", message, {f"{way}_ms": round(abs(step) * 1000)})

    def _how_it_is(self) -> str:
        """Return in a sentence what systemd shows of the service."""
        if self._link_lost is not None:
            return f"link lost: {self._link_lost}"
        if self._engine is None:
            return "waiting for the device to say what it sends"
        analyzed, skipped = self._engine.analyzed, self._engine.skipped
        return f"{self._stream_s:.0f} s of signal, {analyzed} windows analyzed, {skipped} skipped"

    def _shed(self, engine: Engine, at: float) -> None:
        """Give up the next window when a live chunk has waited too long to be taken."""
        if self._live and time.monotonic() - at > LATE_HOPS and at >= self._shed_until:
            engine.skip_windows(1)
            self._shed_until = at + LATE_HOPS
            if self._degradation:
                before = self._degradation.mode
                if self._degradation.given_up():
                    self._change_mode(engine, before, self._degradation.mode)
                self._tell_lateness(self._degradation)

    def _change_mode(self, engine: Engine, before: Mode, mode: Mode) -> None:
        """Follow a change of mode, and tell of it."""
        engine.stride, engine.one_branch = mode.stride, mode.one_branch
        down = MODES.index(mode) > MODES.index(before)
        why = "this machine is too slow" if down else "this machine has room again"
        by = f" by {engine.light_model}, from the signal alone" if engine.one_branch else ""
        some = f"one window in {mode.stride}" if mode.stride > 1 else "every window"
        if mode is RULES_ONLY:
            what = f"only the rhythm rules run, the model tries {some}{by}"
        else:
            what = f"{some} is analyzed{by}"
        rest = "; the rest is unknown, not normal" if mode.stride > 1 else ""
        phase = "end" if mode is FULL else "new" if before is FULL else "once"
        counts = {"stride": mode.stride, "one_branch": int(engine.one_branch), "misses": self._latency.misses}
        self._technical("degraded", phase, f"{mode.name}: {why}, {what}{rest}", counts)

    def _tell_lateness(self, degradation: Degradation) -> None:
        """Tell, once, that windows keep missing the budget, and that they keep it again."""
        if degradation.late == self._late_told:
            return
        self._late_told = degradation.late
        budget = f"the budget of {self._latency.budget_ms:g} ms"
        message = f"windows miss {budget}: alerts come late" if degradation.late else f"windows keep {budget} again"
        phase = "new" if degradation.late else "end"
        self._technical("over_budget", phase, message, {"misses": self._latency.misses})

    def _count_windows(self, engine: Engine) -> tuple[int, int]:
        """Return how many windows have gone by, and how many the model has judged, since the last call."""
        before, judged_before = self._passed, self._judged
        self._passed, self._judged = engine.analyzed + engine.skipped + engine.unusable, engine.analyzed
        return self._passed - before, self._judged - judged_before

    def _tell_troubles(self, seconds: float, calm_s: float = CALM_S) -> None:
        """Tell, once, that the recorder or a sink is in trouble, and that it has been out of it for `calm_s`."""
        for k, outlet in enumerate(self._outlets):
            trouble = outlet.trouble
            if outlet is self._recorder:
                code, ends = "record_failed", "recording goes on"
            elif self._live:
                code, ends = "sink_failed", f"{', '.join(outlet.accounts())}: events are delivered again"
            else:
                continue
            if trouble is not None:
                if k not in self._troubled:
                    self._technical(code, "new", trouble)
                self._troubled[k] = seconds
            elif k in self._troubled and seconds - self._troubled[k] >= calm_s:
                del self._troubled[k]
                self._technical(code, "end", ends)

    def _technical(self, code: str, phase: str, message: str, counts: dict[str, int] | None = None) -> None:
        """Tell what this side of the stream notices, with the time of day at which it does."""
        self._tell(Technical(time=self._stream_s, code=code, phase=phase, message=message, counts=counts))

    def _tell(self, event: Event) -> None:
        self._hand_over(event, self._wall.at(time.monotonic()) if self._wall else None)

    def _emit(self, events: Sequence[Event], arrivals: Sequence[float]) -> None:
        """Hand over what the engine made of the signal, with the time of day of that signal."""
        now = time.monotonic()
        engine, degradation = self._engine, self._degradation
        passed, judged = self._count_windows(engine) if engine else (0, 0)
        if passed and degradation:
            self._modes[degradation.mode.name] += passed
        for at in arrivals:
            self._latency.add((now - at) * 1000)
        latency_ms = max(0.0, (now - arrivals[-1]) * 1000) if arrivals else None
        if self._metrics and engine and passed:
            stages = self._laps.histograms if self._laps else {}
            self._metrics.update(self._counted(engine), self._latency, events, stages)
        for event in events:
            self._hand_over(event, self._wall.at(self._happened(event.time, now)) if self._wall else None, latency_ms)
        if self._laps:
            self._laps.end("hand_over")
            if arrivals:
                self._laps.window()
        # What came at once, as after a gap, is late at once; a window without a usable lead says nothing of the model.
        if engine and degradation and judged and latency_ms is not None:
            before = degradation.mode
            if degradation.window(latency_ms, 1000 * self._waited):
                self._change_mode(engine, before, degradation.mode)
            self._tell_lateness(degradation)

    def _happened(self, stream_s: float, now: float) -> float:
        """Return when, on the monotonic clock, a moment of the stream was."""
        if self._anchor is None:
            return now
        anchor_s, at = self._anchor
        return min(now, at + stream_s - anchor_s)

    def _hand_over(self, event: Event, wall_time: str | None, latency_ms: float | None = None) -> None:
        stamped = stamp(event, seq=self._seq, wall_time=wall_time, latency_ms=latency_ms)
        self._seq += 1
        for sink in list(self._sinks):
            try:
                sink.emit(stamped)
            except EcgEdgeError as error:  # the others still get what was judged, and the summary
                self._failure = self._failure or error
                self._sinks.remove(sink)
                sink.close()
                self.stop.set()

    def _settle(self) -> None:
        """Give the sinks time to get rid of what they hold, all of them together."""
        deadline = time.monotonic() + SETTLE_S
        for outlet in self._outlets:
            outlet.settle(max(0.0, deadline - time.monotonic()))

    def _counted(self, engine: Engine) -> Summary:
        bare = engine.summary()
        return replace(
            bare,
            losses={**bare.losses, **self._source.losses()},
            latency_ms=self._latency.percentiles(),
            budget_ms=self._latency.budget_ms,
            misses=self._latency.misses,
            modes=dict(self._modes) if self._live else None,
            stages_ms=self._laps.percentiles() if self._laps else None,
            clock=None if self._reading is None or not self._live else asdict(self._reading),
        )


@contextmanager
def stopped_by_signals(monitor: Monitor) -> Iterator[None]:
    """End the monitor in order on SIGINT and SIGTERM; a second one of the same kind ends the process at once."""

    def handle(number: int, _frame: object) -> None:
        monitor.stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
