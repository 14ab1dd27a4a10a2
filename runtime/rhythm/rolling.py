"""The last samples of some leads, held so that new ones are written once, where they stay."""

import numpy as np

from ..filters import BLOCK
from .filters import FloatArray

ROOM = 32 * BLOCK  # samples: what is kept moves to the front once in 8 s instead of with every block


class Rolling:
    """Keeps `length` samples of each lead side by side."""

    def __init__(self, leads: int, length: int) -> None:
        """Start with zeros; length: samples kept."""
        self._data = np.zeros((leads, length + ROOM))
        self._length = self._end = length

    def extend(self, samples: int) -> FloatArray:
        """Go on by so many samples, ROOM at most, and return the view (leads, samples) to write them into."""
        data, start = self._data, self._end
        if start + samples > data.shape[1]:
            data[:, : self._length] = data[:, start - self._length : start]
            start = self._length
        self._end = start + samples
        return data[:, start : start + samples]

    def last(self, samples: int, before: int = 0) -> FloatArray:
        """Return a view (leads, samples) that ends `before` samples before the newest, within `length`.

        It is valid until the next samples.
        """
        end = self._end - before
        return self._data[:, end - samples : end]
