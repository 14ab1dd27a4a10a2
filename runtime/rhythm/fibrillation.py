"""Ventricular fibrillation and flutter: no complexes any more, but one oscillation at 2.5 to 10 Hz.

Over the last three seconds of up to three leads:

- leakage of the VF filter (Kuo and Dillman 1978, Computers in Cardiology 5:347): what is left when the signal is added
  to itself half a mean period earlier. A sine leaves nothing; complexes with rest between them leave nearly all.
- concentration: the share of the power from 1.25 to 25 Hz that lies within a quarter around the highest peak
  (after the spectral methods of Barro et al. 1989, J Biomed Eng 11:320). Narrow complexes spread over many harmonics.

Each is fooled by what does not fool the other, so the score is their difference: about 0.5 to 0.8 in flutter and coarse
fibrillation, 0.1 to 0.2 at most for conducted rhythms, whose peak mostly lies below 2.3 Hz besides. The comparison of
ten such measures by Amann et al. 2005 (Biomed Eng Online 4:60) led to the choice.
"""

from collections import deque
from functools import lru_cache

import numpy as np

from .. import native
from .filters import FloatArray
from .rolling import Rolling

LEADS_USED = 3  # more cost time and vote no better
WINDOW = 300  # samples: 3 s hold at least seven periods
STEP = 2  # `wave` has nothing above 20 Hz: every other sample will do
POINTS = WINDOW // STEP
LOWEST_HZ, HIGHEST_HZ, STEP_HZ = 1.25, 25.0, 0.25  # of the spectrum
SLOWEST_HZ, FASTEST_HZ = 2.3, 10.0  # of the oscillation: 140 to 600 a minute
AROUND = 0.25  # of the peak's frequency, that counts as the peak
SCORE = 0.3  # half way between the 99.9th percentile of conducted rhythm and the median of fibrillation
SMALLEST = 40.0  # mean of the absolute value in microvolts: a sine of 0.13 mV peak to peak; fine VF is lower yet
SPIKY = 0.18  # mean against highest absolute value: 0.64 for a sine; complexes with rest between them have less
HALF_FULL = 1.5  # seconds: the score of a window passes the limit when fibrillation fills about half of it
LOOK_SAMPLES = 50  # from one look to the next, 0.5 s
MAY_MISS = 1  # of the votes: fibrillation waxes and wanes

_MEASURE = WINDOW // LOOK_SAMPLES  # stretches that a window consists of


class Fibrillation:
    """Looks at up to LEADS_USED leads."""

    def __init__(self, seconds: float) -> None:
        """Start without votes; seconds: how long it must last to be `present`."""
        self.seen = False
        """Whether the last window showed it."""
        self.present = False
        """Whether the last looks showed fibrillation or flutter."""
        self.suspected = False
        """Whether any of the last looks showed it."""
        self._kernels = native.kernels
        self._ahead: list[bool] = []  # answers of the next looks, whose samples came at once with those of the last
        self._votes: deque[bool] = deque(maxlen=round((seconds - HALF_FULL) * 100 / LOOK_SAMPLES) + 1)
        self._spectrum = _spectrum() if self._kernels is None else _compiled_spectrum()

    def forget(self) -> None:
        """Drop the votes: the signal has a hole."""
        self._votes.clear()
        self._ahead.clear()
        self._count()

    def _count(self) -> None:
        votes = self._votes
        yes = sum(votes)
        self.present = len(votes) == votes.maxlen and yes >= len(votes) - MAY_MISS
        self.suspected = yes > 0

    def look(self, wave: Rolling, later: int, usable: tuple[bool, ...]) -> None:
        """Judge the WINDOW samples that end `later` samples before the newest of `wave`.

        usable: leads that can be read. Looks are LOOK_SAMPLES apart, but for those before which `forget` was called.
        """
        self.seen = self._ahead.pop(0) if self._ahead else self._look_on(wave, later, _chosen(usable))
        self._votes.append(self.seen)
        if self.seen or self.suspected:
            self._count()

    def _look_on(self, wave: Rolling, later: int, chosen: list[int]) -> bool:
        """Return whether the window shows it; what the next ones show for which there are samples is kept.

        `wave` is exact in float64, and so are sums of it: however many windows are measured at once.
        """
        if not chosen:
            return False
        looks = 1 + later // LOOK_SAMPLES
        whole = wave.last(WINDOW + (looks - 1) * LOOK_SAMPLES, later % LOOK_SAMPLES)[chosen[0] : chosen[-1] + 1]
        if self._kernels is not None:
            sizes, highest = self._kernels.measure_windows(whole, STEP, WINDOW, LOOK_SAMPLES, looks)
        else:
            sizes, highest = _measure(whole[:, ::STEP], looks)
        answers = []
        for n in range(looks):
            # Fibrillation shows in every lead, an artifact in one or two: more than half of those large enough.
            large = [k - chosen[0] for k in chosen if sizes[k - chosen[0]][n] >= SMALLEST * POINTS]
            needed = len(large) // 2 + 1
            large = [k for k in large if sizes[k][n] >= SPIKY * POINTS * highest[k][n]]
            if needed > len(large):  # as always while the heart beats: a tenth of what follows is saved
                answers.append(False)
                continue
            window = whole[:, n * LOOK_SAMPLES : n * LOOK_SAMPLES + WINDOW]
            answers.append(self._spectrum.most_show_it(window, STEP, large, [sizes[k][n] for k in large], needed))
        self._ahead = answers[1:]
        return answers[0]


class Spectrum:
    """Looks for an oscillation in windows of POINTS points."""

    def __init__(self) -> None:
        """Make the tables."""
        self.hz = np.arange(LOWEST_HZ, HIGHEST_HZ, STEP_HZ)
        """Frequency of each bin."""
        self.angles = 2 * np.pi * self.hz * STEP / 100
        """Of each bin from point to point."""
        self.bell = np.sin(np.pi * (np.arange(POINTS) + 0.5) / POINTS) ** 2
        """Weights (POINTS,) of a window."""
        turned = np.outer(self.angles, np.arange(POINTS))
        self._transform = np.concatenate((np.cos(turned), np.sin(turned))) * self.bell
        first, last = (np.searchsorted(self.hz, self.hz * (1 + side), "right") for side in (-AROUND, AROUND))
        self.first, self.last = first, last
        """First bin that counts as a bin's peak, and the one behind the last."""

    def most_show_it(self, wave: FloatArray, step: int, leads: list[int], sizes: list[float], needed: int) -> bool:
        """Return whether as many as needed of some leads reach SCORE.

        wave: (leads, samples), of which every `step`th counts; sizes: sum of the absolute values of each.
        """
        window = wave[:, ::step]
        steps: list[float] = np.abs(window[:, 1:] - window[:, :-1]).dot(_ones(POINTS - 1)).tolist()
        for n, (k, size) in enumerate(zip(leads, sizes, strict=True)):
            if needed > len(sizes) - n:  # not enough are left
                return False
            half_period = int(np.pi * size / max(steps[k], 1.0) + 0.5)
            if self._shows_it(window[k], size, min(max(half_period, 1), POINTS // 2)):
                needed -= 1
            if not needed:
                return True
        return False

    def _shows_it(self, signal: FloatArray, size: float, half_period: int) -> bool:
        """Return whether one lead's window (POINTS,) reaches SCORE.

        size: sum of its absolute values; half_period: in points, as the VF filter takes it from size and steps.
        """
        early, late = signal[:-half_period], signal[half_period:]
        left = float(np.abs(early + late).dot(_ones(POINTS - half_period)))
        # The concentration is a share: with so much left, counted against more than there is, it cannot suffice.
        if left >= (1 - SCORE) * 2 * size:
            return False
        parts = self._transform.dot(signal)
        np.multiply(parts, parts, out=parts)
        power = parts[: len(self.hz)]
        power += parts[len(self.hz) :]
        peak = int(power.argmax())
        if not SLOWEST_HZ <= self.hz[peak] <= FASTEST_HZ:
            return False
        concentration = float(np.add.reduce(power[self.first[peak] : self.last[peak]]) / np.add.reduce(power))
        if concentration <= SCORE:  # the leakage can only take it further down
            return False
        leakage = left / float(np.abs(early).sum() + np.abs(late).sum())
        return concentration - leakage > SCORE


@lru_cache
def _spectrum() -> Spectrum:
    """Return the tables, which all streams share."""
    return Spectrum()


@lru_cache
def _compiled_spectrum() -> "native.Spectrum":
    """Return the same, compiled."""
    s = _spectrum()
    assert native.kernels is not None
    first, last = s.first.astype(np.int32), s.last.astype(np.int32)
    made: native.Spectrum = native.kernels.Spectrum(
        s.bell, s.hz, 2 * np.cos(s.angles), first, last, SCORE, SLOWEST_HZ, FASTEST_HZ
    )
    return made


def _measure(whole: FloatArray, looks: int) -> tuple[list[list[float]], list[list[float]]]:
    """Return the sum of the absolute values and the highest of them, by lead and window, of (leads, points)."""
    heights = np.abs(whole)
    tops = np.maximum.reduce(heights.reshape(len(whole), -1, LOOK_SAMPLES // STEP), axis=2).tolist()
    return heights.dot(_windows(looks)).tolist(), [[max(t[n : n + _MEASURE]) for n in range(looks)] for t in tops]


@lru_cache
def _ones(count: int) -> FloatArray:
    """Return ones (count,): a product with them is the quicker sum."""
    return np.ones(count)


@lru_cache
def _windows(count: int) -> FloatArray:
    """Return the matrix (points, count) that sums up windows each LOOK_SAMPLES after the last, taken every STEPth."""
    step = LOOK_SAMPLES // STEP
    matrix = np.zeros((POINTS + (count - 1) * step, count))
    for k in range(count):
        matrix[k * step : k * step + POINTS, k] = 1
    return matrix


@lru_cache(maxsize=256)
def _chosen(usable: tuple[bool, ...]) -> list[int]:
    """Return the first LEADS_USED usable leads."""
    return [k for k, there in enumerate(usable) if there][:LEADS_USED]
