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

from .engine import Engine, StreamFormat
from .events import Event, Summary, Technical, stamp
from .latency import LatencyHistogram
from .sinks import Sink
from .sources.items import Chunk, Gap, Item, Notice

DEFAULT_BUDGET_MS = 100.0
LATE_HOPS = 1.0  # a live chunk older than this many hops means overload: the next window is given up


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
    ) -> None:
        """Prepare.

        live: stamp the time of day, and give windows up when this machine falls behind; seconds: stop after so much
        signal, None for no limit.
        """
        self._source, self._make_engine, self._sinks = source, make_engine, list(sinks)
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
            summary = self._summary(self._engine)
            self._emit([summary], [])
        finally:
            for sink in self._sinks:
                sink.close()
        if self._failure is not None:
            raise self._failure
        return summary

    def _take(self, item: Item) -> None:
        if isinstance(item, StreamFormat):
            self._format, self._engine = item, self._make_engine(item)
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
            self._emit(engine.gap(item.frames, item.at), engine.take_arrivals())
        elif isinstance(item, Chunk):
            self._frames += len(item.counts)
            self._shed(engine, item.at)
            self._emit(engine.push(item.counts, item.at, item.invalid), engine.take_arrivals())

    def _shed(self, engine: Engine, at: float) -> None:
        """Give up the next window when a live chunk has waited too long to be taken."""
        if self._live and time.monotonic() - at > LATE_HOPS and at >= self._shed_until:
            engine.skip_windows(1)
            self._shed_until = at + LATE_HOPS

    def _emit(self, events: Sequence[Event], arrivals: Sequence[float]) -> None:
        now = time.monotonic()
        for at in arrivals:
            self._latency.add((now - at) * 1000)
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

    def _summary(self, engine: Engine) -> Summary:
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
