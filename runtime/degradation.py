"""What a live monitor does when its machine is too slow: less, in steps, and more again when it keeps up.

A pure state machine: latencies of windows in, modes out. It has no clock, and the engine that it steers has none
either; replays of records are never degraded, so that the same samples give the same events.

A mode that ran one of the two branches alone would need a graph for it, which bundles do not hold.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """How much is analyzed."""

    name: str
    """As events and the summary call it."""
    stride: int
    """Of so many windows the model judges one."""


FULL = Mode("full", 1)
LONG_HOP = Mode("long_hop", 2)
LONGER_HOP = Mode("longer_hop", 5)  # half a window: every second of signal is still judged twice
RULES_ONLY = Mode("rules_only", 30)  # one window in 30 s shows whether the model could run again
MODES = (FULL, LONG_HOP, LONGER_HOP, RULES_ONLY)

LOOK_BACK = 10  # windows that decide; at a hop of 1 s as long as one window
TOO_MANY = 5  # of them over the budget or given up: half, so that a hiccup of up to 4 s changes nothing
CALM = 30  # judged windows in a row within the budget before more is tried: three times what decides the other way
CALM_PROBES = 2  # of them in `rules_only`, where they are 30 s apart
MOST_PATIENCE = 16  # times CALM, after steps up that did not last: a machine that is just too slow keeps still


class Degradation:
    """Decides on the mode of one stream."""

    def __init__(self, budget_ms: float, rules: bool) -> None:
        """Start in full; rules: whether rhythm rules run, without which the model is never given up altogether."""
        self._budget_ms = budget_ms
        self._modes = MODES if rules else MODES[:-1]
        self._place = 0
        self._missed: deque[bool] = deque(maxlen=LOOK_BACK)
        self._calm = 0
        self._patience = 1
        self._since_up = 0  # windows since the last step up, as long as it is on trial
        self._tried = True  # whether this mode has judged a window, or is the first

    @property
    def mode(self) -> Mode:
        """The mode now."""
        return self._modes[self._place]

    def window(self, latency_ms: float) -> bool:
        """Take the latency of a window that was judged; return whether the mode has changed."""
        self._tried = True
        return self._note(latency_ms > self._budget_ms)

    def given_up(self) -> bool:
        """Take note of a window that was given up because the stream was late; return whether the mode has changed.

        It counts as one over the budget. Until a new mode has judged a window, the stream is late from the mode
        before, and nothing counts: a hiccup, however long, is one step at most.
        """
        return self._tried and self._note(True)

    def _note(self, missed: bool) -> bool:
        self._missed.append(missed)
        self._calm = 0 if missed else self._calm + 1
        if self._since_up:
            self._since_up += 1
        if sum(self._missed) >= TOO_MANY:
            return self._step(+1)
        if self._since_up > CALM * self._patience:  # the last step up has lasted
            self._since_up, self._patience = 0, 1
        enough = CALM_PROBES if self.mode is RULES_ONLY else CALM
        return self._calm >= enough * self._patience and self._step(-1)

    def _step(self, by: int) -> bool:
        place = min(max(self._place + by, 0), len(self._modes) - 1)
        self._missed.clear()
        self._calm = 0
        if place == self._place:
            return False
        if by > 0 and self._since_up:
            self._patience = min(2 * self._patience, MOST_PATIENCE)
        self._since_up = 1 if by < 0 else 0
        self._place, self._tried = place, False
        return True
