"""Across what is missing: hold the last value while an electrode is off, and go on from it when the signal returns.

A returning electrode has another offset voltage. The high-pass would smear that step over seconds, so the signal is
re-based to where it stood; the offset is the high-pass's business anyway.
"""

import itertools

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.recording import COUNT_LIMIT

from . import native

REBASE_LIMIT = 2**22  # half the 24-bit range: a signal that drifted so far by re-basing takes the step instead

Counts = npt.NDArray[np.float64]


class Bridge:
    """Bridges the invalid samples of each channel of one stream."""

    def __init__(self, channels: int) -> None:
        """Start before the first sample; what is missing there is zero."""
        self.held: Counts = np.zeros(channels)
        """Last value (channels,) of the bridged signal."""
        self.off: npt.NDArray[np.bool_] = np.zeros(channels, dtype=np.bool_)
        """Whether the last sample of each channel (channels,) was invalid."""
        self.invalid_samples = 0
        """Single samples that were marked invalid, or that stood at the converter's end of scale."""
        self._kernels = native.kernels
        self._offset = np.zeros(channels)
        self._any_off = False
        self._any_offset = False

    def join(
        self, counts: Counts, invalid: npt.NDArray[np.bool_] | None
    ) -> tuple[Counts, npt.NDArray[np.bool_] | None]:
        """Return counts (n, channels), n >= 1, without holes and steps, and which samples were bridged, None for none.

        counts: whole numbers, as float64, in one piece; they come back as they are where nothing has to be done, and
        shifted in place where nothing is missing.
        A sample at the converter's end of scale says nothing of the heart and counts as invalid.
        """
        if not self._all_within(counts):
            rail = np.abs(counts) >= COUNT_LIMIT
            invalid = rail if invalid is None else invalid | rail
        bad = invalid if invalid is not None and np.count_nonzero(invalid) else None
        if bad is not None:
            self.invalid_samples += int(np.count_nonzero(bad))
        elif not self._any_off:
            if self._any_offset:
                self._shift(counts)
            self.held = counts[-1].copy()
            return counts, None
        return self._bridge(counts, np.zeros(counts.shape, dtype=np.bool_) if bad is None else bad), bad

    def _all_within(self, counts: Counts) -> bool:
        """Return whether no sample stands at the converter's end of scale."""
        if self._kernels is not None:
            return bool(self._kernels.within(counts, COUNT_LIMIT))
        high, low = np.maximum.reduce(counts, axis=None), np.minimum.reduce(counts, axis=None)
        return bool(high < COUNT_LIMIT and low > -COUNT_LIMIT)

    def _shift(self, counts: Counts) -> None:
        """Move each channel by what it was re-based by."""
        if self._kernels is not None:
            self._kernels.shift(counts, self._offset)
        else:
            counts += self._offset

    def _bridge(self, counts: Counts, bad: npt.NDArray[np.bool_]) -> Counts:
        bridged = counts + self._offset  # right for the channels that are valid throughout
        touched = bad.any(axis=0) | self.off
        held = np.where(touched, self.held, bridged[-1])
        for c in np.flatnonzero(touched):
            column, off = bridged[:, c], bad[:, c]
            column[:] = counts[:, c]
            was_off = np.concatenate((self.off[c : c + 1], off[:-1]))
            edges = [0, *np.flatnonzero(off[1:] != off[:-1]) + 1, len(off)]
            for start, stop in itertools.pairwise(edges):
                if off[start]:
                    column[start:stop] = held[c]
                    continue
                if was_off[start]:
                    self._offset[c] = held[c] - column[start]
                    if abs(self._offset[c]) > REBASE_LIMIT:
                        self._offset[c] = 0
                column[start:stop] += self._offset[c]
                held[c] = column[stop - 1]
            self.off[c] = off[-1]
        self.held = held
        self._any_off, self._any_offset = bool(self.off.any()), bool(self._offset.any())
        return bridged
