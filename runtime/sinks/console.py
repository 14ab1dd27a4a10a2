"""Events for a person at a terminal: a line each, what matters first."""

import contextlib
import math
from typing import TextIO

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.leads import LEADS

from ..classes import ClassInfo
from ..events import NOTICE, Alert, Event, Status, Summary, Technical
from . import write_out

_COLORS = {
    "high": "\033[1;37;41m",
    "medium": "\033[1;33m",
    "low": "\033[1;36m",
    "technical": "\033[35m",
    "dim": "\033[2m",
}
_RESET = "\033[0m"
_RULES = {
    "Asystole": "no QRS complex",
    "VF": "ventricular fibrillation or flutter",
    "VT": "ventricular tachycardia",
    "ExtremeBrady": "extreme bradycardia",
    "ExtremeTachy": "extreme tachycardia",
    "Pause": "no QRS complex",
}
_ABOUT = {
    "gap": "link",
    "link_lost": "link",
    "link_restored": "link",
    "link_errors": "link",
    "overload": "machine",
    "degraded": "machine",
    "over_budget": "machine",
    "clock_step": "machine",
    "clock_drift": "device",
    "model_fault": "model",
}

_CAN_WAIT = frozenset({"gap", "link_errors", "degraded", "over_budget", "clock_step", "clock_drift"})
"""Technical codes that are told as of the newest sample, and that nobody has to run for."""

GAPS_EVERY_S = 10.0
"""Gaps within so many seconds of stream after one that was written are added up; lines of JSON have every one."""


class Console:
    """Writes events as text, in order of time where nobody has to run for them.

    What is told of the link is known at once, what a window shows a second and a half later. So lines of `_CAN_WAIT`
    wait for a line of a window that is as late as they are (a status, at most 10 s on), or for any that cannot wait.
    Alerts never wait, and those of the rhythm rules, which are ahead of the windows, let nothing go before them.
    """

    def __init__(self, stream: TextIO, classes: tuple[ClassInfo, ...]) -> None:
        """Write to an open stream, in color where it is a terminal; classes: for the names behind labels."""
        self._stream = stream
        self._color = stream.isatty()
        self._names = _RULES | {c.abbreviation: c.name for c in classes}
        self._begun = False
        self._gaps_until = float("-inf")  # stream time up to which gaps are added up and not written one by one
        self._gaps, self._gap_frames = 0, 0
        self._waiting: list[tuple[float, str]] = []  # stream time and line

    def emit(self, event: Event) -> None:
        """Write one event; see Sink."""
        if not self._begun:  # a live stream may not come to its summary for days
            self._begun = True
            write_out(self._stream, NOTICE)
        code = event.code if isinstance(event, Technical) else None
        if isinstance(event, Technical) and code == "gap" and event.time < self._gaps_until:
            self._gaps += 1
            self._gap_frames += (event.counts or {}).get("frames", 0)
            return
        if event.time >= self._gaps_until or isinstance(event, Summary):
            self._end_gaps(event.time)
            if code == "gap":
                self._gaps_until = event.time + GAPS_EVERY_S
        text = self._summary(event) if isinstance(event, Summary) else f"{_clock(event.time)}  {self._line(event)}"
        if code in _CAN_WAIT:
            self._waiting.append((event.time, text))
            return
        if not (isinstance(event, Alert) and event.kind == "rule"):
            self._write_waiting(math.inf if isinstance(event, Summary) else event.time)
        write_out(self._stream, text)

    def close(self) -> None:
        """Write what waits, and leave the stream open, which belongs to the caller; every line has been flushed."""
        with contextlib.suppress(OSError, EcgEdgeError):
            self._write_waiting(math.inf)

    def _write_waiting(self, until: float) -> None:
        """Write the lines that wait, up to a stream time."""
        while self._waiting and self._waiting[0][0] <= until:
            write_out(self._stream, self._waiting.pop(0)[1])

    def _end_gaps(self, time: float) -> None:
        """Tell what a bad link cost since its first gap; a gap in every packet's place would drown all else."""
        if self._gaps:
            frames = self._gap_frames
            text = f"{'link':<7} {'gap':<11} {'':<7} {self._gaps} more gaps, {frames} more frames are missing"
            self._waiting.append((time, f"{_clock(time)}  {self._paint('technical', text)}"))
        self._gaps, self._gap_frames = 0, 0
        self._gaps_until = float("-inf")

    def _line(self, event: Alert | Technical | Status) -> str:
        if isinstance(event, Alert):
            return self._alert(event)
        if isinstance(event, Technical):
            mark = {"new": "begins", "end": "ends", "once": ""}[event.phase]
            text = f"{_ABOUT.get(event.code, 'signal'):<7} {event.code:<11} {mark:<7} {event.message}"
            return self._paint("technical", text)
        rate = "" if event.heart_rate is None else f"{event.heart_rate:.0f} beats a minute, "
        shown = ""
        if event.probabilities:
            best = sorted(event.probabilities.items(), key=lambda item: -item[1])[:4]
            shown = "  " + "  ".join(f"{label} {p:.2f}" for label, p in best)
        return self._paint("dim", f"status  {rate}quality {event.quality:.2f}, {_leads(event.leads)}{shown}")

    def _alert(self, event: Alert) -> str:
        name = self._names.get(event.label, event.label)
        mark = {"new": "ALERT ", "update": "goes on", "end": "end   "}[event.phase]
        if event.phase == "update" and (event.latched or event.acknowledged):
            mark = "held" if event.latched else "seen"
        text = f"{mark:<7} {event.priority:<6} {event.label} {name}"
        detail = f"since {_clock(event.onset).strip()}, {_leads(event.leads)}"
        if event.probability is not None:
            detail = f"probability {event.probability:.2f}, {detail}"
        if event.phase == "end" and event.reason:
            detail = f"{event.reason.replace('_', ' ')}; {detail}"
        if event.latency_ms is not None and event.phase == "new":
            detail += f", {event.latency_ms:.1f} ms after its last sample"
        painted = self._paint(event.priority, text) if event.phase == "new" else text
        return f"{painted}  ({detail})"

    def _summary(self, event: Summary) -> str:
        windows = event.windows
        lines = [
            "",
            f"{event.signal_s:.1f} s of signal, {windows['analyzed']} windows analyzed, "
            f"{windows['unusable']} unusable, {windows['skipped']} skipped; decisions rest on {_leads(event.leads)}",
            "alerts: " + (", ".join(f"{label} {n}" for label, n in event.alerts.items()) or "none"),
        ]
        if event.latency_ms is not None:
            figures = ", ".join(f"{name} {ms:.2f}" for name, ms in event.latency_ms.items())
            lines.append(f"latency in ms: {figures}; {event.misses} over the budget of {event.budget_ms:g} ms")
        if event.clock is not None:
            ppm = event.clock["drift_ppm"]
            way = "slow" if ppm < 0 else "fast"
            lines.append(f"device's clock: {abs(ppm):.1f} ppm {way}, +-{event.clock['uncertainty_ppm']:.1f}")
        lost = ", ".join(f"{name} {n}" for name, n in event.losses.items() if n)
        lines.append(f"lost or damaged: {lost or 'nothing'}")
        if event.bundle is not None:
            lines.append(f"bundle {event.bundle} {(event.bundle_sha256 or '')[:12]}")
        lines.append(event.notice)
        return "\n".join(lines)

    def _paint(self, color: str, text: str) -> str:
        return f"{_COLORS[color]}{text}{_RESET}" if self._color else text


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    minutes, whole = divmod(rest, 60)
    text = f"{minutes:02d}:{whole:02d}" if not hours else f"{hours}:{minutes:02d}:{whole:02d}"
    return f"{text:>8}"


def _leads(leads: tuple[str, ...]) -> str:
    if not leads:
        return "no lead"
    if len(leads) == len(LEADS):
        return "12 leads"
    if len(leads) > len(LEADS) // 2:
        return "all leads but " + " ".join(lead for lead in LEADS if lead not in leads)
    return ("lead " if len(leads) == 1 else "leads ") + " ".join(leads)
