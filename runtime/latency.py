"""Latency percentiles of a stream of any length, in fixed memory."""

import math
from bisect import bisect_left

import numpy as np

LOWEST_MS = 1e-3
STEPS_PER_OCTAVE = 32  # a percentile is off by 1.1 % at most
OCTAVES = 30  # up to 1e6 ms
BUCKETS_MS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0)
"""Upper bounds of the buckets in which `buckets` counts: from one stage to far over the default budget of 100 ms."""


class LatencyHistogram:
    """Counts of durations in logarithmic steps; the maximum is exact."""

    def __init__(self, budget_ms: float) -> None:
        """Start empty; budget_ms: a duration above it is a miss."""
        self.budget_ms = budget_ms
        self.misses = 0
        self.max_ms = 0.0
        self.total_ms = 0.0
        self.buckets = [0] * (len(BUCKETS_MS) + 1)
        """Durations up to each of BUCKETS_MS and above the bound before it; the last are those above all."""
        self._counts = np.zeros(STEPS_PER_OCTAVE * OCTAVES + 1, dtype=np.int64)

    def add(self, ms: float) -> None:
        """Count one duration in milliseconds; a clock that went back counts as zero."""
        ms = max(ms, 0.0)
        self.misses += ms > self.budget_ms
        self.max_ms = max(self.max_ms, ms)
        self.total_ms += ms
        self.buckets[bisect_left(BUCKETS_MS, ms)] += 1
        step = round(STEPS_PER_OCTAVE * math.log2(max(ms, LOWEST_MS) / LOWEST_MS))
        self._counts[min(step, len(self._counts) - 1)] += 1

    def percentiles(self) -> dict[str, float] | None:
        """Return p50, p95, p99 and max in milliseconds, None where nothing was counted."""
        total = int(self._counts.sum())
        if not total:
            return None
        reached = np.cumsum(self._counts)
        found = {}
        for name, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99)):
            step = int(np.searchsorted(reached, math.ceil(share * total)))
            found[name] = min(LOWEST_MS * 2 ** (step / STEPS_PER_OCTAVE), self.max_ms)
        return found | {"max": self.max_ms}
