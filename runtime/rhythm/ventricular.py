"""Which beats are ventricular: those that look unlike the patient's usual beat and are wider.

A beat's shape is the 320 ms of `wave` around it in all leads that show it. It is compared with a template, the running
mean of the usual beats, by the correlation over all leads at once at its best alignment; width shows as less of the
upper frequencies (`Beat.sharpness`), which needs no onset and offset and so stands noise. What is unlike the template
but as narrow is conducted another way, or noise.

The template follows slow changes by itself. When the rhythm itself changes its shape (another posture, a block that
comes with a rate), the new shape is learned after a while of beats like each other, but never at a rate of
tachycardia: a tachycardia must not become the usual beat by lasting.
"""

from functools import lru_cache
from math import sqrt

import numpy as np
import numpy.typing as npt

from .. import native
from .beats import Beat
from .filters import FloatArray

AROUND = 16  # samples on either side of the peak
SHIFT = 2  # samples by which the peaks of two beats of one shape may differ
ALIKE = 0.85  # correlation from which two beats have one shape
UNLIKE = 0.75  # below which they have not
WIDE = 0.93  # of the usual beat's sharpness: less is wide
MEMORY = 16  # beats over which the template is averaged
RELEARN_BEATS = 12  # beats of one other shape that become the usual one
SHARPER = 1.15  # of the usual sharpness: what is that much narrower is the conducted beat, whichever came first
RELEARN_INTERVAL = 65  # samples: mean interval above which they may (below 92 a minute)


class Shapes:
    """Knows the usual beat of one stream."""

    def __init__(self) -> None:
        """Start without a template."""
        self._kernels = native.kernels
        self._template: FloatArray | None = None
        self._sharpness = 0.0
        self._other: FloatArray | None = None
        self._other_sharpness = 0.0
        self._others: list[int] = []
        self._rows: FloatArray | None = None  # of `_alike`, and where they stand in a beat
        self._places: npt.NDArray[np.intp]

    def ventricular(self, beat: Beat, wave: FloatArray, age: int, usable: tuple[bool, ...]) -> bool:
        """Return whether a beat is ventricular, and learn from it.

        wave: (leads, samples), in which the beat's peak lies `age` samples before the end; usable: leads that show it.
        """
        samples = wave.shape[1]
        place = samples - age
        if place < AROUND + SHIFT or place + AROUND + SHIFT >= samples or not any(usable):
            return False
        wide, template = wave[:, place - AROUND - SHIFT : place + AROUND + SHIFT + 1], self._template
        if template is None:
            self._template, self._sharpness = _usable_of(wide, usable)[:, SHIFT:-SHIFT].copy(), beat.sharpness
            return False
        correlation = self._compare(template, wide, usable)
        if correlation >= ALIKE:
            self._follow(template, wide, usable)
            self._sharpness += (beat.sharpness - self._sharpness) / MEMORY
            if self._other_sharpness < SHARPER * self._sharpness:
                self._others.clear()
            return False
        wider = beat.sharpness / self._sharpness < WIDE
        self._relearn(beat, _usable_of(wide, usable))
        return correlation < UNLIKE and wider

    def _compare(self, template: FloatArray, wide: FloatArray, usable: tuple[bool, ...]) -> float:
        """Return the correlation of a template with a beat over the usable leads, the highest unless it is ALIKE."""
        if self._kernels is not None:
            found: float = self._kernels.correlation(template, wide, SHIFT, usable, ALIKE)
            return found
        shown, wide = _usable_of(template, usable), _usable_of(wide, usable)
        correlation = _correlation(shown.ravel(), wide[:, SHIFT:-SHIFT].ravel())
        # Most beats are alike as they stand.
        return correlation if correlation >= ALIKE else self._alike(shown, wide)

    def _follow(self, template: FloatArray, wide: FloatArray, usable: tuple[bool, ...]) -> None:
        """Move the template's usable leads towards a beat."""
        if self._kernels is not None:
            self._kernels.blend(template, wide, SHIFT, usable, MEMORY)
            return
        shape = wide[:, SHIFT:-SHIFT] - template
        shape *= 1 / MEMORY if all(usable) else _mask(usable, MEMORY)
        template += shape

    def _relearn(self, beat: Beat, wide: FloatArray) -> None:
        """Follow a shape that is not the usual one, and make it the usual one when it stays."""
        shape = wide[:, SHIFT:-SHIFT]
        if self._other is None or not self._others or self._alike(self._other, wide) < ALIKE:
            self._other, self._other_sharpness, self._others = shape.copy(), beat.sharpness, [beat.sample]
            return
        self._other += (shape - self._other) / MEMORY
        self._other_sharpness += (beat.sharpness - self._other_sharpness) / MEMORY
        self._others.append(beat.sample)
        n = len(self._others)
        slow = self._others[-1] - self._others[0] > RELEARN_INTERVAL * (n - 1)
        if n >= RELEARN_BEATS and (slow or self._other_sharpness > SHARPER * self._sharpness):
            self._template, self._sharpness = self._other, self._other_sharpness
            self._other = None
            self._others = []

    def _alike(self, template: FloatArray, wide: FloatArray) -> float:
        """Return the highest correlation of a template (leads, n) with the stretches of `wide` (leads, n + 2 * SHIFT).

        Template and stretches are the rows of one matrix, whose product with itself holds all that it takes.
        """
        leads, n = template.shape
        if self._rows is None:
            self._rows = np.zeros((2 * SHIFT + 2, leads * n))
            self._places = _shifts(leads, n)
        rows = self._rows
        wide.take(self._places, out=rows[:-1], mode="clip")
        rows[-1] = template.ravel()
        products: list[list[float]] = rows.dot(rows.T).tolist()
        size = products[-1][-1]
        highest = 0.0
        for k, product in enumerate(products[-1][:-1]):
            if scale := products[k][k] * size:
                highest = max(highest, product / sqrt(scale))
        return highest


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Return the correlation of two shapes, each in one piece, without shifting them; 0 for one that is zero."""
    scale = float(one.dot(one)) * float(other.dot(other))
    return float(one.dot(other)) / sqrt(scale) if scale else 0.0


def _usable_of(shape: FloatArray, usable: tuple[bool, ...]) -> FloatArray:
    """Return a shape (leads, n) with zeros in the leads that are not usable."""
    return shape if all(usable) else shape * _mask(usable)


@lru_cache(maxsize=256)
def _mask(usable: tuple[bool, ...], divisor: int = 1) -> FloatArray:
    """Return a column (leads, 1): 1 / divisor for a lead that is usable, otherwise 0."""
    return np.array(usable, dtype=np.float64)[:, np.newaxis] / divisor


def _shifts(leads: int, n: int) -> npt.NDArray[np.intp]:
    """Return where the stretches of (leads, n) stand in a flat (leads, n + 2 * SHIFT): (2 * SHIFT + 1, leads * n)."""
    places = np.arange(leads * (n + 2 * SHIFT)).reshape(leads, -1)
    return np.stack([places[:, shift : shift + n].ravel() for shift in range(2 * SHIFT + 1)])
