"""What the raw signal tells of electrodes and cables before the filters take it away: mains hum and motion.

Each second of each channel is projected on a constant and on tones, one product of matrices. Hum is a tone of the
grid's frequency alone; what is as loud 5 Hz beside it is a step, a pacemaker's pulse or muscle. Motion is a baseline
that has gone elsewhere from one second to the next. Neither keeps a lead from being judged: what becomes too much for
the filters is found in their output, by `quality`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
import numpy.typing as npt

from . import native
from .events import Event, Technical

GRIDS = (50, 60)  # Hz
BESIDE = 5  # Hz by which the tones that hum is held against lie beside it; in whole cycles a second, as it is
ALONE = 5.0  # times as loud as those; a step is as loud there, muscle is one time in 350, and so twice in a row never
HUM_MICROVOLTS = 500.0  # amplitude: half a QRS complex, and more than a good contact lets in; the filters hide it
MOTION_MICROVOLTS = 2000.0  # change of a second's mean; complexes and their rate change it by some hundred
CALM_SECONDS = 5  # without it after which it counts as over: both come and go with a person's movements
HUM, MOTION = "mains_hum", "motion"
_WORDS = {
    HUM: ("mains hum of {hz} Hz, {size:.1f} mV: check electrodes, cables and earth", "no mains hum now"),
    MOTION: ("the electrode moves, baseline off by {size:.1f} mV in a second: check its contact", "at rest again"),
}
"""What is said of leads by code when it begins, and when it is over; the size is the largest of those leads."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Change:
    """Leads on which something began or ended."""

    end: float
    """Of the second that showed it."""
    code: str
    phase: str
    leads: tuple[str, ...]
    message: str


class Contact:
    """Watches the channels of one stream, second by second."""

    def __init__(self, rate: int, pv_per_lsb: int, leads: Sequence[str]) -> None:
        """Start before the first sample.

        rate: frames a second; pv_per_lsb: picovolts per count; leads: name of each channel. A grid's frequency is
        watched where it, and BESIDE above it, lie below half the rate.
        """
        self._kernels = native.kernels
        self._rate, self._leads = rate, tuple(leads)
        self._grids = [hz for hz in GRIDS if hz + BESIDE < rate / 2]
        tones = sorted({hz + beside for hz in self._grids for beside in (-BESIDE, 0, BESIDE)})
        self._places = [[tones.index(hz + beside) for beside in (0, -BESIDE, BESIDE)] for hz in self._grids]
        turns = np.outer(tones, np.arange(rate)) * (2 * np.pi / rate)
        rows = np.concatenate([np.ones((1, rate)), 2 * np.cos(turns), 2 * np.sin(turns)])
        self._period = rate // gcd(rate, *tones)  # frames after which all tones begin anew; the constant always does
        self._rows = rows * (pv_per_lsb * 1e-6 / rate)  # to microvolts
        # A tone shows with 0.7 of its amplitude at least in its cosine or its sine.
        self._limits = np.full((len(rows), len(leads)), 0.7 * HUM_MICROVOLTS)
        self._limits[0] = MOTION_MICROVOLTS
        self._usual = np.zeros((len(rows), len(leads)))  # no tones, and the mean of the second before
        self._usual[0] = np.nan  # which is not known
        self._level: Floats | None = None  # of the second under way
        self._filled = 0  # its frames so far
        self._off: npt.NDArray[np.bool_] | None = None  # channels that stood for nothing in it, None for none
        self._calm = {code: np.full(len(leads), CALM_SECONDS) for code in _WORDS}  # seconds without it, by channel
        self._hum_before = np.zeros(len(leads), dtype=np.bool_)  # in the second before
        self._goes_on = False
        self._changes: list[_Change] = []

    def add(self, frames: Floats, off: npt.NDArray[np.bool_] | None = None) -> None:
        """Take the next frames (n, channels), in counts, of the second under way; off: where they stand for nothing."""
        end = self._filled + len(frames)
        level = self._project(frames)
        self._level = level if self._level is None else self._level + level
        self._filled = end
        if off is not None:
            gone: npt.NDArray[np.bool_] = np.logical_or.reduce(off, axis=0)
            self._off = gone if self._off is None else self._off | gone

    def _project(self, frames: Floats) -> Floats:
        """Return the mean and tones of the frames that come next, microvolts.

        The tones repeat after `period` frames, and what stands that far apart is added up first, where it can be.
        """
        start, period = self._filled, self._period
        if len(frames) > period and not (len(frames) % period or start % period):
            folded = np.add.reduce(frames.reshape(-1, period, frames.shape[1]))
            return self._rows[:, :period] @ folded
        return self._rows[:, start : start + len(frames)] @ frames

    def end_second(self, end: float) -> None:
        """Judge what was added since the last call; end: when that was, in seconds of signal.

        Less than a second, as the start of a stream may be, is not judged.
        """
        level, off, whole = self._level, self._off, self._filled == self._rate
        self._level, self._off, self._filled = None, None, 0
        if level is None or not whole:
            return
        if off is not None:
            level[:, off] = np.nan  # above nothing
        if self._goes_on or self._any_beyond(level):
            self._judge(end, np.nan_to_num(np.absolute(level - self._usual)))
        self._usual[0] = level[0]

    def _any_beyond(self, level: Floats) -> bool:
        """Return whether a channel's mean or a tone of it has gone further from the usual than its limit."""
        if self._kernels is not None:
            return bool(self._kernels.any_beyond(level, self._usual, self._limits))
        return bool(np.count_nonzero(np.absolute(level - self._usual) > self._limits))

    def tell(self, until: float, time: float) -> list[Event]:
        """Return the events of what changed in seconds that ended by `until`, with `time` as their stream time."""
        events: list[Event] = []
        while self._changes and self._changes[0].end <= until:
            one = self._changes.pop(0)
            text = f"{', '.join(one.leads)}: {one.message}"
            events.append(Technical(time=time, code=one.code, phase=one.phase, message=text, leads=one.leads))
        return events

    def _judge(self, end: float, away: Floats) -> None:
        """Follow each channel through a second; away: (rows, channels) from the usual, microvolts."""
        change, tones = away[0], np.hypot(*np.split(away[1:], 2))
        found: list[tuple[str, npt.NDArray[np.bool_], Floats, int]] = [(MOTION, change > MOTION_MICROVOLTS, change, 0)]
        hum, hz = np.zeros(len(change)), 0
        for grid, places in zip(self._grids, self._places, strict=True):
            at, below, above = tones[places]
            alone = np.where(at > ALONE * np.maximum(below, above), at, 0.0)
            if alone.max() > hum.max():
                hum, hz = alone, grid
        found.append((HUM, (hum > HUM_MICROVOLTS) & self._hum_before, hum, hz))
        self._hum_before = hum > HUM_MICROVOLTS
        for code, now, size, hz in found:
            calm = self._calm[code]
            goes_on = calm < CALM_SECONDS
            calm[:] = np.where(now, 0, np.minimum(calm + 1, CALM_SECONDS))
            begins, ends = _WORDS[code]
            self._note(end, code, "end", goes_on & (calm == CALM_SECONDS), ends)
            begun = now & ~goes_on
            self._note(end, code, "new", begun, begins.format(hz=hz, size=size.max(initial=0.0, where=begun) / 1000))
        self._goes_on = bool(self._hum_before.any()) or any((c < CALM_SECONDS).any() for c in self._calm.values())

    def _note(self, end: float, code: str, phase: str, mask: npt.NDArray[np.bool_], message: str) -> None:
        if mask.any():
            leads = tuple(lead for lead, there in zip(self._leads, mask, strict=True) if there)
            self._changes.append(_Change(end, code, phase, leads, message))
