"""Heart rate from the times of beats, and what a run of beats says of it."""

from collections import deque
from itertools import islice, pairwise, takewhile
from operator import itemgetter

from .beats import median
from .regularity import irregularity

AVERAGED = 8  # beats' intervals in the displayed rate, as many as monitors commonly use
FEWEST = 3  # intervals below which no rate is given
LONGEST_MEMORY = 64  # beats kept, more than any rule counts


class Rate:
    """Remembers the last beats of an unbroken stretch of signal; times in seconds."""

    def __init__(self) -> None:
        """Start without a beat."""
        self._beats: deque[tuple[float, bool]] = deque(maxlen=LONGEST_MEMORY)  # newest first: time, ventricular
        self._run: int | None = None  # answer of `ventricular_run` since the last change
        self.last: float | None = None
        """Time of the last beat."""

    def beat(self, time: float, ventricular: bool) -> None:
        """Take a beat; one that was found late goes where it belongs."""
        later = []
        while self._beats and self._beats[0][0] > time:
            later.append(self._beats.popleft())
        self._beats.appendleft((time, ventricular))
        self._beats.extendleft(reversed(later))
        self._changed()

    def take_back(self, time: float) -> list[tuple[float, bool]]:
        """Forget a beat that was none, and return it as it was taken, if it still was remembered."""
        wrong = [b for b in self._beats if b[0] == time]
        for beat in wrong:
            self._beats.remove(beat)
        self._changed()
        return wrong

    def forget(self) -> None:
        """Forget all beats: nothing is known of what lies between them and the next."""
        self._beats.clear()
        self._changed()

    def _changed(self) -> None:
        self._run = None
        self.last = self._beats[0][0] if self._beats else None

    def bpm(self, now: float) -> float | None:
        """Return the rate over the last beats, None while it is unknown.

        Time since the last beat counts once it is longer than their mean interval, so that the rate falls when beats
        stay away.
        """
        n = min(AVERAGED, len(self._beats) - 1)
        if n < FEWEST:
            return None
        newest, oldest = self._beats[0][0], self._beats[n][0]
        mean = (newest - oldest) / n
        return 60 / mean if now - newest <= 1.5 * mean else 60 * (n + 1) / (now - oldest)

    def over(self, beats: int) -> tuple[float, float] | None:
        """Return the mean rate over the last `beats` beats and the time of the first of them; None for fewer beats."""
        if len(self._beats) < beats:
            return None
        first = self._beats[beats - 1][0]
        return 60 * (beats - 1) / (self._beats[0][0] - first), first

    def median_over(self, beats: int) -> float:
        """Return the rate of the median interval of the last `beats` beats, which there must be."""
        times = [time for time, _ in islice(self._beats, beats)]
        return 60 / median([later - earlier for later, earlier in pairwise(times)])

    def irregularity(self) -> float | None:
        """Return how irregular the beats are, None while that is not known; see `regularity`."""
        return irregularity(self._beats)

    def ventricular_run(self) -> int:
        """Return how many ventricular beats stand in a row now."""
        if self._run is None:
            self._run = sum(1 for _ in takewhile(itemgetter(1), self._beats))
        return self._run
