"""From the probabilities of successive windows to alerts: a state machine without clock, thread or I/O.

For every label that the policy announces:

    idle --- k of n windows above the threshold ---> active --- m windows below the exit level ---> idle
                                                       |   \\-- a suppressor is announced ----------> idle
                                                       |    \\- nothing usable for too long --------> idle
                                                       \\-- a latched label waits here until acknowledged

Smoothing is an exponential moving average of probabilities, not of logits: its value is a weighted mean, as the
mean over windows by which a whole record is judged is one, and a single window that the model is absurdly sure of
(logit 20) moves it no further than one at probability 1. The weight of a new window is 1 - exp(-gap / time constant)
with the time since the last usable window, so that after skipped or unusable windows the past counts less.
"""

import math
import sys
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import gt

import numpy as np
import numpy.typing as npt

from .classes import ClassInfo
from .events import Alert
from .policy import Policy

Probabilities = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(slots=True)
class _Episode:
    """An alert that has been announced and not ended."""

    number: int
    onset: float
    announced: float
    told: float
    """Time of the last event about it."""
    below: int = 0
    """Successive usable windows below the exit level."""
    held: bool = False
    """The finding is gone or unknown, and the latch holds the alert."""
    acknowledged: bool = False
    silent_until: float | None = None
    """Time before which a silenced alert sends no updates; None where none is to come for that."""


class AlertMachine:
    """Decides when a finding is announced, goes on, and ends; one machine for one stream.

    Everything it returns follows from the calls made to it. Times are stream seconds of the end of each window.
    """

    def __init__(self, classes: Sequence[ClassInfo], policy: Policy, kind: str = "model") -> None:
        """Prepare for windows with one probability for each of `classes`; raises ValueError if a label comes twice.

        kind: what its alerts say of who found them; those of a `rule` carry no probability.
        """
        self._kind = kind
        self.classes = tuple(classes)
        self.policy = policy
        self._indices = range(len(self.classes))
        self.labels = self._labels = tuple(c.abbreviation for c in self.classes)
        """Their labels, in order."""
        if len(set(self._labels)) < len(self._labels):
            raise ValueError(f"a label comes twice among the classes: {', '.join(self._labels)}")
        settings = [policy.of(label) for label in self._labels]
        self.judge_by(self.classes)
        self._priority = [s.priority for s in settings]
        self._latch = [s.latch for s in settings]
        self._irregular = {i for i, s in enumerate(settings) if s.irregular}
        self._timeout = [policy.timeout(label) for label in self._labels]
        self._suppressors = [policy.suppressors(label) for label in self._labels]
        self._mask = (1 << policy.confirm_of) - 1

        self.analyzed = 0
        """Usable windows so far."""
        self.unusable = 0
        """Windows that quality turned away."""
        self.skipped = 0
        """Windows that overload skipped."""
        self._announced = [0] * len(self._labels)
        self._episodes: dict[int, _Episode] = {}
        self._quiet_until = [-math.inf] * len(self._labels)
        self._time = -math.inf
        self._usable_time = -math.inf
        self._smoothed = [0.0] * len(self._labels)
        self._votes: dict[int, int] = {}  # class -> one bit a usable window, newest lowest; absent where all are 0
        self._times: deque[float] = deque(maxlen=policy.confirm_of)
        self._leads: tuple[str, ...] = ()
        self._quality = 0.0

    def judge_by(self, classes: Sequence[ClassInfo]) -> None:
        """Take the thresholds of `classes` from now on: the same labels in the same order, of another model."""
        settings = [self.policy.of(label) for label in self._labels]
        own = [
            max(c.threshold, self.policy.threshold_floor) if s.threshold is None else s.threshold
            for c, s in zip(classes, settings, strict=True)
        ]
        # What is never announced has a threshold that no probability exceeds, and costs nothing further.
        self._enter = [t if s.announced else math.inf for t, s in zip(own, settings, strict=True)]
        self._exit = [t * (1 - self.policy.hysteresis) for t in own]

    @property
    def active(self) -> tuple[str, ...]:
        """Labels whose alert is announced and has not ended, in the order of the classes."""
        return tuple(self._labels[i] for i in sorted(self._episodes))

    @property
    def idle(self) -> bool:
        """Whether no alert is announced that has not ended: what `active` being empty says, for less."""
        return not self._episodes

    @property
    def present(self) -> tuple[str, ...]:
        """Labels of `active` that are not merely held: their finding is there."""
        if not self._episodes:
            return ()
        return tuple([self._labels[i] for i in sorted(self._episodes) if not self._episodes[i].held])

    @property
    def announced(self) -> dict[str, int]:
        """Episodes announced so far, by label, without those that had none."""
        return {label: n for label, n in zip(self._labels, self._announced, strict=True) if n}

    def step(
        self,
        time_s: float,
        probabilities: Probabilities | None,
        leads: Sequence[str],
        quality: float,
        active_elsewhere: Collection[str] = (),
        onsets: Mapping[str, float] | None = None,
        beats_are_regular: Callable[[], bool] | None = None,
    ) -> list[Alert]:
        """Take one window and return what it changes: ends first, then new alerts, then updates, each by class.

        time_s: end of the window in stream seconds, later than that of the step before. probabilities: (n,) in
        0..1, one for each class, or None for an unusable window: it neither confirms nor ends anything, but when
        the last usable window is more than `unknown_after_s` ago, open episodes end with reason `unknown`.
        leads, quality: of this window, copied into its alerts. active_elsewhere: labels announced by other
        detectors (the rhythm rules); they suppress after the policy's chains as this machine's own do.
        onsets: where it is known better than from the votes, when the finding of a label began, in stream seconds.
        beats_are_regular: asked only where a label with `irregular` is likely or announced, which such a window then
        speaks against.
        Raises ValueError where time does not advance, or for anything but n probabilities.
        """
        if not time_s > self._time:
            raise ValueError(f"window at {time_s} s comes after the one at {self._time} s")
        if probabilities is None:
            self._time = time_s
            self.unusable += 1
            return self._overdue(time_s)

        # Plain floats from here on: for some tens of classes they are faster than a dozen NumPy calls.
        p: list[float] = probabilities.tolist()
        # A sum with NaN in it is NaN, whatever `min` and `max` make of that.
        if probabilities.shape != (len(self._labels),) or not (min(p) >= 0.0 and max(p) <= 1.0 and sum(p) >= 0.0):
            raise ValueError(f"expected {len(self._labels)} probabilities, got {p}")
        self._time = time_s
        self.analyzed += 1
        gap = time_s - self._usable_time
        ends: list[Alert] = []
        if gap > self.policy.unknown_after_s:
            ends, gap = self._forget(time_s), math.inf  # the average starts anew, too
        self._usable_time = time_s
        self._leads, self._quality = tuple(leads), quality
        self._smooth(p, gap)
        self._times.append(time_s)
        above = list(compress(self._indices, map(gt, self._smoothed, self._enter)))
        if not (above or self._votes or self._episodes):
            return ends
        denied = self._denied(above, beats_are_regular)
        self._vote([i for i in above if i not in denied])
        return ends + self._decide(time_s, active_elsewhere, onsets or {}, denied)

    def skip(self, n_windows: int, time_s: float = -math.inf) -> list[Alert]:
        """Note that `n_windows` were not analyzed. They hold the state as unusable windows do.

        time_s: end of the last of them in stream seconds, where known; as with `step`, open episodes end with reason
        `unknown` when it is too long after the last usable window. The gap shows in the time of the next step, too.
        """
        self.skipped += n_windows
        return self._overdue(time_s)

    def acknowledge(self, label: str) -> list[Alert]:
        """Release the latch of `label`: a held alert ends now, one whose finding persists ends when it is gone.

        Returns the `end`, at the time of the last step, or nothing: also for a label that is not active.
        """
        for i, episode in self._episodes.items():
            if self._labels[i] == label:
                episode.acknowledged = True
                return [self._end(i, self._time, "acknowledged")] if episode.held else []
        return []

    def silence(self, label: str | None = None) -> list[Alert]:
        """Take note that somebody has seen the alerts, or that of `label`, and wants them quiet for `silence_s`.

        A held alert ends. One whose finding persists is acknowledged: it says so in an `update`, then nothing until
        the time is up or something about it changes, and it will end with its finding, latched or not. Returns these
        events, at the time of the last step. What is announced later is not silenced.
        """
        chosen = [i for i in sorted(self._episodes) if label in (None, self._labels[i])]
        ends = [self._end(i, self._time, "acknowledged") for i in chosen if self._episodes[i].held]
        goes_on = [i for i in chosen if i in self._episodes]
        for i in goes_on:
            self._episodes[i].acknowledged = True
            self._episodes[i].silent_until = self._time + self.policy.silence_s
        return ends + [self._tell(i, self._time, "update") for i in goes_on]

    def finish(self, time_s: float) -> list[Alert]:
        """End all open episodes, latched ones too, with reason `stream_end`, and drop the evidence.

        time_s: end of the stream in stream seconds; raises ValueError where that is before the last step.
        """
        if time_s < self._time:
            raise ValueError(f"the stream ends at {time_s} s, before its window at {self._time} s")
        self._time = time_s
        self._drop_evidence()
        return [self._end(i, time_s, "stream_end") for i in sorted(self._episodes)]

    def _smooth(self, p: list[float], gap: float) -> None:
        """Take the probabilities of a window, `gap` seconds after the last usable one, into the average."""
        tau = self.policy.smoothing_s
        forgotten = math.exp(-gap / tau) if tau else 0.0
        # Below the resolution of the arithmetic the average is the window itself, and rounding must not lift it
        # above the probabilities that it averages.
        if forgotten < sys.float_info.epsilon:
            self._smoothed = p
        else:
            weight = 1.0 - forgotten
            self._smoothed = [s + weight * (x - s) for s, x in zip(self._smoothed, p, strict=True)]

    def _denied(self, above: list[int], beats_are_regular: Callable[[], bool] | None) -> set[int]:
        """Return the classes that the beats speak against."""
        if beats_are_regular is None or self._irregular.isdisjoint({*above, *self._episodes}):
            return set()
        return self._irregular if beats_are_regular() else set()

    def _vote(self, above: list[int]) -> None:
        """Append each class's vote of this window."""
        votes = self._votes
        for i in {*above, *votes}:
            bits = (votes.get(i, 0) << 1 | (i in above)) & self._mask
            if bits:
                votes[i] = bits
            else:
                del votes[i]

    def _decide(
        self, time_s: float, active_elsewhere: Collection[str], onsets: Mapping[str, float], denied: Collection[int]
    ) -> list[Alert]:
        """Return what a usable window changes, after its votes are in."""
        ends, changed = [], []
        for i in sorted(self._episodes):
            episode = self._episodes[i]
            episode.below = episode.below + 1 if self._smoothed[i] < self._exit[i] or i in denied else 0
            gone = episode.below >= self.policy.end_windows
            if gone and not self._locked(i):
                ends.append(self._end(i, time_s, "below"))
            elif episode.held != (held := gone or (episode.held and episode.below > 0)):
                episode.held = held
                changed.append(i)

        new = self._confirmed(time_s, active_elsewhere)
        for i in new:
            self._announced[i] += 1
            first_vote = self._times[-self._votes[i].bit_length()]
            onset = onsets.get(self._labels[i], first_vote)
            self._episodes[i] = _Episode(self._announced[i], onset=onset, announced=time_s, told=time_s)
        if not self._episodes:
            return ends
        announced = {*self.present, *active_elsewhere}
        for i in sorted(self._episodes):
            if i not in new and not self._suppressors[i].isdisjoint(announced) and not self._locked(i):
                ends.append(self._end(i, time_s, "suppressed"))

        updates = [
            i
            for i, episode in sorted(self._episodes.items())
            if i not in new and (i in changed or self._speaks_again(episode, time_s))
        ]
        return ends + [self._tell(i, time_s, "new") for i in new] + [self._tell(i, time_s, "update") for i in updates]

    def _speaks_again(self, episode: _Episode, time_s: float) -> bool:
        """Return whether an episode that goes on has to say so: at its interval, and when a silence ends."""
        if episode.silent_until is not None:
            if time_s < episode.silent_until:
                return False
            episode.silent_until = None
            return True
        interval = self.policy.update_interval_s
        return interval > 0 and time_s - episode.told >= interval

    def _confirmed(self, time_s: float, active_elsewhere: Collection[str]) -> list[int]:
        """Return the classes to announce now: confirmed, not active, not in refractory time, not suppressed.

        This window has to be one of the votes: what waited for its refractory time, or for its suppressor to end,
        is announced only while it is still there.
        A suppressor that is confirmed but silent for its refractory time suppresses too: the finding is there.
        """
        confirmed = [i for i, bits in sorted(self._votes.items()) if bits.bit_count() >= self.policy.confirm_windows]
        if self._episodes.keys() >= set(confirmed):  # nothing new, as for as long as an episode goes on
            return []
        present = {*self.present, *(self._labels[i] for i in confirmed)}.union(active_elsewhere)
        return [
            i
            for i in confirmed
            if i not in self._episodes
            and self._votes[i] & 1
            and (time_s >= self._quiet_until[i] or self._priority[i] == "high")
            and self._suppressors[i].isdisjoint(present)
        ]

    def _overdue(self, time_s: float) -> list[Alert]:
        overdue = time_s - self._usable_time > self.policy.unknown_after_s
        return self._forget(time_s) if overdue and self._episodes else []

    def _forget(self, time_s: float) -> list[Alert]:
        """Drop the evidence of too long ago; end what is open, and hold what is latched."""
        self._drop_evidence()
        events = []
        for i in sorted(self._episodes):
            if not self._locked(i):
                events.append(self._end(i, time_s, "unknown"))
            elif not self._episodes[i].held:
                self._episodes[i].held = True
                events.append(self._tell(i, time_s, "update"))
        return events

    def _drop_evidence(self) -> None:
        self._usable_time = -math.inf
        self._votes.clear()

    def _locked(self, i: int) -> bool:
        """Return whether only an acknowledgment, or the end of the stream, ends the episode."""
        return self._latch[i] and not self._episodes[i].acknowledged

    def _end(self, i: int, time_s: float, reason: str) -> Alert:
        """Close the episode, start its refractory time and time-out, and return its last event."""
        event = self._tell(i, time_s, "end", reason)
        announced = self._episodes.pop(i).announced
        self._votes.pop(i, None)
        # Nobody has seen the finding go away: when the signal is back and it is still there, say so at once.
        if reason != "unknown":
            self._quiet_until[i] = max(time_s + self.policy.refractory_s, announced + self._timeout[i])
        return event

    def _tell(self, i: int, time_s: float, phase: str, reason: str | None = None) -> Alert:
        """Return an event about the open episode of class i."""
        episode = self._episodes[i]
        episode.told = time_s
        return Alert(
            time=time_s,
            id=f"{self._labels[i]}-{episode.number}",
            phase=phase,
            kind=self._kind,
            code=self.classes[i].code or None,
            label=self._labels[i],
            priority=self._priority[i],
            probability=None if self._kind == "rule" else self._smoothed[i],
            onset=episode.onset,
            leads=self._leads,
            quality=self._quality,
            latched=True if episode.held and phase != "end" else None,
            acknowledged=episode.acknowledged or None,
            reason=reason,
        )
