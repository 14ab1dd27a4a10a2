"""What a live monitor does when its machine is too slow: less, in steps, and more again when it keeps up.

A pure state machine: how late windows are in, modes out. It has no clock, and the engine that it steers has none
either; replays of records are never degraded, so that the same samples give the same events.

Two things are told apart. A window may take longer than the budget though the machine keeps up: a lighter model mends
that, and looking less often does not. Or the machine falls behind, so that signal waits: then the model looks less
often, and in the end not at all, for the rhythm rules' sake, which wait while it works.
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
    one_branch: bool
    """Whether the model of the signal alone judges, where there is one."""


FULL = Mode("full", 1, one_branch=False)
ONE_BRANCH = Mode("one_branch", 1, one_branch=True)
LONG_HOP = Mode("long_hop", 2, one_branch=True)
LONGER_HOP = Mode("longer_hop", 5, one_branch=True)  # half a window: every second of signal is still judged twice
RULES_ONLY = Mode("rules_only", 30, one_branch=True)  # one window in 30 s shows whether the model could run again
MODES = (FULL, ONE_BRANCH, LONG_HOP, LONGER_HOP, RULES_ONLY)

LOOK_BACK = 10  # windows that decide; at a hop of 1 s as long as one window
TOO_MANY = 5  # of them late or given up: half, so that a hiccup of up to 4 s changes nothing
CALM = 30  # judged windows in a row that would have fitted, before more is tried: three times what decides otherwise
CALM_PROBES = 2  # of them in `rules_only`, where they are 30 s apart
MOST_PATIENCE = 16  # times CALM, after steps up that did not last: a machine that is just too slow keeps still
RULES_WAIT_MS = 1000.0  # that the rules may wait for the model: of the 8 s in which they have to alarm, one
SHORTEST_WAIT_MS = 100.0  # what is shorter is the unrest of links and schedulers, whatever the budget
ROOM = 0.8  # of the time between two windows that the work for one may take, before windows come so often


class Degradation:
    """Decides on the mode of one stream."""

    def __init__(self, budget_ms: float, hop_ms: float, *, rules: bool, light: bool) -> None:
        """Start in full.

        hop_ms: from one window to the next. rules: whether rhythm rules run, without which the model is never given up
        altogether. light: whether there is a model of one branch.
        """
        self._budget_ms, self._hop_ms, self._rules = budget_ms, hop_ms, rules
        self._longest_wait_ms = max(budget_ms, SHORTEST_WAIT_MS)
        self._modes = [m for m in MODES if (light or m is not ONE_BRANCH) and (rules or m is not RULES_ONLY)]
        self._place = 0
        self._missed: deque[bool] = deque(maxlen=LOOK_BACK)  # whether the budget was missed
        self._against: deque[bool] = deque(maxlen=LOOK_BACK)  # whether a window speaks against this mode
        self._calm = 0
        self._within = 0
        self._patience = 1
        self._since_up = 0  # windows since the last step up, as long as it is on trial
        self._tried = True  # whether this mode has judged a window, or is the first
        self.late = False
        """Whether windows keep missing the budget, in whatever mode: 5 of 10 did, and no 30 in a row kept it since."""

    @property
    def mode(self) -> Mode:
        """The mode now."""
        return self._modes[self._place]

    def window(self, latency_ms: float, waited_ms: float = 0.0) -> bool:
        """Take a window that was judged; return whether the mode has changed.

        latency_ms: from its arrival to its events; waited_ms: the part of it before anybody took it up.
        """
        self._tried = True
        work_ms = latency_ms - waited_ms
        missed = latency_ms > self._budget_ms
        keeps_up = waited_ms <= self._longest_wait_ms and not (self._rules and work_ms > RULES_WAIT_MS)
        lighter = self._place + 1 < len(self._modes) and self._modes[self._place + 1] is ONE_BRANCH
        self._judge_budget(missed)
        return self._note(against=not keeps_up or (missed and lighter), calm=keeps_up and self._would_fit(work_ms))

    def given_up(self) -> bool:
        """Take note of a window that was given up because the stream was late; return whether the mode has changed.

        It speaks against the mode. Until a new mode has judged a window, the stream is late from the mode
        before, and nothing counts: a hiccup, however long, is one step at most.
        """
        self._judge_budget(True)
        return self._tried and self._note(against=True, calm=False)

    def _would_fit(self, work_ms: float) -> bool:
        """Return whether a window of so much work would do in the mode above, as far as this one can tell."""
        above = self._modes[max(0, self._place - 1)]
        if self.mode.one_branch and not above.one_branch and ONE_BRANCH in self._modes:
            return work_ms <= self._budget_ms  # what the whole model takes only a trial can tell
        return work_ms <= ROOM * above.stride * self._hop_ms

    def _judge_budget(self, missed: bool) -> None:
        self._missed.append(missed)
        self._within = 0 if missed else self._within + 1
        if sum(self._missed) >= TOO_MANY:
            self.late = True
        elif self._within >= CALM:
            self.late = False

    def _note(self, against: bool, calm: bool) -> bool:
        self._against.append(against)
        self._calm = self._calm + 1 if calm else 0
        if self._since_up:
            self._since_up += 1
        if sum(self._against) >= TOO_MANY:
            return self._step(+1)
        if self._since_up > CALM * self._patience:  # the last step up has lasted
            self._since_up, self._patience = 0, 1
        enough = CALM_PROBES if self.mode is RULES_ONLY else CALM
        return self._calm >= enough * self._patience and self._step(-1)

    def _step(self, by: int) -> bool:
        place = min(max(self._place + by, 0), len(self._modes) - 1)
        self._against.clear()
        self._calm = 0
        if place == self._place:
            return False
        if by > 0 and self._since_up:
            self._patience = min(2 * self._patience, MOST_PATIENCE)
        self._since_up = 1 if by < 0 else 0
        self._place, self._tried = place, False
        return True
