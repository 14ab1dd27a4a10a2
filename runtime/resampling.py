"""From counts at the device's rate to the twelve leads at the model rate, in 1/16 microvolt.

A kernel for each place that an output can have between two inputs (see `filters`), the leads derived from the
channels, and two roundings, all in whole numbers: in the compiled loops where they are there, else in matrix products.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.recording import COUNT_LIMIT

from . import native
from .bridge import REBASE_LIMIT
from .filters import BLOCK, COEFFICIENT_BITS, FRACTION_BITS, resampling_matrix

PV_PER_THIRTYSECOND = 2_000_000  # picovolts of 32 times 1/16 microvolt: what 1/32 LSB is divided by
SIXTEENTHS_LIMIT = 2**27 - 1  # 8.4 V; an input beyond it is no electrode's voltage

Floats = npt.NDArray[np.float64]


class Step(NamedTuple):
    """What some blocks of outputs are made of, by how the first of them lies between two inputs."""

    offsets: tuple[int, ...]
    """First input of each block and of the next step, counted from the first of all."""
    matrices: tuple[Floats, ...]
    """Resampling matrix of each block."""
    needed: int
    """Inputs that there must be."""
    first: npt.NDArray[np.int32]
    """First input of each output, counted as the offsets."""
    kernel: npt.NDArray[np.int32]
    """Which kernel makes each output."""


class Resampler:
    """Makes blocks of one stream. Places are in 1 / (rate * model rate) s."""

    def __init__(
        self,
        rate: int,
        model_rate: int,
        half: int,
        mains: int | None,
        starts: Iterable[int],
        derivation: npt.NDArray[np.int32],
        pv_per_lsb: int,
    ) -> None:
        """Make the kernels.

        rate, model_rate: in Hz; half: taps on one side of an output; mains: 50 or 60 to null that frequency, or None;
        starts: places of blocks; derivation: (12, channels); pv_per_lsb: picovolts per count.
        """
        self._rate, self._model_rate, self._half, self._pv = rate, model_rate, half, pv_per_lsb
        phases = {start % model_rate for start in starts}
        self._matrices = {phase: resampling_matrix(phase, rate, model_rate, half, mains) for phase in phases}
        self.span = max(matrix.shape[1] for matrix in self._matrices.values())
        """Inputs that a block takes at most."""
        to_thirtyseconds = 2.0 ** (FRACTION_BITS - COEFFICIENT_BITS)  # exact in binary
        self._derive = np.ascontiguousarray(derivation.T * to_thirtyseconds)
        self._scale = pv_per_lsb / PV_PER_THIRTYSECOND
        self._offset = (PV_PER_THIRTYSECOND // 2 + 0.25) / PV_PER_THIRTYSECOND
        self._may_saturate = self._largest() > SIXTEENTHS_LIMIT
        self._steps: dict[tuple[int, int], Step] = {}
        self._views: dict[tuple[int, int, int], Floats] = {}
        kernels = self._kernels()
        self._phases = sorted(kernels)
        self._compiled: native.Resampler | None = None
        if native.kernels is not None:
            table = np.stack([kernels[phase] for phase in self._phases])
            limit = float(SIXTEENTHS_LIMIT)
            self._compiled = native.kernels.Resampler(table, self._derive, self._scale, self._offset, limit)

    def step(self, start: int, blocks: int) -> Step:
        """Return what `blocks` blocks are made of whose first output is at place `start`, one of the starts."""
        key = (start % self._model_rate, blocks)
        if key not in self._steps:
            places = key[0] + np.arange(blocks * BLOCK + 1) * self._rate
            first, phases = places // self._model_rate, places % self._model_rate
            offsets = tuple(first[::BLOCK].tolist())
            matrices = tuple(self._matrices[phase] for phase in phases[:-1:BLOCK].tolist())
            kernel = np.searchsorted(self._phases, phases[:-1]).astype(np.int32)
            needed = offsets[-2] + matrices[-1].shape[1]
            self._steps[key] = Step(offsets, matrices, needed, first[:-1].astype(np.int32), kernel)
        return self._steps[key]

    def apply(self, step: Step, counts: Floats, out: Floats) -> int:
        """Fill in the blocks of a step (samples, 12), and return how many samples lay beyond SIXTEENTHS_LIMIT.

        counts: (inputs, channels) whole numbers, the same array at every call.
        """
        if self._compiled is not None:
            return self._compiled.apply(counts, step.first, step.kernel, out)
        np.matmul(self._resampled(step, counts), self._derive, out=out)  # exact: below 2**48
        return self._to_sixteenths(out)

    def _kernels(self) -> dict[int, Floats]:
        """Return the taps (2 * half,) of every phase that an output of a block can have."""
        taps = {}
        for start, matrix in self._matrices.items():
            places = start + np.arange(BLOCK) * self._rate
            for row, first, phase in zip(matrix, places // self._model_rate, places % self._model_rate, strict=True):
                taps[int(phase)] = row[first : first + 2 * self._half]
        return taps

    def _resampled(self, step: Step, counts: Floats) -> Floats:
        """Return the channels (samples, channels) at the model rate, in LSB x 2**20."""
        offsets, matrices = step.offsets, step.matrices
        blocks = len(matrices)
        if offsets[-1] == offsets[1] * blocks and matrices[0] is matrices[-1]:
            key = (blocks, matrices[0].shape[1], offsets[1])
            if key not in self._views:
                self._views[key] = overlapping(counts, *key)
            return np.matmul(matrices[0], self._views[key]).reshape(blocks * BLOCK, -1)
        pairs = zip(matrices, offsets, strict=False)  # the last offset is the next step's
        return np.concatenate([matrix @ counts[o : o + matrix.shape[1]] for matrix, o in pairs])

    def _to_sixteenths(self, fine: Floats) -> int:
        """Round 1/32 LSB and scale to 1/16 microvolt, in place: two roundings, as of 64-bit integers.

        The second is floor((x * pv + half) / divisor) for whole x. A quarter more than that numerator, a whole number,
        makes a quotient at least 1 / (4 * divisor) = 1.25e-7 from the next whole one, with the same floor. Taken as x
        times a rounded factor plus a rounded offset it is off by less than 4 * 2**-53 of itself, within
        SIXTEENTHS_LIMIT by 6e-8: too little to change the floor. What is beyond is clipped and counted.
        """
        fine += 0.5
        np.floor(fine, out=fine)
        fine *= self._scale
        fine += self._offset
        np.floor(fine, out=fine)
        if not (self._may_saturate and beyond(fine, SIXTEENTHS_LIMIT)):
            return 0
        clipped = int(np.count_nonzero(np.abs(fine) > SIXTEENTHS_LIMIT))
        np.clip(fine, -SIXTEENTHS_LIMIT, SIXTEENTHS_LIMIT, out=fine)
        return clipped

    def _largest(self) -> float:
        """Return a limit in 1/16 microvolt that no sample can pass before the high-pass, whatever the counts are."""
        counts = COUNT_LIMIT + REBASE_LIMIT  # what a bridged sample may be off zero
        gain = max(np.abs(matrix).sum(axis=1).max() for matrix in self._matrices.values())
        thirtyseconds = counts * gain * np.abs(self._derive).sum(axis=0).max() + 1
        return float(thirtyseconds * self._pv / PV_PER_THIRTYSECOND + 1)


def beyond(values: Floats, limit: float) -> bool:
    """Return whether a value is further from zero than `limit`."""
    return bool(np.maximum.reduce(values, axis=None) > limit or np.minimum.reduce(values, axis=None) < -limit)


def overlapping(rows: Floats, count: int, length: int, step: int) -> Floats:
    """Return a view (count, length, columns) of stretches of `length` rows, each `step` after the last."""
    down, across = rows.strides
    shape, strides = (count, length, rows.shape[1]), (step * down, down, across)
    return np.lib.stride_tricks.as_strided(rows, shape, strides, writeable=False)
