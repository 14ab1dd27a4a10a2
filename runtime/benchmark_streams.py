"""How many simultaneous streams one core sustains: engines in one process on one thread, second after second."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ecg_edge.firmware_bridge.recording import Recording

from .backends import Backend
from .bundle import Bundle
from .engine import Engine
from .events import stamp, to_json
from .policy import Policy
from .sources.items import format_of

CURVE = (1, 10, 50, 100, 200, 300, 400, 500, 600, 800, 1000, 1500, 2000, 3000)
SECONDS = 5  # of stream measured for each number of streams, after the first window and one second more
SETTLE_SECONDS = 1


def measure_streams(
    bundle: Bundle,
    backend: Backend,
    policy: Policy,
    recording: Recording,
    *,
    rules: bool,
    curve: Sequence[int] = CURVE,
    seconds: int = SECONDS,
) -> list[dict[str, Any]]:
    """Return what a second of each number of streams costs, up to the first number that does not fit a second.

    Every stream gets the same 12-lead signal, a quarter second of it at a time, each stream another stretch; each
    second of it is a hop with a window judged, and its events become lines of JSON. A number is sustained where the
    work of every second measured took less than a second of this thread's processor time: no hop would be late.
    """
    format_, rate = format_of(recording), recording.rate
    quarter = rate // 4
    found = []
    for count in curve:
        engines = [Engine(bundle, backend, policy, format_, rules=rules) for _ in range(count)]
        work = []
        window = bundle.manifest.contract.window_seconds
        for second in range(window + SETTLE_SECONDS + seconds):
            begin = time.thread_time_ns()
            for part in range(4):
                for number, engine in enumerate(engines):
                    start = ((second + number) * rate + part * quarter) % (len(recording.counts) - quarter)
                    for event in engine.push(recording.counts[start : start + quarter]):
                        to_json(stamp(event, seq=0))
            if second >= window + SETTLE_SECONDS:
                work.append((time.thread_time_ns() - begin) / 1e9)
        windows = sum(engine.analyzed + engine.unusable for engine in engines)
        sustained = max(work) < 1.0
        found.append(
            {
                "streams": count,
                "work_s": {"p50": round(float(np.median(work)), 4), "max": round(max(work), 4)},
                "ms_a_stream_second": round(1000 * float(np.median(work)) / count, 4),
                "windows": windows,
                "sustained": sustained,
            }
        )
        if not sustained:
            break
    return found
