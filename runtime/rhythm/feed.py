"""Blocks on their way to the rules: at once when the rules want each, together at a group's end while all is calm."""

import numpy as np
import numpy.typing as npt

from ..events import Alert
from .filters import FloatArray
from .monitor import RhythmMonitor


class Feed:
    """Feeds one monitor, and keeps the beats that it finds where somebody wants them."""

    def __init__(self, monitor: RhythmMonitor, keep_beats: bool) -> None:
        """Start with nothing held."""
        self._monitor = monitor
        self._held: list[tuple[FloatArray, npt.NDArray[np.bool_], list[float]]] = []
        self._beats: list[tuple[float, bool]] | None = [] if keep_beats else None

    def push(
        self,
        signal: FloatArray,
        invalid: npt.NDArray[np.bool_],
        times: list[float],
        jumped: float,
        group_ends: bool,
    ) -> list[Alert]:
        """Take blocks of one group as RhythmMonitor does and return what is known now.

        jumped: seconds by which stream time is ahead of the signal; group_ends: whether the last is a group's last.
        """
        now = group_ends or not self._monitor.calm
        if now and not self._held:
            return self._give(signal, invalid, times, jumped)
        self._held.append((signal, invalid, times))
        return self.flush(jumped) if now else []

    def flush(self, jumped: float) -> list[Alert]:
        """Give the rules what is held and return what it changes."""
        held, self._held = self._held, []
        if not held:
            return []
        signal, invalid = np.concatenate([b[0] for b in held]), np.concatenate([b[1] for b in held])
        return self._give(signal, invalid, [time for b in held for time in b[2]], jumped)

    def _give(
        self, signal: FloatArray, invalid: npt.NDArray[np.bool_], times: list[float], jumped: float
    ) -> list[Alert]:
        alerts = self._monitor.push(signal, invalid, times)
        if self._beats is not None:
            for time, ventricular in self._monitor.withdrawn:
                if (wrong := (time + jumped, ventricular)) in self._beats:  # and not taken yet
                    self._beats.remove(wrong)
            self._beats += [(time + jumped, ventricular) for time, ventricular in self._monitor.beats]
        return alerts

    def take_beats(self) -> list[tuple[float, bool]]:
        """Return (seconds of stream time, whether ventricular) of each beat since the last call, in order of time.

        A beat can turn out to be none within a beat or two; one that was taken by then stays taken.
        """
        beats, self._beats = self._beats or [], []
        return sorted(beats)
