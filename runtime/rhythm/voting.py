"""Many leads into one: each has a voice by how well its beats stand out from what lies between them.

A lead's `strength` is divided by the height of its own beats, so that a QRS complex is about 1 in every lead, limited,
so that one lead's artifact stays one voice, and weighted by the square of its ratio of beat to background. A lead that
becomes noisy loses its voice within a second or two; one that is off or flat has none.
"""

from functools import lru_cache

import numpy as np

from ..filters import BLOCK
from .filters import GROUP, FloatArray
from .rolling import Rolling

HISTORY = 300  # samples of strength kept, so that a beat found late still tells how high it stood
LOUDEST = 3.0  # of a lead's usual beat: higher than any ectopic beat need be
LOOK_BACK = 200  # samples in which a beating heart shows, and that the background is averaged over: two or three beats
# Of a lead's usual beat. While one shows more than ACTIVE, those with less than SILENT are not quiet but dead (an
# amplifier that blocks after a shock of static, an electrode that dries), and have no voice.
ACTIVE, SILENT = 0.5, 0.25
WEIGH_BLOCKS = 2  # from one weighing of the leads to the next: half a second
QUIETEST = 0.1  # background of a clean lead against its beats; a quieter one is no better
LEVEL_BEATS = 8  # time constant of a lead's beat height, as long as the detector's memory
LOWEST_LEVEL = 35.0  # microvolts of strength: a QRS complex of about 0.15 mV; noise of electrodes stays below

_MEAN = np.full(LOOK_BACK, 1 / LOOK_BACK)


class Voting:
    """Follows the beat height and the background of each lead, and joins them."""

    def __init__(self, leads: int) -> None:
        """Start without knowing any lead."""
        self._level = np.full(leads, LOWEST_LEVEL)
        self._weight = np.zeros(leads)
        self._limit = LOUDEST * self._level
        self._usable: tuple[bool, ...] = (False,) * leads
        self._history = Rolling(leads, HISTORY + GROUP * BLOCK)
        self._room = self._views = np.zeros((GROUP, 3 * BLOCK, leads))
        self._end = 0  # samples joined so far
        self._later = 0  # samples that came at once with them and are not joined yet

    def push(self, squares: FloatArray) -> None:
        """Take the squared envelopes at 18 and below at 9 Hz of n blocks, (n, 2 * BLOCK, leads).

        The strength is their geometric mean, about 1 at a beat; the upper half is the envelope at 18 Hz, which T waves
        lack, the lower that at 9 Hz, which wide beats have.
        """
        views = self._views = self._room[: len(squares)]
        strength = views[:, :BLOCK]
        np.sqrt(squares, out=views[:, BLOCK:])
        np.multiply(views[:, BLOCK : 2 * BLOCK], views[:, 2 * BLOCK :], out=strength)
        np.sqrt(strength, out=strength)
        self._history.append(strength)

    def skip(self, samples: int) -> None:
        """Let samples go by that no lead can be read in."""
        self._end += samples

    def join(self, block: int, usable: tuple[bool, ...], learning: bool) -> list[float]:
        """Return strength, upper and lower half, BLOCK of each, joined over the leads; 0 without a usable lead.

        block: which of those that came last; each once, in order. usable: leads that may have a voice. learning: no
        beat is known yet; a lead's level is then the highest that it had.
        """
        views = self._views[block]
        self._later = (len(self._views) - 1 - block) * BLOCK
        self._end += BLOCK
        if learning:
            np.maximum(self._level, np.maximum.reduce(views[:BLOCK]), out=self._level)
        if learning or self._end % (WEIGH_BLOCKS * BLOCK) == 0 or usable != self._usable:
            self._weigh(usable)
        joined: list[float] = np.minimum(views, self._limit, out=views).dot(self._weight).tolist()
        return joined

    def _weigh(self, usable: tuple[bool, ...]) -> None:
        """Give each usable lead its weight, which also divides by its level."""
        recent = self._history.last(LOOK_BACK, self._later)
        level = self._level
        ratio = recent.dot(_MEAN)
        ratio /= level
        np.maximum(ratio, QUIETEST, out=ratio)
        ratio *= ratio
        weight = _numbers(usable) / ratio
        activity: list[float] = (np.maximum.reduce(recent, axis=1) / level).tolist()
        if min(activity) <= SILENT and any(u and a > ACTIVE for u, a in zip(usable, activity, strict=True)):
            weight *= [a > SILENT for a in activity]
        self._usable = usable
        self._limit = LOUDEST * level
        weight /= max(float(np.add.reduce(weight)), 1.0) * level
        self._weight = weight

    @property
    def voices(self) -> list[bool]:
        """Leads that have a voice now."""
        return [weight > 0 for weight in self._weight.tolist()]

    def relearn(self) -> None:
        """Forget how high beats stand."""
        self._level[:] = LOWEST_LEVEL

    def beat(self, sample: int, usable: tuple[bool, ...]) -> None:
        """Learn from a beat at `sample` how high beats stand in each usable lead."""
        place = sample - self._end + HISTORY
        if place < 5:
            return
        around = min(place + 6, HISTORY)
        recent = self._history.last(around - place + 5, self._later + HISTORY - around)
        level = self._level
        step = np.minimum(np.maximum.reduce(recent, axis=1), 2 * level)
        step -= level
        step *= _numbers(usable)
        level += step / LEVEL_BEATS
        np.maximum(level, LOWEST_LEVEL, out=level)


@lru_cache(maxsize=256)
def _numbers(usable: tuple[bool, ...]) -> FloatArray:
    """Return 1 for each lead that is usable and 0 for the others, (leads,)."""
    return np.array(usable, dtype=np.float64)
