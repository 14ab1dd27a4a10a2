"""Many leads into one: each has a voice by how well its beats stand out from what lies between them.

A lead's `strength` is divided by the height of its own beats, so that a QRS complex is about 1 in every lead, limited,
so that one lead's artifact stays one voice, and weighted by the square of its ratio of beat to background. A lead that
becomes noisy loses its voice within a second or two; one that is off or flat has none.
"""

import numpy as np
import numpy.typing as npt

from ..filters import BLOCK
from .filters import FloatArray

HISTORY = 300  # samples of strength kept, so that a beat found late still tells how high it stood
LOUDEST = 3.0  # of a lead's usual beat: higher than any ectopic beat need be
BACKGROUND_SAMPLES = 200  # that the background is averaged over: 2 s, which hold two or three beats
ACTIVE_SAMPLES = 200  # 2 s, in which a beating heart shows
# Of a lead's usual beat. While one shows more than ACTIVE, those with less than SILENT are not quiet but dead (an
# amplifier that blocks after a shock of static, an electrode that dries), and have no voice.
ACTIVE, SILENT = 0.5, 0.25
WEIGH_BLOCKS = 2  # from one weighing of the leads to the next: half a second
QUIETEST = 0.1  # background of a clean lead against its beats; a quieter one is no better
LEVEL_BEATS = 8  # time constant of a lead's beat height, as long as the detector's memory
LOWEST_LEVEL = 35.0  # microvolts of strength: a QRS complex of about 0.15 mV; noise of electrodes stays below


class Voting:
    """Follows the beat height and the background of each lead, and joins them."""

    def __init__(self, leads: int) -> None:
        """Start without knowing any lead."""
        self._level = np.full(leads, LOWEST_LEVEL)
        self._weight = np.zeros(leads)
        self._limit = LOUDEST * self._level
        self._usable = np.zeros(leads, dtype=np.bool_)
        self._history = np.zeros((HISTORY, leads))
        self._views = np.zeros((3, BLOCK, leads))
        self._end = 0  # samples so far

    def push(self, low: FloatArray, high: FloatArray, usable: npt.NDArray[np.bool_], learning: bool) -> FloatArray:
        """Return strength, upper and lower half, (3, BLOCK), joined over the leads; 0 without a usable lead.

        low, high: squared envelopes (BLOCK, leads). The strength is their geometric mean, about 1 at a beat; the
        upper half is the envelope at 18 Hz, which T waves lack, the lower that at 9 Hz, which wide beats have. usable:
        leads with a voice. learning: no beat is known yet; a lead's level is then the highest that it had.
        """
        self._views[1] = np.sqrt(high, out=high)
        self._views[2] = np.sqrt(low, out=low)
        low *= high
        strength = np.sqrt(low, out=self._views[0])
        self._history[:-BLOCK] = self._history[BLOCK:]
        self._history[-BLOCK:] = strength
        self._end += BLOCK
        if learning:
            np.maximum(self._level, strength.max(axis=0), out=self._level)
        if learning or self._end % (WEIGH_BLOCKS * BLOCK) == 0 or (usable != self._usable).any():
            self._weigh(usable)
        joined: FloatArray = np.minimum(self._views, self._limit) @ self._weight
        return joined

    def _weigh(self, usable: npt.NDArray[np.bool_]) -> None:
        """Give each usable lead its weight, which also divides by its level."""
        background = self._history[-BACKGROUND_SAMPLES:].mean(axis=0)
        ratio = np.maximum(background / self._level, QUIETEST)
        weight = usable / (ratio * ratio)
        activity = self._history[-ACTIVE_SAMPLES:].max(axis=0) / self._level
        if (usable & (activity > ACTIVE)).any():
            weight *= activity > SILENT
        self._usable = usable
        self._limit = LOUDEST * self._level
        self._weight = weight / (max(weight.sum(), 1.0) * self._level)

    @property
    def voices(self) -> npt.NDArray[np.bool_]:
        """Leads (leads,) that have a voice now."""
        return self._weight > 0

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
