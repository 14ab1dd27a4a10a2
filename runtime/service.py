"""What waits, around the engine that does not: takes items from a source, stamps events, feeds the sinks."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .control import Control
from .engine import Engine, StreamFormat
from .events import Event, Summary, Technical, stamp
from .latency import LatencyHistogram
from .metrics import Metrics
from .recorder.recorder import Recorder
from .sinks import Outlet, Sink
from .sources.items import Chunk, Gap, Item, Notice

DEFAULT_BUDGET_MS = 100.0
LATE_HOPS = 1.0  # a live chunk older than this many hops means overload: the next window is given up


SETTLE_S = 2.0  # so long the sinks have to get rid of what they hold, before the summary tells of it and after it
CALM_S = 5.0  # of signal without trouble after which a sink's trouble counts as over: a network comes and goes


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
        control: Control | None = None,
    ) -> None:
        """Prepare.

        live: stamp the time of day, give windows up when this machine falls behind, and tell of sinks in trouble;
        seconds: stop after so much signal, None for no limit; recorder: gets the signal as it comes, and the events;
        metrics: is told how the monitor is after each window; control: is asked for what people want.
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
        self._seq = 0
        self._engine: Engine | None = None
        self._format: StreamFormat | None = None
        self._frames = 0
        self._shed_until = float("-inf")
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
                self._take(item)
                if self._seconds is not None and self._format and self._frames >= self._seconds * self._format.rate:
                    self.stop.set()
        except EcgEdgeError as error:
            self._failure = self._failure or error
        try:
            if self._engine is None:
                raise self._failure or EcgEdgeError(
                    "stopped before the device said what it sends: nothing was monitored"
                    if self.stop.is_set()
                    else "the stream ended before the device said what it sends: check its firmware"
                )
            now = time.monotonic()
            self._emit(self._engine.finish(now), self._engine.take_arrivals())
            self._settle()
            self._tell_troubles(self._engine.summary().time, 0.0)
            summary = self._counted(self._engine)
            if self._outlets:
                summary = replace(summary, sinks=self.accounts())
            self._emit([summary], [])
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
        if self._engine is not None:
            self._obey(self._engine)
        if isinstance(item, StreamFormat):
            self._format, self._engine = item, self._make_engine(item)
            if self._recorder:
                self._recorder.begin(item)
            return
        engine = self._engine
        if isinstance(item, Notice):
            seconds = self._frames / self._format.rate if self._format else 0.0
            counts = item.counts or None
            self._emit(
                [Technical(time=seconds, code=item.code, phase=item.phase, message=item.message, counts=counts)], []
            )
        elif engine is None or self._format is None:
            raise EcgEdgeError("the source gave signal before its format: check the device's firmware")
        elif isinstance(item, Gap):
            self._frames += item.frames
            if self._recorder:
                self._recorder.gap(item.frames)
            self._emit(engine.gap(item.frames, item.at), engine.take_arrivals())
        elif isinstance(item, Chunk):
            self._frames += len(item.counts)
            if self._recorder:
                self._recorder.chunk(item.counts, item.invalid)
            self._tell_troubles(self._frames / self._format.rate)
            self._shed(engine, item.at)
            self._emit(engine.push(item.counts, item.at, item.invalid), engine.take_arrivals())

    def _shed(self, engine: Engine, at: float) -> None:
        """Give up the next window when a live chunk has waited too long to be taken."""
        if self._live and time.monotonic() - at > LATE_HOPS and at >= self._shed_until:
            engine.skip_windows(1)
            self._shed_until = at + LATE_HOPS

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
                    self._emit([Technical(time=seconds, code=code, phase="new", message=trouble)], [])
                self._troubled[k] = seconds
            elif k in self._troubled and seconds - self._troubled[k] >= calm_s:
                del self._troubled[k]
                self._emit([Technical(time=seconds, code=code, phase="end", message=ends)], [])

    def _emit(self, events: Sequence[Event], arrivals: Sequence[float]) -> None:
        now = time.monotonic()
        for at in arrivals:
            self._latency.add((now - at) * 1000)
        if self._metrics and self._engine and arrivals:
            self._metrics.update(self._counted(self._engine), self._latency, events)
        latency_ms = max(0.0, (now - arrivals[-1]) * 1000) if arrivals else None
        wall_time = datetime.now(UTC).isoformat(timespec="milliseconds") if self._live and events else None
        for event in events:
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
