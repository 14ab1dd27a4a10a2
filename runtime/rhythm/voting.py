"""Many leads into one: each has a voice by how well its beats stand out from what lies between them.

A lead's `strength` is divided by the height of its own beats, so that a QRS complex is about 1 in every lead, limited,
so that one lead's artifact stays one voice, and weighted by the square of its ratio of beat to background. A lead that
becomes noisy loses its voice within a second or two; one that is off or flat has none.

What is said of each lead is kept in lists: for eight leads they are faster than arrays.
"""

from collections.abc import Sequence

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
        self._level = [LOWEST_LEVEL] * leads
        self._weight = np.zeros(leads)
        self._limit = np.full(leads, LOUDEST * LOWEST_LEVEL)
        self._usable: Sequence[bool] = (False,) * leads
        self._history = Rolling(leads, HISTORY + GROUP * BLOCK)
        self._room = self._views = np.zeros((GROUP, 3 * BLOCK, leads))
        self._end = 0  # samples joined so far
        self._later = 0  # samples that came at once with them and are not joined yet
        self._weights = [0.0] * leads

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

    def join(self, block: int, usable: Sequence[bool], learning: bool) -> list[float]:
        """Return strength, upper and lower half, BLOCK of each, joined over the leads; 0 without a usable lead.

        block: which of those that came last; each once, in order. usable: leads that may have a voice. learning: no
        beat is known yet; a lead's level is then the highest that it had.
        """
        views = self._views[block]
        self._later = (len(self._views) - 1 - block) * BLOCK
        self._end += BLOCK
        if learning:
            highest = np.maximum.reduce(views[:BLOCK]).tolist()
            self._level = [max(pair) for pair in zip(self._level, highest, strict=True)]
        if learning or self._end % (WEIGH_BLOCKS * BLOCK) == 0 or usable != self._usable:
            self._weigh(usable)
        joined: list[float] = np.minimum(views, self._limit, out=views).dot(self._weight).tolist()
        return joined

    def _weigh(self, usable: Sequence[bool]) -> None:
        """Give each usable lead its weight, which also divides by its level."""
        recent = self._history.last(LOOK_BACK, self._later)
        backgrounds: list[float] = recent.dot(_MEAN).tolist()
        highest: list[float] = np.maximum.reduce(recent, axis=1).tolist()
        leads = list(zip(usable, self._level, backgrounds, highest, strict=True))
        active = any(there and peak > ACTIVE * level for there, level, _, peak in leads)
        quietest = SILENT if active else -1.0
        weights = [
            1 / max(background / level, QUIETEST) ** 2 if there and peak > quietest * level else 0.0
            for there, level, background, peak in leads
        ]
        total = max(sum(weights), 1.0)
        self._usable = usable
        self._limit[:] = [LOUDEST * level for level in self._level]
        self._weight[:] = [weight / (total * level) for weight, level in zip(weights, self._level, strict=True)]
        self._weights = weights

    @property
    def voices(self) -> list[bool]:
        """Leads that have a voice now."""
        return [weight > 0 for weight in self._weights]

    def relearn(self) -> None:
        """Forget how high beats stand."""
        self._level = [LOWEST_LEVEL] * len(self._level)

    def beat(self, sample: int, usable: Sequence[bool]) -> None:
        """Learn from a beat at `sample` how high beats stand in each usable lead."""
        place = sample - self._end + HISTORY
        if place < 5:
            return
        around = min(place + 6, HISTORY)
        recent = self._history.last(around - place + 5, self._later + HISTORY - around)
        peaks = np.maximum.reduce(recent, axis=1).tolist()
        for k, level in enumerate(self._level):
            if usable[k]:
                self._level[k] = max(level + (min(peaks[k], 2 * level) - level) / LEVEL_BEATS, LOWEST_LEVEL)
