"""Many leads into one: each has a voice by how well its beats stand out from what lies between them.

A lead's `strength` is divided by the height of its own beats, so that a QRS complex is about 1 in every lead, limited,
so that one lead's artifact stays one voice, and weighted by the square of its ratio of beat to background. A lead that
becomes noisy loses its voice within a second or two; one that is off or flat has none.
"""

import numpy as np
import numpy.typing as npt

from ..conditioning import BLOCK
from .filters import Filtered, FloatArray

HISTORY = 300  # samples of strength kept, so that a beat found late still tells how high it stood
LOUDEST = 3.0  # of a lead's usual beat: higher than any ectopic beat need be
BACKGROUND_BLOCKS = 8  # time constant of the background: 2 s, which holds two or three beats
QUIETEST = 0.1  # background of a clean lead against its beats; a quieter one is no better
LEVEL_BEATS = 8  # time constant of a lead's beat height, as long as the detector's memory
LOWEST_LEVEL = 20.0  # microvolts of strength: a QRS complex of about 0.1 mV; a lead with lower ones finds no beats


class Voting:
    """Follows the beat height and the background of each lead, and joins them."""

    def __init__(self, leads: int) -> None:
        """Start without knowing any lead."""
        self._level = np.full(leads, LOWEST_LEVEL)
        self._background = np.zeros(leads)
        self._history = np.zeros((HISTORY, leads))
        self._end = 0  # samples so far

    def push(self, filtered: Filtered, usable: npt.NDArray[np.bool_], learning: bool) -> tuple[FloatArray, FloatArray]:
        """Return the joined strength (BLOCK,) and its upper half (BLOCK,), about 1 at a beat; 0 without a usable lead.

        The strength is the geometric mean of both envelopes; the upper half is that of 18 Hz, which T waves lack.
        usable: leads with a voice. learning: no beat is known yet; a lead's level is then the highest that it had.
        """
        high = np.sqrt(filtered.high)
        strength = np.sqrt(np.sqrt(filtered.low) * high)
        self._history[:-BLOCK] = self._history[BLOCK:]
        self._history[-BLOCK:] = strength
        self._end += BLOCK
        if learning:
            np.maximum(self._level, strength.max(axis=0), out=self._level)
        self._background += (strength.mean(axis=0) - self._background) / BACKGROUND_BLOCKS
        ratio = np.maximum(self._background / self._level, QUIETEST)
        weight = usable / (ratio * ratio)
        total = weight.sum()
        if not total:
            return np.zeros(BLOCK), np.zeros(BLOCK)
        limit = LOUDEST * self._level
        weight /= total * self._level
        return np.minimum(strength, limit) @ weight, np.minimum(high, limit) @ weight

    def relearn(self) -> None:
        """Forget how high beats stand."""
        self._level[:] = LOWEST_LEVEL

    def beat(self, sample: int, usable: npt.NDArray[np.bool_]) -> None:
        """Learn from a beat at `sample` how high beats stand in each usable lead."""
        place = sample - self._end + HISTORY
        if place < 5:
            return
        peak = self._history[place - 5 : place + 6].max(axis=0)
        step = np.where(usable, np.minimum(peak, 2 * self._level) - self._level, 0) / LEVEL_BEATS
        self._level = np.maximum(self._level + step, LOWEST_LEVEL)
