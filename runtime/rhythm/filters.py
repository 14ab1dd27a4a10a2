"""The filters of the rhythm rules: three views of the same quarter second, all at the same instant.

The rules cannot wait for the conditioner's high-pass (1.27 s), so they filter for themselves what comes before it. Two
matrix products a block give, for every lead,

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

from .. import native
from ..filters import BLOCK, FRACTION_BITS

FloatArray = npt.NDArray[np.float64]

HALF = 27  # samples between a filtered sample and the newest that it needs: half a second's average, smoothed
LOW_HZ, LOW_SIGMA = 9.0, 0.032  # centre and spread in seconds: a response from 4 to 14 Hz at half height
HIGH_HZ, HIGH_SIGMA = 18.0, 0.020  # 9 to 27 Hz
EDGE_SIGMAS = 3.1  # from the middle of a wavelet, where it is cut off
SHORT_HALF = 9  # samples on either side of the longer wavelet's middle: EDGE_SIGMAS * LOW_SIGMA are 9.9
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
        self._wavelets, self._wave = _wavelet_matrix(), np.ascontiguousarray(_toeplitz(_wave()).T)
        self._native = native.kernels and native.kernels.Filters(self._wave[: 2 * HALF + 1, 0].copy(), _one_side())
        self._squares = [np.zeros((2, n * BLOCK, len(columns))) for n in range(GROUP + 1)]  # by how many blocks come
        self._signal = np.zeros((KEPT + ROOM_BLOCKS * BLOCK, len(columns)))
        self._end = 0  # rows of it that are filled
        parts = np.zeros((GROUP, 4 * BLOCK, len(columns)))
        # By how many blocks come: what the wavelets give, its even and odd halves, and where their sum goes.
        self._parts = [
            (parts[:n], parts[:n, : 2 * BLOCK], parts[:n, 2 * BLOCK :], _by_block(self._squares[n], n))
            for n in range(GROUP + 1)
        ]
        self._stretches: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = {}

    def push(self, blocks: FloatArray, wave: FloatArray) -> FloatArray:
        """Take n blocks (n * BLOCK, 12) in 1/16 microvolt, 1 to GROUP of them, and write their `wave` in microvolts.

        wave: (leads, n * BLOCK), overwritten. Returns `high` and `low` in microvolts squared, (2, n * BLOCK, leads),
        valid until the next blocks. What was before the first block counts as its first sample.
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
        given = self._squares[n]
        if self._native is not None:
            self._native.apply(signal[end - 2 * HALF - len(blocks) : end], wave, given)
            return given
        long, short = self._stretches.get((n, end)) or self._overlapping(n, end)
        np.matmul(long, self._wave, out=wave.reshape(-1, n, BLOCK).transpose(1, 0, 2))  # a view: the last axis is whole
        squares, evens, odds, sums = self._parts[n]
        np.matmul(self._wavelets, short, out=squares)
        np.multiply(squares, squares, out=squares)
        np.add(evens.reshape(sums.shape), odds.reshape(sums.shape), out=sums)
        return given

    def _overlapping(self, n: int, end: int) -> tuple[FloatArray, FloatArray]:
        """Return what the n blocks before `end` take: `wave` (n, leads, samples), the wavelets (n, samples, leads).

        They are views, which are kept.
        """
        rows = self._signal[end - 2 * HALF - n * BLOCK : end]
        down, across = rows.strides
        views = []
        for half in (HALF, SHORT_HALF):
            middle = rows[HALF - half :]
            shape, strides = (n, 2 * half + BLOCK, rows.shape[1]), (BLOCK * down, down, across)
            views.append(np.lib.stride_tricks.as_strided(middle, shape, strides, writeable=False))
        self._stretches[n, end] = views[0].transpose(0, 2, 1), views[1]
        return self._stretches[n, end]

    def last(self, samples: int) -> FloatArray:
        """Return the newest samples of these leads, (samples, leads) in 1/16 microvolt; at most GROUP blocks."""
        return self._signal[self._end - samples : self._end]


def _by_block(rows: FloatArray, blocks: int) -> FloatArray:
    """Return the view (blocks, 2, BLOCK, leads) of two kinds of rows (2, blocks * BLOCK, leads)."""
    return rows.reshape(2, blocks, BLOCK, rows.shape[2]).transpose(1, 0, 2, 3)


def _wavelet_matrix() -> FloatArray:
    """Return the matrix (4 * BLOCK, 2 * SHORT_HALF + BLOCK): the even halves of high and low, then the odd ones."""
    (even, odd), (higher_even, higher_odd) = _wavelet(LOW_HZ, LOW_SIGMA), _wavelet(HIGH_HZ, HIGH_SIGMA)
    return np.concatenate([_toeplitz(kernel) for kernel in (higher_even, even, higher_odd, odd)])


def _one_side() -> FloatArray:
    """Return the taps (4, SHORT_HALF + 1) of each half, as in `_wavelet_matrix`, from the middle on.

    On the other side the even ones are the same and the odd ones negative, rounded as they are.
    """
    taps = _wavelet_matrix()[::BLOCK, : 2 * SHORT_HALF + 1]
    signs = np.array([1, 1, -1, -1])[:, np.newaxis]
    assert np.array_equal(taps, signs * taps[:, ::-1])
    return taps[:, SHORT_HALF:].copy()


def _toeplitz(kernel: FloatArray) -> FloatArray:
    """Return the matrix (BLOCK, 2 * half + BLOCK) from 1/16 microvolt to microvolts of a kernel (2 * half + 1,).

    The kernel is rounded, and its sum made zero.
    """
    half = len(kernel) // 2
    integers = np.rint(kernel * 2**COEFFICIENT_BITS)
    integers[half] -= integers.sum()
    matrix = np.zeros((BLOCK, 2 * half + BLOCK))
    for row in range(BLOCK):
        matrix[row, row : row + 2 * half + 1] = integers[::-1]
    return matrix / 2 ** (COEFFICIENT_BITS + FRACTION_BITS)


def _wavelet(hz: float, sigma: float) -> tuple[FloatArray, FloatArray]:
    """Return the even and the odd half (2 * SHORT_HALF + 1,) of a Morlet wavelet without mean, gain 1 at its centre."""
    seconds = np.arange(-SHORT_HALF, SHORT_HALF + 1) / 100
    bell = np.exp(-np.square(seconds / sigma) / 2)
    bell[np.abs(seconds) > EDGE_SIGMAS * sigma] = 0
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
