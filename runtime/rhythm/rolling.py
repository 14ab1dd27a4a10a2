"""The last samples of some leads, held so that a block costs one small copy."""

import numpy as np

from ..filters import BLOCK
from .filters import FloatArray

ROOM = 32 * BLOCK  # samples: what is kept moves to the front once in 8 s instead of with every block


class Rolling:
    """Keeps `length` samples of each lead side by side."""

    def __init__(self, leads: int, length: int) -> None:
        """Start with zeros; length: samples kept, at least BLOCK."""
        self._data = np.zeros((leads, length + ROOM))
        self._length = self._end = length

    def append(self, block: FloatArray) -> None:
        """Take the newest samples (BLOCK, leads)."""
        if self._end + BLOCK > self._data.shape[1]:
            self._data[:, : self._length] = self.last(self._length)
            self._end = self._length
        self._data[:, self._end : self._end + BLOCK] = block.T
        self._end += BLOCK

    def last(self, samples: int) -> FloatArray:
        """Return a view (leads, samples) of the newest samples, at most `length`; valid until the next block."""
        return self._data[:, self._end - samples : self._end]
