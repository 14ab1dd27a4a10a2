"""Many leads into one: each has a voice by how well its beats stand out from what lies between them.

A lead's `strength` is divided by the height of its own beats, so that a QRS complex is about 1 in every lead, limited,
so that one lead's artifact stays one voice, and weighted by the square of its ratio of beat to background. A lead that
becomes noisy loses its voice within a second or two; one that is off or flat has none.
"""

from operator import truediv

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
# Of the joined strength. Where every lead stands at its limit, two peaks are as high as each other, and rounding, which
# depends on the order of a sum, must not choose between them.
STEP = 2.0**-32
QUIETEST = 0.1  # background of a clean lead against its beats; a quieter one is no better
LOUDEST_VOICE = 1 / (QUIETEST * QUIETEST)
LEVEL_BEATS = 8  # time constant of a lead's beat height, as long as the detector's memory
LOWEST_LEVEL = 35.0  # microvolts of strength: a QRS complex of about 0.15 mV; noise of electrodes stays below

_MEAN = np.full(LOOK_BACK, 1 / LOOK_BACK)


class Voting:
    """Follows the beat height and the background of each lead, and joins them.

    What there is of each lead but its samples is a list of plain numbers: for eight of them that is quicker than NumPy.
    """

    def __init__(self, leads: int) -> None:
        """Start without knowing any lead."""
        self._level = self._limited_for = [LOWEST_LEVEL] * leads  # a new list with each change
        self.voices: tuple[bool, ...] = (False,) * leads
        """Leads that have a voice now."""
        self._weight = np.zeros(leads)  # for a strength in steps
        # A row a sample: compared in one stretch.
        self._limit = np.full((WEIGH_BLOCKS * BLOCK, leads), LOUDEST * LOWEST_LEVEL)
        self._usable: tuple[bool, ...] = (False,) * leads
        self._history = Rolling(leads, HISTORY + GROUP * BLOCK)
        parts = np.zeros((3, GROUP * BLOCK, leads))
        # By the first block and the number of blocks that are joined at once.
        self._blocks = {
            (k, n): parts[:, k * BLOCK : (k + n) * BLOCK] for n in range(1, GROUP + 1) for k in range(GROUP + 1 - n)
        }
        # By how many blocks come: strength, both halves, those as `push` is given them.
        self._parts = [(*parts[:, : n * BLOCK], parts[1:, : n * BLOCK]) for n in range(GROUP + 1)]
        self._fresh = 0  # samples that came last
        # By how many blocks are joined: their limit, what is limited, and that as rows.
        limited = [np.zeros((3, n * BLOCK, leads)) for n in range(WEIGH_BLOCKS + 1)]
        self._joining = [(self._limit[: x.shape[1]], x, x.reshape(-1, leads)) for x in limited]
        self._end = 0  # samples so far, those that came last included
        self._lively_until = 0  # sample up to which the last beat shows that no lead is silent

    def push(self, squares: FloatArray) -> None:
        """Take the squared envelopes at 18 and at 9 Hz of n blocks, (2, n * BLOCK, leads).

        The strength is their geometric mean, about 1 at a beat; the upper half is the envelope at 18 Hz, which T waves
        lack, the lower that at 9 Hz, which wide beats have.
        """
        n = squares.shape[1] // BLOCK
        self._fresh = n * BLOCK
        self._end += self._fresh
        strength, upper, lower, halves = self._parts[n]
        np.sqrt(squares, out=halves)
        np.multiply(upper, lower, out=strength)
        np.sqrt(strength, out=strength)
        self._history.extend(self._fresh)[:] = strength.T

    def skip(self, samples: int) -> None:
        """Let samples go by that no lead can be read in."""
        self._end += samples

    def join(self, block: int, usable: tuple[bool, ...], learning: bool) -> tuple[int, list[float]]:
        """Return how many blocks n are joined, up to the next weighing, and the result; 0 without a usable lead.

        That is strength, upper and lower half, n * BLOCK of each, joined over the leads. block: first of those that
        came last; each once, in order. usable: leads that may have a voice. learning: no beat is known yet, and blocks
        come one by one; a lead's level is then the highest that it had.
        """
        later = self._fresh - (block + 1) * BLOCK
        end = self._end - later
        n = min(later // BLOCK + 1, WEIGH_BLOCKS - end // BLOCK % WEIGH_BLOCKS)
        parts = self._blocks[block, n]
        if learning:
            highest: list[float] = np.maximum.reduce(parts[0]).tolist()
            self._level = [max(level, top) for level, top in zip(self._level, highest, strict=True)]
        if learning or end % (WEIGH_BLOCKS * BLOCK) == 0 or usable != self._usable:
            self._weigh(usable, later)
        limit, limited, rows = self._joining[n]
        np.minimum(parts, limit, out=limited)
        joined = rows.dot(self._weight)
        np.rint(joined, out=joined)
        joined *= STEP
        together: list[float] = joined.tolist()
        return n, together

    def _weigh(self, usable: tuple[bool, ...], later: int) -> None:
        """Give each usable lead its weight, which also divides by its level; later: samples that came since."""
        recent = self._history.last(LOOK_BACK, later)
        means: list[float] = recent.dot(_MEAN).tolist()
        level = self._level
        weights = [
            1.0 / (ratio * ratio) if (ratio := mean / height) > QUIETEST else LOUDEST_VOICE
            for mean, height in zip(means, level, strict=True)
        ]
        self._usable = self.voices = usable
        if not all(usable):
            weights = [weight if there else 0.0 for weight, there in zip(weights, usable, strict=True)]
        if self._end - later > self._lively_until:
            activity: list[float] = np.maximum.reduce(recent, axis=1).tolist()
            shown = [highest / height for highest, height in zip(activity, level, strict=True)]
            if min(shown) <= SILENT and any([there and s > ACTIVE for there, s in zip(usable, shown, strict=True)]):
                weights = [weight if s > SILENT else 0.0 for weight, s in zip(weights, shown, strict=True)]
                self.voices = tuple([weight > 0 for weight in weights])
        total = max(sum(weights), 1.0)
        total *= STEP
        self._weight[:] = [weight / (total * height) for weight, height in zip(weights, level, strict=True)]
        if level is not self._limited_for:
            self._limited_for = level
            self._limit[:] = [LOUDEST * height for height in level]

    def relearn(self) -> None:
        """Forget how high beats stand."""
        self._level = [LOWEST_LEVEL] * len(self._level)
        self._lively_until = 0

    def beat(self, age: int, later: int, usable: tuple[bool, ...]) -> None:
        """Learn from a beat how high beats stand in each usable lead.

        age: samples since the beat, when it became known; later: samples that came since that.
        """
        if age > HISTORY - 5:
            return
        after = min(age, 6)
        recent = self._history.last(5 + after, later + age - after)
        highest: list[float] = np.maximum.reduce(recent, axis=1).tolist()
        changed = [  # by comparisons, which cost half of `min` and `max`
            level + ((top if top < 2 * level else 2 * level) - level) / LEVEL_BEATS if there else level
            for level, top, there in zip(self._level, highest, usable, strict=True)
        ]
        self._level = [level if level > LOWEST_LEVEL else LOWEST_LEVEL for level in changed]
        lively = min(map(truediv, highest, self._level)) > SILENT
        self._lively_until = self._end - later - age - 5 + LOOK_BACK if lively else 0
