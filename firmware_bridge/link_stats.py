"""What a link is worth, in figures: what came, how fast, what was lost and how, when it came, how its clock goes."""

from collections import Counter, deque
from dataclasses import asdict
from typing import Any

import numpy as np

from . import clock_fit
from .bandwidth import BITS_PER_BYTE
from .boards.board import Board
from .continuity import Frames, FrameTracker
from .dissection import Found
from .protocol import Hello, Status

KEPT_PACKETS = 100_000
"""SAMPLES packets whose arrival is kept, the latest: half an hour at 50 a second."""
CLOCK_SPAN_S = 5.0
"""Shorter observations say nothing about a clock: 1 ms of jitter over 5 s is 200 ppm."""


class LinkStats:
    """Adds up what `dissect` finds; `report` gives the figures so far."""

    def __init__(self, board: Board, baud: int | None = None) -> None:
        """Start empty. baud: speed of the line that bytes are held against, None where there is none."""
        self._board, self._baud = board, baud
        self._types: Counter[str] = Counter()
        self._tracker = FrameTracker()
        self._status: Status | None = None
        self._resync_bytes = 0
        self._begun: float | None = None
        self._latest: float | None = None
        self._silence = 0.0
        self._complete: deque[tuple[float, float]] = deque(maxlen=KEPT_PACKETS)  # device time, arrival of a packet
        self._device_s = 0.0  # device time observed, over all runs
        self._before = 0.0  # of that, before the run under way
        self._run_from = 0.0  # device time at which the run under way was first seen

    def add(self, found: Found) -> None:
        """Take what was found next."""
        if found.at is not None:
            self._begun = found.at if self._begun is None else self._begun
            self._silence = max(self._silence, found.at - (self._latest or found.at))
            self._latest = found.at
        if found.packet is None:
            duplicate = found.counted.get("duplicates", 0) or found.counted.get("other_type", 0)
            self._resync_bytes += 0 if duplicate else found.size
            return
        message = found.packet.message
        self._types[type(message).__name__.upper()] += 1
        if isinstance(message, Status):
            self._status = message
        frames = self._tracker.push(found.packet)
        if frames is not None:
            self._timed(frames, found.at)

    def report(self) -> dict[str, Any]:
        """Return the figures so far as JSON types; what is not known is absent."""
        counters = self._board.counters()
        frames = asdict(self._tracker.counters)
        hello = self._tracker.hello
        host_s = self._latest - self._begun if self._begun is not None and self._latest is not None else 0.0
        seconds = host_s or self._device_s
        report: dict[str, Any] = {
            "board": self._board.name,
            "bytes": counters["bytes"],
            "seconds": round(seconds, 3),
            "seconds_by": "host" if host_s else "device",
            "packets": dict(sorted(self._types.items())),
            "frames": frames.pop("frames"),
            "losses": {
                **{f"link_{k}": n for k, n in counters.items() if k not in ("bytes", "packets", "frames")},
                "link_resync_bytes": counters.get("resync_bytes", self._resync_bytes),
                **{f"frames_{k}": n for k, n in frames.items()},
            },
        }
        if seconds:
            report["bytes_per_s"] = round(counters["bytes"] / seconds, 1)
            if self._baud is not None:
                report |= {"baud": self._baud}
                report["baud_share"] = round(counters["bytes"] / seconds * BITS_PER_BYTE / self._baud, 4)
        if hello is not None:
            report["format"] = _format(hello)
        if self._status is not None:
            report["device"] = {
                "state": self._status.state.name.lower(),
                "overruns": self._status.overruns,
                "battery_mv": self._status.battery_mv,
            }
        return report | self._timing()

    def _timed(self, frames: Frames, at: float | None) -> None:
        hello = self._tracker.hello
        assert hello is not None  # frames come after it
        complete = frames.time_us / 1e6 + len(frames.samples) / hello.rate
        if frames.restarted:
            self._run_from = frames.time_us / 1e6
            self._complete.clear()
            self._before = self._device_s
        self._device_s = self._before + complete - self._run_from
        if at is not None:
            self._complete.append((complete, at))

    def _timing(self) -> dict[str, Any]:
        if not self._complete:
            return {}
        device, arrival = np.array(self._complete).T
        fitted = clock_fit.fit(device, arrival)
        timing: dict[str, Any] = {"arrival": {"longest_silence_s": round(self._silence, 4)}}
        if fitted is None:
            return timing
        p50, p95, p99 = np.percentile(fitted.delays, (50, 95, 99)) * 1000
        timing["arrival"]["jitter_ms"] = {
            "p50": round(p50, 3),
            "p95": round(p95, 3),
            "p99": round(p99, 3),
            "max": round(float(fitted.delays.max()) * 1000, 3),
        }
        if device[-1] - device[0] >= CLOCK_SPAN_S:
            timing["clock"] = {
                "drift_ppm": round(fitted.drift_ppm, 1),
                "uncertainty_ppm": round(fitted.uncertainty_ppm, 1),
                "span_s": round(float(device[-1] - device[0]), 3),
            }
        return timing


def _format(hello: Hello) -> dict[str, Any]:
    return {
        "rate": hello.rate,
        "leads": list(hello.leads),
        "uv_per_count": hello.pv_per_lsb / 1e6,
        "firmware": hello.firmware,
    }
