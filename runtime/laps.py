"""Where the time of a window goes, by stage: nanoseconds measured, histograms kept.

What a stage takes is summed over all signal since the window that was judged before: the first of a stream carries
its first 10 s, and where only one window in five is judged, it carries the filters' work for five.
"""

import time

from .latency import LatencyHistogram

STAGES = ("queue", "front_end", "rules", "inference", "decision", "hand_over")
"""Longest wait to be taken; filters, window and spectrogram; rhythm rules; model; alerts; handing over to the sinks."""


class Laps:
    """A stop watch of one thread: a lap begins where the last one ended. Sums go into histograms window by window."""

    def __init__(self) -> None:
        """Start the first lap."""
        self.histograms = {stage: LatencyHistogram(float("inf")) for stage in STAGES}
        self._sums = dict.fromkeys(STAGES, 0)
        self._begin = time.perf_counter_ns()

    def begin(self) -> None:
        """Start a lap here; what has passed since the last one belongs to no stage."""
        self._begin = time.perf_counter_ns()

    def end(self, stage: str) -> None:
        """Count the lap for a stage and start the next one."""
        now = time.perf_counter_ns()
        self._sums[stage] += now - self._begin
        self._begin = now

    def waited(self, seconds: float) -> None:
        """Take note of how long a chunk has waited to be taken; waits overlap, so that the longest one counts."""
        self._sums["queue"] = max(self._sums["queue"], round(seconds * 1e9))

    def window(self) -> None:
        """Put what the stages have taken since the last window that was judged into the histograms."""
        for stage, ns in self._sums.items():
            self.histograms[stage].add(ns / 1e6)
            self._sums[stage] = 0

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Return p50, p95, p99 and max in milliseconds of each stage; empty before the first window."""
        found = {stage: histogram.percentiles() for stage, histogram in self.histograms.items()}
        return {stage: values for stage, values in found.items() if values is not None}
