"""Where the beats are: peaks of the joined strength against an adaptive threshold.

The rules are those of Hamilton and Tompkins 1986 (IEEE Trans Biomed Eng 33:1157) and of Hamilton 2002 (Computers in
Cardiology 29:101), on another feature and with changes:

    strength
        |          QRS                                 QRS
      1 |          /\\                                   /\\
        |         /  \\        T                        /  \\
    thr |--------/----\\------------------------------ /----\\-----   between the noise peaks and the beats
        |  P    /      \\     /\\      noise    P      /      \\
        |_/\\__ /        \\___/  \\____/\\/\\____/\\______/        \\__
                  |<-- 200 ms -->|  refractory: the highest peak within it stands for all
                  |<---- 360 ms ---->|  a peak in here without half the beat's upper frequencies is its T wave
                  |<------ 1.5 RR ------>|  by then without a beat: the highest peak above a lower threshold was one

- In noise a peak that comes early for the rhythm needs more height.
- Searching back also finds a peak with half the lower frequencies of the usual beat: wide beats are low in strength.
- A small peak less than 280 ms before a beat, taken for one at first, was its P wave and is taken back.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

REFRACTORY = 20  # samples (200 ms): no ventricle beats again sooner
NEVER = 1000  # samples: longer ago than anything that counts
RISE = 6  # samples before a peak, and one after it, among which its frequencies are highest
T_WAVE_WITHIN = 36  # samples (360 ms) after a beat in which a peak may be its T wave (Hamilton 2002)
T_WAVE_SHARE = 0.55  # of the beat's upper frequencies; a peak with less of them is one
P_WAVE_WITHIN = 28  # samples before a beat in which a lower peak may have been its P wave
P_WAVE_SHARE = 0.6  # of the beat's height
THRESHOLD = 0.4  # of the way from the noise peaks to the beats (Hamilton 2002: 0.3125 to 0.475)
LOWER_THRESHOLD = 0.5  # of the threshold, for searching back
LOWEST = 0.18  # of the beats' height: nothing below is a beat, however quiet it is around it
SEARCH_BACK = 1.5  # RR intervals without a beat, after which to search back
NOISE_LIMIT = 0.7  # of the beats' height: so that beats can come through whatever the noise
MEMORY = 8  # beats, noise peaks and intervals remembered
NOISY, NOISIER = 0.15, 0.35  # noise against beats, from and up to which early peaks need more height
EARLY = 0.85  # of the RR interval: a peak before that is early
EARLY_RAISE = 2.0  # raise of the threshold right after a beat when it is noisy
WIDE_SHARE = 0.5  # of the beats' lower frequencies: a peak with as much may be a wide beat that is low for its width
SETTLING = 90  # samples from the start that the filters' edge may have shaped
LEARNING = 300  # samples from the start after which the highest peak so far is taken for a beat
FULL = 0.6  # joined strength of a highest peak in which the leads agree; below it there was no beat
FIRST_LEVEL = 0.7  # of that peak: it may have been an ectopic beat, or noise


class Beat(NamedTuple):
    """A ventricular beat."""

    sample: int
    """Sample of its peak, counted as the samples pushed."""
    height: float
    """Joined strength, about 1; 0 takes the beat at `sample` back: it was a P wave."""
    sharpness: float
    """Envelope at 18 Hz against the geometric mean of those at 9 and 18 Hz: less for a wide beat."""


class _Peak(NamedTuple):
    """A peak of the strength, and the highest upper and lower frequencies beside it."""

    sample: int
    height: float
    upper: float
    lower: float


class BeatDetector:
    """Finds beats in a stream of strengths."""

    def __init__(self) -> None:
        """Start by learning what a beat is."""
        self.level = 0.0
        """Height of the recent beats, 0 while learning."""
        self.noise = 0.0
        """Height of the recent peaks that are no beats."""
        self.end = 0
        """Samples so far."""
        self.last: Beat | None = None
        """The last beat."""
        self._learned_at = LEARNING
        self._upper = 0.0  # upper frequencies of the last beat
        self._lower = 0.0  # lower frequencies of the recent beats
        self._heights: list[float] = []
        self._noise: list[float] = []
        self._intervals: list[int] = []
        self._interval = 100.0
        self._threshold = 0.0
        self._noisiness = 0.0  # 0 to 1
        self._rising, self._last_height = False, 0.0  # how the strength came to stand where
        self._pending: _Peak | None = None
        self._missed: _Peak | None = None
        self._joined = self._earlier = [0.0] * (3 * RISE)  # what was taken last and before that
        self._start = -RISE  # its first sample

    @property
    def learning(self) -> bool:
        """Whether no beat is known yet."""
        return not self.level

    @property
    def settled(self) -> bool:
        """Whether the filters have left behind what was before the first sample learned from."""
        return self.end >= self._learned_at - LEARNING + SETTLING

    @property
    def searched(self) -> int:
        """Sample up to which every peak has been judged."""
        return self.end - REFRACTORY if self._pending is None else self._pending.sample

    def forget(self) -> None:
        """Drop what a break in the signal makes doubtful: peaks not yet judged, and the interval across it."""
        self._pending = self._missed = None
        self._rising, self._last_height = False, 0.0
        self.last = None

    def skip(self, samples: int) -> None:
        """Let samples go by that no lead can be read in; what is still to be learned from comes that much later."""
        self.end += samples
        if self.learning:
            self._learned_at += samples

    def relearn(self) -> None:
        """Learn from now on what a beat is, as at the start."""
        self.forget()
        self.level = self.noise = self._noisiness = 0.0
        self._heights, self._noise = [], []
        self._learned_at = self.end + LEARNING

    def take(self, joined: list[float]) -> None:
        """Take strengths, then as many upper halves, then lower ones, for `walk` to go through."""
        self._earlier, self._joined, self._start = self._joined, joined, self.end

    def walk(self, samples: int, trust_wide: bool) -> list[Beat]:
        """Go through the next samples of what was taken, and return the beats that are now known.

        trust_wide: whether a peak may be a beat for its lower frequencies alone.
        """
        found: list[Beat] = []
        rising, last = self._rising, self._last_height
        pending, end = self._pending, self.end
        sample, height = (pending.sample, pending.height) if pending is not None else (end - NEVER, 0.0)
        # k is the sample before this one.
        for k, value in enumerate(self._joined[end - self._start : end - self._start + samples], end - 1):
            if value > last:
                rising = True
            elif rising:  # a peak there
                rising = False
                if k - sample >= REFRACTORY:
                    if height:
                        found += self._judge(pending or self._peak(sample, height))
                    pending, sample, height = None, k, last
                elif last > height:
                    pending, sample, height = None, k, last
            last = value
        self.end = end + samples
        if height:
            pending = pending or self._peak(sample, height)
            if self.end - 1 - sample > REFRACTORY:
                found += self._judge(pending)
                pending = None
        self._pending = pending
        self._rising, self._last_height = rising, last
        return found + self._search_back(trust_wide) if self._missed is not None else found

    def _peak(self, sample: int, height: float) -> _Peak:
        """Return a peak in what was taken, or at the end of what was before, with the highest frequencies around it."""
        joined = self._joined
        n, place = len(joined) // 3, sample - self._start
        start, stop = max(place - RISE, 0), place + 2
        upper, lower = joined[n + start : n + stop], joined[2 * n + start : 2 * n + stop]
        if place < RISE:
            n, before = len(self._earlier) // 3, place - RISE
            upper, lower = upper + self._earlier[2 * n + before : 2 * n], lower + self._earlier[before:]
        return _Peak(sample, height, max(upper), max(lower))

    def _judge(self, peak: "_Peak") -> list[Beat]:
        """Return what a peak that is highest within the refractory time gives."""
        sample, height = peak.sample, peak.height
        if not self.level:
            if sample >= self._learned_at - LEARNING + SETTLING:
                self._heights.append(height)
            if sample < self._learned_at or max(self._heights, default=0.0) < FULL:
                return []
            self._heights = [FIRST_LEVEL * max(self._heights)]
            self._adapt()
        since = sample - self.last.sample if self.last else sample
        needed = self._threshold
        if self._noisiness and since < EARLY * self._interval:
            needed *= 1 + EARLY_RAISE * self._noisiness * (1 - since / (EARLY * self._interval))
        t_wave = since < T_WAVE_WITHIN and peak.upper < T_WAVE_SHARE * self._upper
        if height > needed and not t_wave:
            p_wave = self.last is not None and since < P_WAVE_WITHIN and self.last.height < P_WAVE_SHARE * height
            return ([self._take_back()] if p_wave else []) + [self._beat(peak)]
        if height < needed:
            self._noise = [*self._noise, height][-MEMORY:]
            self._adapt_to_noise()
        if since >= T_WAVE_WITHIN and (self._missed is None or height > self._missed.height):
            self._missed = peak
        return []

    def _search_back(self, trust_wide: bool) -> list[Beat]:
        """Return the beat that must have been missed, if one must."""
        if self._missed is None or self.last is None or self.end - self.last.sample < SEARCH_BACK * self._interval:
            return []
        lower = LOWER_THRESHOLD * (self._threshold + self._noisiness * self.noise)
        high = self._missed.height > max(lower, LOWEST * self.level)
        wide = trust_wide and self._missed.lower > WIDE_SHARE * self._lower
        if wide and not high:  # its likes were taken for noise
            self._noise = [peak for peak in self._noise if peak < self._missed.height / 2]
        return [self._beat(self._missed)] if high or wide else []

    def _beat(self, peak: "_Peak") -> Beat:
        sample, height = peak.sample, peak.height
        if self.last is not None:
            self._intervals = [*self._intervals, sample - self.last.sample][-MEMORY:]
        self.last = Beat(sample, height, peak.upper / height)
        self._upper = peak.upper
        self._lower += (peak.lower - self._lower) / MEMORY if self._lower else peak.lower
        self._missed = None
        # An artifact must not lift the threshold beyond the beats that follow it.
        self._heights = [*self._heights, min(height, 2 * self.level)][-MEMORY:]
        self._adapt()
        return self.last

    def _take_back(self) -> Beat:
        """Undo the last beat: it was a P wave."""
        assert self.last is not None
        wrong = self.last
        self._heights.pop()
        self._noise = [*self._noise, wrong.height][-MEMORY:]
        if self._intervals:
            self.last = Beat(wrong.sample - self._intervals.pop(), self.level, 1.0)
        else:
            self.last = None
        return Beat(wrong.sample, 0.0, 0.0)

    def _adapt(self) -> None:
        """Follow new heights, noise peaks and intervals."""
        if self._heights:
            self.level = median(self._heights)
        if len(self._intervals) >= 3:
            self._interval = median(self._intervals)
        self._adapt_to_noise()

    def _adapt_to_noise(self) -> None:
        if self._noise:
            # One by one: from Python 3.12 on `sum` carries along what rounding loses.
            self.noise = min(reduce(add, self._noise) / len(self._noise), NOISE_LIMIT * self.level)
        self._noisiness = min(max((self.noise / self.level - NOISY) / (NOISIER - NOISY), 0.0), 1.0)
        self._threshold = max(self.noise + THRESHOLD * (self.level - self.noise), LOWEST * self.level)


def median(values: Sequence[float]) -> float:
    """Return the median; that of the standard library costs three times as much for so few."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
