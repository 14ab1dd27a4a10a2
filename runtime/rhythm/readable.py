"""Which leads can be read now: electrodes on for long enough, and moving or flat.

While every lead is on and moves, movement is looked at once in a group of blocks; as soon as one does not, every block.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .. import native
from ..filters import BLOCK, FRACTION_BITS
from ..quality import FLAT_MICROVOLTS
from .filters import Filters, FloatArray

SETTLE_BLOCKS = 5  # after a lead returns, until what was before has left the filters: 79 samples, and a little
BRIDGED = 6  # missing samples of a block's 25 that the conditioner's bridge makes good: two lost packets of 20 ms, less
# than a QRS complex. Would each blind the rules for as long as filters settle, one packet lost in a hundred were enough
# to keep an asystole from ever being four seconds long.
FLAT_BLOCKS = 4  # a second without movement is a flat line, as for the model
LOOK_STEP = 4  # every fourth sample of a second will do to see whether there is movement in it
FLAT = FLAT_MICROVOLTS * 2**FRACTION_BITS


class Readable:
    """Follows the electrodes of the watched leads, block after block."""

    def __init__(self, columns: Sequence[int]) -> None:
        """Start with every lead on and moving; columns: which of the twelve leads."""
        self._kernels = native.kernels
        self._columns = list(columns)
        n = len(columns)
        self._valid = [SETTLE_BLOCKS] * n  # blocks since the lead was invalid
        self._still = [0] * n  # blocks since the lead moved
        self._judge()

    def push(self, filters: Filters, invalid: npt.NDArray[np.bool_]) -> None:
        """Take the block that `filters` took last; invalid: (BLOCK, 12), electrode off or sample missing,
        of which a lead may have BRIDGED.

        Not needed while `well`, for blocks without an invalid sample.
        """
        spans = self._spans(filters.last(BLOCK), 1)
        off: list[bool] = (np.count_nonzero(invalid[:, self._columns], axis=0) > BRIDGED).tolist()
        self._valid = [0 if gone else n + 1 for n, gone in zip(self._valid, off, strict=True)]
        self._still = [0 if span >= FLAT else n + 1 for n, span in zip(self._still, spans, strict=True)]
        self._judge()

    def look(self, filters: Filters) -> None:
        """Look for flat lines in the last second, at the end of a group of blocks, while `well`."""
        spans = self._spans(filters.last(FLAT_BLOCKS * BLOCK), LOOK_STEP)
        if min(spans) < FLAT:
            self._still = [0 if span >= FLAT else FLAT_BLOCKS for span in spans]
            self._judge()

    def _judge(self) -> None:
        self.well = min(self._valid) >= SETTLE_BLOCKS and not any(self._still)
        """Whether every lead is on and moves."""
        usable = [n >= SETTLE_BLOCKS for n in self._valid]
        moving = [u and n < FLAT_BLOCKS for u, n in zip(usable, self._still, strict=True)]
        self.any = any(usable)
        """Whether there is a lead to be read."""
        self.all_flat = not any(moving)
        """Whether no lead that can be read moves."""
        self.watched: tuple[bool, ...] = tuple(usable if self.all_flat else moving)
        """Leads that count: those that move, or where none does, those that can be read."""
        self.quality = sum(moving) / len(moving)
        """Share of the leads that can be read and move."""

    def _spans(self, signal: FloatArray, step: int) -> list[float]:
        """Return how far each column of (samples, leads) goes, by every `step`th sample."""
        if self._kernels is not None:
            found: list[float] = self._kernels.span_columns(signal, step)
            return found
        rows = signal[::step]
        spans: list[float] = (np.maximum.reduce(rows) - np.minimum.reduce(rows)).tolist()
        return spans
