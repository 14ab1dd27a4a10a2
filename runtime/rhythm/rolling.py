"""The last samples of some leads, held so that new blocks cost one small copy."""

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

    def append(self, blocks: FloatArray) -> None:
        """Take the newest blocks (n, BLOCK, leads), n at most 32."""
        n = len(blocks)
        end = self._end + n * BLOCK
        if end > self._data.shape[1]:
            self._data[:, : self._length] = self._data[:, self._end - self._length : self._end]
            end = self._length + n * BLOCK
        self._end = end
        fresh = self._data[:, end - n * BLOCK : end]
        if n == 1:
            fresh[:] = blocks[0].T
        else:
            fresh.reshape(-1, n, BLOCK)[:] = blocks.transpose(2, 0, 1)  # a view: the last axis is contiguous

    def last(self, samples: int, before: int = 0) -> FloatArray:
        """Return a view (leads, samples) that ends `before` samples before the newest, within `length`.

        It is valid until the next block.
        """
        end = self._end - before
        return self._data[:, end - samples : end]
