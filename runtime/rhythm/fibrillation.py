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

import numpy as np
import numpy.typing as npt

from .filters import FloatArray

LEADS_USED = 3  # more cost time and vote no better
WINDOW = 300  # samples: 3 s hold at least seven periods
STEP = 2  # `wave` has nothing above 20 Hz: every other sample will do
LOWEST_HZ, HIGHEST_HZ, STEP_HZ = 1.25, 25.0, 0.25  # of the spectrum
SLOWEST_HZ, FASTEST_HZ = 2.3, 10.0  # of the oscillation: 140 to 600 a minute
AROUND = 0.25  # of the peak's frequency, that counts as the peak
SCORE = 0.3  # half way between the 99.9th percentile of conducted rhythm and the median of fibrillation
SMALLEST = 40.0  # mean of the absolute value in microvolts: a sine of 0.13 mV peak to peak; fine VF is lower yet
HALF_FULL = 1.5  # seconds: the score of a window passes the limit when fibrillation fills about half of it
EVERY_SECONDS = 0.5  # from one look to the next
MAY_MISS = 1  # of the votes: fibrillation waxes and wanes


class Fibrillation:
    """Looks at up to LEADS_USED leads."""

    def __init__(self, seconds: float) -> None:
        """Start without votes; seconds: how long it must last to be `present`."""
        self.score = 0.0
        """Score of the last window, 0 where no lead could be judged."""
        self._votes: deque[bool] = deque(maxlen=round((seconds - HALF_FULL) / EVERY_SECONDS) + 1)
        n = WINDOW // STEP
        hz = np.arange(LOWEST_HZ, HIGHEST_HZ, STEP_HZ)
        angles = 2 * np.pi * np.outer(hz, np.arange(n) * STEP / 100)
        bell = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
        self._transform = np.concatenate((np.cos(angles), np.sin(angles))) * bell
        first, last = (np.searchsorted(hz, hz * (1 + side), "right") for side in (-AROUND, AROUND))
        self._hz, self._first, self._last = hz.tolist(), first.tolist(), last.tolist()

    @property
    def present(self) -> bool:
        """Whether the last looks showed fibrillation or flutter."""
        votes = self._votes
        return len(votes) == votes.maxlen and sum(votes) >= len(votes) - MAY_MISS

    def forget(self) -> None:
        """Drop the votes: the signal has a hole."""
        self._votes.clear()

    def look(self, wave: FloatArray, usable: npt.NDArray[np.bool_]) -> None:
        """Judge the last WINDOW samples of `wave` (samples, leads); usable: leads (leads,) that can be read."""
        window = wave[-WINDOW::STEP, np.flatnonzero(usable)[:LEADS_USED]]
        self.score = self._judge(window) if window.shape[1] else 0.0
        self._votes.append(self.score > SCORE)

    def _judge(self, window: FloatArray) -> float:
        """Return the score that most of the leads in `window` (samples, leads) reach, 0 without a large enough one.

        Fibrillation shows in every lead, an artifact in one or two: of two leads it is the lower score, of three the
        middle one.
        """
        parts = self._transform @ window
        power = np.square(parts).reshape(2, len(self._hz), -1).sum(axis=0)
        peaks = power.argmax(axis=0).tolist()
        size = np.abs(window).sum(axis=0).tolist()
        scores = []
        for k, peak in enumerate(peaks):
            if size[k] < SMALLEST * len(window):
                continue
            score = 0.0  # of a lead whose peak lies elsewhere
            if SLOWEST_HZ <= self._hz[peak] <= FASTEST_HZ:
                score = self._concentration(power[:, k], peak)
                if score > SCORE:  # otherwise the leakage can only take it further down
                    score -= _leakage(window[:, k], size[k])
            scores.append(max(score, 0.0))
        return sorted(scores)[(len(scores) - 1) // 2] if scores else 0.0

    def _concentration(self, power: FloatArray, peak: int) -> float:
        return float(power[self._first[peak] : self._last[peak]].sum() / power.sum())


def _leakage(signal: FloatArray, size: float) -> float:
    """Return the VF filter's leakage (0 to 1) of a signal, by half its mean period; size: sum |v|."""
    half_period = np.pi * size / max(float(np.abs(signal[1:] - signal[:-1]).sum()), 1.0)
    n = min(max(int(half_period + 0.5), 1), len(signal) // 2)
    early, late = signal[:-n], signal[n:]
    whole = np.abs(early).sum() + np.abs(late).sum()
    return float(np.abs(early + late).sum() / whole)
