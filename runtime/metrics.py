"""What the monitor does, in numbers, in Prometheus's text format (version 0.0.4).

After each window the engine's thread hands over what it knows; whoever serves it asks for the text. See metrics_server.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from .events import Event, Status, Summary
from .latency import BUCKETS_MS, LatencyHistogram

STALE_S = 30.0  # a heart rate older than three statuses is not known any more, and unknown is not normal

_Samples = Mapping[str, float]
"""Value by its labels, as they stand between the braces; an empty text for none."""


@dataclass(frozen=True)
class _Counts:
    buckets: tuple[int, ...]
    seconds: float

    @classmethod
    def of(cls, histogram: LatencyHistogram) -> "_Counts":
        return cls(tuple(histogram.buckets), histogram.total_ms / 1000)


@dataclass(frozen=True)
class _Snapshot:
    summary: Summary
    latency: _Counts
    stages: Mapping[str, _Counts]
    at: float


class Metrics:
    """Holds what is known and puts it into text; for any thread."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._snapshot: _Snapshot | None = None
        self._status: tuple[Status, float] | None = None
        self._accounts: Callable[[], Mapping[str, Mapping[str, int]]] = dict

    def watch(self, accounts: Callable[[], Mapping[str, Mapping[str, int]]]) -> None:
        """Ask `accounts` for the sinks' counters whenever text is wanted."""
        self._accounts = accounts

    def update(
        self,
        summary: Summary,
        latency: LatencyHistogram,
        events: Sequence[Event],
        stages: Mapping[str, LatencyHistogram] | None = None,
    ) -> None:
        """Take the account so far, the events of the latest window, and what its stages have taken, where known."""
        now = time.monotonic()
        counts = {stage: _Counts.of(histogram) for stage, histogram in (stages or {}).items()}
        self._snapshot = _Snapshot(summary, _Counts.of(latency), counts, now)
        for event in events:
            if isinstance(event, Status):
                self._status = event, now

    def text(self) -> str:
        """Return the exposition."""
        return "".join(f"{line}\n" for family in self._families() for line in family)

    def _families(self) -> Iterator[Iterator[str]]:
        known, now = self._snapshot, time.monotonic()
        accounts = self._accounts()
        yield _family("sink_delivered_total", "counter", "Events that a sink delivered.", _of(accounts, "delivered"))
        yield _family("sink_dropped_total", "counter", "Events that a sink gave up.", _of(accounts, "dropped"))
        yield _family("sink_failures_total", "counter", "Attempts of a sink that failed.", _of(accounts, "failures"))
        yield _family("sink_held", "gauge", "Events that wait in a sink.", _of(accounts, "held"))
        if known is None:
            return
        s = known.summary
        yield _family("info", "gauge", "The model bundle.", {_label(bundle=s.bundle, sha256=s.bundle_sha256): 1})
        yield _family("signal_seconds_total", "counter", "Seconds of signal received.", {"": s.signal_s})
        yield _family("window_age_seconds", "gauge", "Time since the latest window.", {"": round(now - known.at, 3)})
        yield _family("windows_total", "counter", "Windows, by what was done with them.", _by("outcome", s.windows))
        yield _family("alerts_total", "counter", "Episodes announced.", _by("label", s.alerts))
        yield _family("losses_total", "counter", "What was lost or damaged.", _by("kind", s.losses))
        yield _family("latency_misses_total", "counter", "Windows over the budget.", {"": s.misses or 0})
        if s.modes is not None:
            yield _family("mode_windows_total", "counter", "Windows by the mode they went by in.", _by("mode", s.modes))
        about = "Emission of a window's events minus arrival of its last sample."
        yield _histogram("window_latency_seconds", about, {"": known.latency})
        stages = {_label(stage=stage): counts for stage, counts in known.stages.items()}
        if stages:
            yield _histogram("stage_seconds", "Time of a window that a stage took.", stages)
        if s.clock is not None:
            about = "Parts per million by which the device's clock is fast."
            yield _family("device_clock_drift_ppm", "gauge", about, {"": s.clock["drift_ppm"]})
        if self._status is not None and now - self._status[1] <= STALE_S:
            status = self._status[0]
            yield _family("quality_ratio", "gauge", "Signal quality, 0 to 1.", {"": status.quality})
            yield _family("leads_usable", "gauge", "Leads that can be read.", {"": len(status.leads)})
            if status.heart_rate is not None:
                yield _family("heart_rate_bpm", "gauge", "Beats per minute.", {"": status.heart_rate})


def _histogram(name: str, about: str, counts: Mapping[str, _Counts]) -> Iterator[str]:
    """Yield a histogram for each of the labels, as they stand between the braces; an empty text for none."""
    full = f"ecg_edge_{name}"
    yield f"# HELP {full} {about}"
    yield f"# TYPE {full} histogram"
    bounds = [f"{ms / 1000:g}" for ms in BUCKETS_MS] + ["+Inf"]
    for labels, one in counts.items():
        for bound, count in zip(bounds, accumulate(one.buckets), strict=True):
            yield f'{full}_bucket{{{labels}{"," if labels else ""}le="{bound}"}} {count}'
        place = f"{{{labels}}}" if labels else ""
        yield f"{full}_sum{place} {one.seconds:.6f}"
        yield f"{full}_count{place} {sum(one.buckets)}"


def _family(name: str, kind: str, about: str, samples: _Samples) -> Iterator[str]:
    full = f"ecg_edge_{name}"
    yield f"# HELP {full} {about}"
    yield f"# TYPE {full} {kind}"
    for labels, value in samples.items():
        yield f"{full}{{{labels}}} {value}" if labels else f"{full} {value}"


def _by(label: str, values: Mapping[str, float]) -> _Samples:
    return {_label(**{label: name}): value for name, value in values.items()}


def _of(accounts: Mapping[str, Mapping[str, int]], counter: str) -> _Samples:
    return {_label(sink=name): account[counter] for name, account in accounts.items()}


def _label(**labels: str | None) -> str:
    """Return labels as they stand between the braces, escaped as the format wants."""
    escaped = {k: str(v).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for k, v in labels.items()}
    return ",".join(f'{name}="{value}"' for name, value in escaped.items())
