"""How many simultaneous streams one core sustains: engines in one process on one thread, measured, not estimated."""

import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from ecg_edge.firmware_bridge.recording import Recording

from .backends import Backend
from .benchmark_child import peak_rss_bytes
from .benchmark_turns import FOUR_DIGITS, percentiles
from .bundle import Bundle
from .engine import Engine
from .events import stamp, to_json
from .machine import Machine
from .policy import Policy
from .sources.items import format_of

CURVE = (1, 10, 50, 100, 250, 500, *(step << k for k in range(12) for step in (750, 1000)))
"""Numbers of streams, from 500 up in steps of a third or a half, to more than any core sustains."""
SECONDS = 20  # of stream measured for each number: enough to see a late one, and a curve takes a minute or two
SETTLE_SECONDS = 2  # of all streams after new ones came in, not measured
PACKETS_A_SECOND = 4  # a stream gets a packet of 250 ms at a time
SPARE_BYTES = 100_000_000  # of memory left alone: below that a machine begins to swap or to end processes


def measure_streams(
    bundle: Bundle,
    backend: Backend,
    policy: Policy,
    recording: Recording,
    *,
    rules: bool = False,
    curve: Iterable[int] = CURVE,
    seconds: int = SECONDS,
    machine: Machine | None = None,
) -> list[dict[str, Any]]:
    """Return what each number of simultaneous streams costs, up to the first that is not sustained, as JSON types.

    Every stream has an engine of its own and gets the same signal, each another stretch of it; model and policy are
    shared. All streams get a packet of 250 ms one after the other, then all the next one, as packets arrive; each
    second of a stream is a hop with a window judged, and its events become lines of JSON.

    `work_ms` is the processor time of this process, inference threads included, for one second of all streams: what
    other programs take from the core is not in it, what they take from its caches is. `elapsed_ms` is the same by the
    clock on the wall. A number is `sustained` where the work of every second measured took less than a second: one
    core, given to it alone, misses no hop. The list ends before that where there is no memory for more streams.
    """
    machine = machine or Machine()
    feed = _Feed(bundle, backend, policy, recording, rules)
    found: list[dict[str, Any]] = []
    for streams in curve:
        if not feed.grow(streams, machine):
            break
        for _ in range(SETTLE_SECONDS):
            feed.second()
        before = feed.windows
        work, elapsed = np.array([feed.second() for _ in range(seconds)]).T
        sustained = bool(work.max() < 1000.0)
        found.append(
            {
                "streams": streams,
                "work_ms": percentiles(work),
                "elapsed_ms": percentiles(elapsed),
                "ms_a_stream_second": round(float(np.median(work)) / streams, FOUR_DIGITS),
                "windows": feed.windows - before,
                "rss_mb": round(peak_rss_bytes() / 1e6, 1),
                "sustained": sustained,
            }
        )
        if not sustained:
            break
    return found


class _Feed:
    """The streams, and the signal that each of them gets."""

    def __init__(self, bundle: Bundle, backend: Backend, policy: Policy, recording: Recording, rules: bool) -> None:
        self._make = lambda: Engine(bundle, backend, policy, format_of(recording), rules=rules)
        self._window_seconds = bundle.manifest.contract.window_seconds
        size = recording.rate // PACKETS_A_SECOND
        starts = range(0, len(recording.counts) - size + 1, size)
        self._packets = [np.ascontiguousarray(recording.counts[start : start + size]) for start in starts]
        self._engines: list[Engine] = []
        self._next: list[int] = []  # packet of each stream

    @property
    def windows(self) -> int:
        """Windows judged so far, of all streams."""
        return sum(engine.analyzed + engine.unusable for engine in self._engines)

    def grow(self, streams: int, machine: Machine) -> bool:
        """Add streams up to a number, each with its first window behind it; False where the memory does not suffice."""
        while len(self._engines) < streams:
            available = machine.memory_available
            if available is not None and available < SPARE_BYTES:
                return False
            self._engines.append(self._make())
            self._next.append(len(self._engines) * PACKETS_A_SECOND)
            for _ in range(self._window_seconds * PACKETS_A_SECOND):
                self._packet(len(self._engines) - 1)
        return True

    def second(self) -> tuple[float, float]:
        """Run one second of all streams; return the milliseconds that it took: (processor time, the wall clock's)."""
        work, wall = time.process_time_ns(), time.perf_counter_ns()
        for _ in range(PACKETS_A_SECOND):
            for stream in range(len(self._engines)):
                self._packet(stream)
        return (time.process_time_ns() - work) / 1e6, (time.perf_counter_ns() - wall) / 1e6

    def _packet(self, stream: int) -> None:
        counts = self._packets[self._next[stream] % len(self._packets)]
        self._next[stream] += 1
        engine = self._engines[stream]
        for event in engine.push(counts):
            to_json(stamp(event, seq=0))
        engine.take_arrivals()
