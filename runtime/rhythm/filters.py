"""The filters of the rhythm rules: three views of the same quarter second, all at the same instant.

The rules cannot wait for the conditioner's high-pass (1.27 s), so they filter for themselves what comes before it. One
matrix product a block gives, for every lead,

- `low` and `high`: the squared envelopes of two wavelets at 9 and 18 Hz. A QRS complex is strong in both; a T wave
  only in the lower, muscle noise only in the upper. (Complex wavelets as in Addison 2005, Physiol Meas 26:R155; using
  agreement between scales against noise follows Li, Zheng and Tai 1995, IEEE Trans Biomed Eng 42:21.)
- `wave`: the signal without drift and without muscle noise, about 1 to 14 Hz, for what has a shape.

Coefficients are integers whose sum is zero, and so are the samples: products and sums are exact in float64, in any
order, and an electrode's offset of volts leaves no trace.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..filters import BLOCK, FRACTION_BITS

FloatArray = npt.NDArray[np.float64]

HALF = 27  # samples between a filtered sample and the newest that it needs: half a second's average, smoothed
LOW_HZ, LOW_SIGMA = 9.0, 0.032  # centre and spread in seconds: a response from 4 to 14 Hz at half height
HIGH_HZ, HIGH_SIGMA = 18.0, 0.020  # 9 to 27 Hz
DRIFT_SAMPLES = 51  # the average that is subtracted for `wave`: -3 dB at 1.2 Hz
SMOOTH_SAMPLES = 5  # and the one that smooths it: nothing left at 20 Hz, where muscle noise begins
GROUP = 4  # blocks that may come at once
KEPT = (GROUP - 1) * BLOCK  # samples kept besides the newest block: what the filters and the look for flat lines need
ROOM_BLOCKS = 32  # that the buffer of the signal takes before the last samples move back to its front
COEFFICIENT_BITS = 14  # samples of 27 bits and 79 coefficients of 14 bits stay below 2**48


class Filters:
    """Filters some of the twelve leads, block after block. All outputs are HALF samples behind the newest sample."""

    def __init__(self, columns: Sequence[int]) -> None:
        """Prepare; columns: which of the twelve leads."""
        self._columns = np.array(columns)
        self._matrix = _matrix()
        self._signal = np.zeros((KEPT + ROOM_BLOCKS * BLOCK, len(columns)))
        self._end = 0  # rows of it that are filled
        self._parts = np.zeros((GROUP, 5 * BLOCK, len(columns)))
        self._stretches: dict[tuple[int, int], FloatArray] = {}
        self.wave = self._parts[:0, 4 * BLOCK :]
        """`wave` of the last blocks in microvolts, (n, BLOCK, leads)."""

    def push(self, blocks: FloatArray) -> FloatArray:
        """Take n blocks (n * BLOCK, 12) in 1/16 microvolt, 1 to GROUP of them.

        Returns `high` and below it `low` of each block in microvolts squared, (n, 2 * BLOCK, leads), valid until the
        next blocks. What was before the first block counts as its first sample.
        """
        signal, end = self._signal, self._end
        if not end:
            end = KEPT
            signal[:end] = blocks[0, self._columns]
        elif end + len(blocks) > len(signal):
            signal[:KEPT] = signal[end - KEPT : end]
            end = KEPT
        self._end = end = end + len(blocks)
        blocks.take(self._columns, axis=1, out=signal[end - len(blocks) : end], mode="clip")
        n = len(blocks) // BLOCK
        parts = np.matmul(self._matrix, self._overlapping(n, end), out=self._parts[:n])
        self.wave = parts[:, 4 * BLOCK :]
        squares = parts[:, : 4 * BLOCK]
        np.multiply(squares, squares, out=squares)
        evens = squares[:, : 2 * BLOCK]
        return np.add(evens, squares[:, 2 * BLOCK :], out=evens)

    def _overlapping(self, n: int, end: int) -> FloatArray:
        """Return what the n blocks before `end` take, (n, 2 * HALF + BLOCK, leads): a view, made once."""
        if (n, end) not in self._stretches:
            length = 2 * HALF + BLOCK
            rows = self._signal[end - length - (n - 1) * BLOCK : end]
            down, across = rows.strides
            shape, strides = (n, length, rows.shape[1]), (BLOCK * down, down, across)
            self._stretches[n, end] = np.lib.stride_tricks.as_strided(rows, shape, strides, writeable=False)
        return self._stretches[n, end]

    def last(self, samples: int) -> FloatArray:
        """Return the newest samples of these leads, (samples, leads) in 1/16 microvolt; at most GROUP blocks."""
        return self._signal[self._end - samples : self._end]


def _matrix() -> FloatArray:
    """Return the matrix (5 * BLOCK, 2 * HALF + BLOCK) from 1/16 microvolt to microvolt: both wavelets' halves, wave."""
    (even, odd), (higher_even, higher_odd) = _wavelet(LOW_HZ, LOW_SIGMA), _wavelet(HIGH_HZ, HIGH_SIGMA)
    kernels = [higher_even, even, higher_odd, odd, _wave()]
    matrix = np.zeros((5, BLOCK, 2 * HALF + BLOCK))
    for part, kernel in zip(matrix, kernels, strict=True):
        integers = np.rint(kernel * 2**COEFFICIENT_BITS)
        integers[HALF] -= integers.sum()
        for row in range(BLOCK):
            part[row, row : row + 2 * HALF + 1] = integers[::-1]
    return matrix.reshape(5 * BLOCK, -1) / 2 ** (COEFFICIENT_BITS + FRACTION_BITS)


def _wavelet(hz: float, sigma: float) -> tuple[FloatArray, FloatArray]:
    """Return the even and the odd half (2 * HALF + 1,) of a Morlet wavelet without mean, gain 1 at its centre."""
    seconds = np.arange(-HALF, HALF + 1) / 100
    bell = np.exp(-np.square(seconds / sigma) / 2)
    bell[np.abs(seconds) > 3.1 * sigma] = 0
    even = np.cos(2 * np.pi * hz * seconds) * bell
    even -= bell * even.sum() / bell.sum()
    odd = np.sin(2 * np.pi * hz * seconds) * bell
    gain = np.abs(np.fft.rfft(even, 1024)).max()
    return even / gain, odd / gain


def _wave() -> FloatArray:
    """Return the kernel (2 * HALF + 1,) of `wave`: a short average minus a long one."""
    short = np.ones(SMOOTH_SAMPLES) / SMOOTH_SAMPLES
    unit = np.zeros(DRIFT_SAMPLES)
    unit[DRIFT_SAMPLES // 2] = 1
    return np.convolve(unit - 1 / DRIFT_SAMPLES, short)
