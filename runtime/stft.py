"""Fixed-point short-time Fourier transform: int16 signal in, 8-bit log power out, the same bits in NumPy and in C.

A frame is normalised to 24 magnitude bits by one block exponent, multiplied by a Q20 Hann window (rounded), turned by
a direct DFT with Q20 twiddles in 64-bit accumulators, and rounded once. There is no stage scaling and nothing can
overflow, so the signal-to-quantization-noise ratio does not fall with the signal's amplitude. The transform's result
has at most 27 bits, so its power is below 2**53; hence every number below is an integer, or one times a power of two,
that float64 holds exactly, and matrix products in float64 give what 64-bit integers would, in any order of summation.

The arrays of a hop are small, and what the transform costs is the number of NumPy's calls, made with caches that the
model has just emptied. So tables hold whatever can be known beforehand, buffers and the views into them are kept, and
NumPy's functions are called by names of this module, where results go by position: each look-up or keyword counts.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt
from numpy import absolute, add, copyto, floor, multiply, right_shift

from . import native
from .contract import Contract

# Fraction bits of the tables. With 15 the Hann window's first entry, 0.0024, is off by 0.1 %, and a frame that has
# nothing but a QRS at its edge comes out with 70 dB; a microcontroller multiplies 32 by 32 bits as fast as by 16.
TABLE_BITS = 20
MAGNITUDE_BITS = 24  # of a normalised frame
MANTISSA_BITS = 8  # leading bits of the power that its logarithm is looked up from
INPUT_BITS = 32  # of a sample's magnitude at most
STRETCH = 1024  # frames of a long record at a time: buffers of 20 MB for twelve leads, not 200 for half an hour
COMPILED_BITS = 16  # of the samples that the compiled transform takes
LONGEST_COMPILED = 256  # samples of its frames
FLOAT64_MANTISSA_BITS = 52  # of an IEEE 754 double, below its exponent
FLOAT64_SMALLEST = -1022  # log2 of the smallest normal double: the one whose exponent field holds 1

_maxima = np.maximum.reduceat


@dataclass(frozen=True)
class Transform:
    """One fixed-point transform of each frame: spectrum = (re + j im) * 2**exponent, in units of the input."""

    re: npt.NDArray[np.float64]
    """(..., bins) integers of at most 27 bits."""
    im: npt.NDArray[np.float64]
    exponent: npt.NDArray[np.int32]
    """(...,) of each frame."""


def window_table(length: int) -> npt.NDArray[np.int32]:
    """Return the periodic Hann window (length,) in Q20."""
    return np.rint(2**TABLE_BITS * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))).astype(np.int32)


def twiddle_tables(length: int, bins: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return cosine and minus sine (length, bins) in Q20, of the angles 2 pi n k / length."""
    angle = 2 * np.pi * (np.outer(np.arange(length), np.arange(bins)) % length) / length
    cosine, sine = np.cos(angle), np.sin(angle)
    return (
        np.rint(2**TABLE_BITS * cosine).astype(np.int32),
        np.rint(-(2**TABLE_BITS) * sine).astype(np.int32),
    )


class Stft:
    """The transform of one contract, its tables prepared. Its buffers serve one thread at a time."""

    def __init__(self, contract: Contract, bins: int | None = None, compiled: bool = True) -> None:
        """Prepare the tables.

        bins: overrides the contract's number of bins (tests look at all of them); compiled: whether the compiled loops
        may be used, where they are there.
        """
        self.length = contract.stft_length
        self.hop = contract.stft_hop
        self.bins = contract.stft_bins if bins is None else bins
        self.shift = 17 + self.length.bit_length() - 1  # |spectrum| <= 2**24 * (length / 2) * 2**20 before, 2**26 after
        self._tables = _tables(contract, self.bins, self.shift)
        usable = compiled and native.kernels is not None
        self._compiled = _compile(contract, self.bins, self.shift) if usable else None
        self._buffers: _Buffers | None = None
        self._longest = (STRETCH - 1) * self.hop + self.length  # samples at a time

    @property
    def is_compiled(self) -> bool:
        """Whether `frames` of int16 signals runs in the compiled loops."""
        return self._compiled is not None

    def transform(self, frames: npt.NDArray[np.integer]) -> Transform:
        """Return the spectra of frames (..., length) of integers of at most 32 bits."""
        b, bits = self._spectra(frames)
        re, im = (part.copy().reshape(*frames.shape[:-1], self.bins) for part in (b.re, b.im))
        up = np.where(bits > 0, MAGNITUDE_BITS - bits, 0).astype(np.int32).reshape(frames.shape[:-1])
        return Transform(re, im, self.shift - TABLE_BITS - up)

    def frames(self, signal: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Return the log power (..., bins, frames) of all frames that lie wholly within signal (..., samples).

        Raises IndexError for samples of more than 32 bits.
        """
        if signal.shape[-1] < self.length:
            return np.zeros((*signal.shape[:-1], self.bins, 0), dtype=np.uint8)
        if self._compiled is not None and signal.dtype == np.int16 and signal.ndim == 2 and signal.strides[1] == 2:
            count = (signal.shape[-1] - self.length) // self.hop + 1
            power = np.empty((len(signal), count, self.bins), dtype=np.uint8)
            self._compiled.frames(cast(npt.NDArray[np.int16], signal), power)
            return power.swapaxes(-1, -2)
        if signal.shape[-1] > self._longest:
            starts = range(0, signal.shape[-1] - self.length + 1, STRETCH * self.hop)
            parts = [self.frames(signal[..., start : start + self._longest]) for start in starts]
            return np.concatenate(parts, axis=-1)
        b, bits = self._spectra(signal)
        multiply(b.both, b.both, b.both)
        add(b.re, b.im, b.power)
        return self._log_steps(b.power, b.places, bits).reshape(b.shape_of_steps).swapaxes(-1, -2)

    def _spectra(self, signal: npt.NDArray[np.integer]) -> tuple["_Buffers", npt.NDArray[np.intp]]:
        """Return buffers with the integers re and im of signal's frames, and the bits (n,) of the frames' peaks."""
        b = self._buffers
        if b is None or b.samples.shape != signal.shape:
            b = self._buffers = _Buffers(signal.shape, self.length, self.hop, self.bins)
        copyto(b.samples, signal)
        absolute(b.samples, b.magnitudes)
        _maxima(b.magnitudes_of_frames, b.bounds, -1, None, b.peaks_and_ends)
        bits = self._tables.peaks.searchsorted(b.peaks, "right").reshape(-1)
        self._tables.windows.take(bits, 0, b.weighted, "clip")
        multiply(b.weighted_frames, b.frames, b.weighted_frames)
        add(b.weighted, 0.5, b.weighted)
        floor(b.weighted, b.weighted)
        b.weighted.dot(self._tables.twiddles, b.both)
        add(b.both, 0.5, b.both)
        floor(b.both, b.both)
        return b, bits

    def _log_steps(
        self, power: npt.NDArray[np.float64], places: npt.NDArray[np.int64], bits: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.uint8]:
        """Return 8-bit log2 of power (n, bins), integers below 2**53, of frames whose peaks have so many bits (n,).

        The smallest power of all, 1 where the peak has one bit, becomes the smallest normal double. So no product is
        rounded, the exponent's field counts up from 1, and a power of zero keeps 0. The field and the first bits of
        the mantissa, which follow it in a double, are the place in the table. power is overwritten; places is its
        view as integers.
        """
        multiply(power, self._tables.undo.take(bits, 0), power)
        right_shift(places, FLOAT64_MANTISSA_BITS - MANTISSA_BITS, places)
        return self._tables.log.take(places)


@dataclass(frozen=True)
class _Tables:
    """What all transforms of a contract share."""

    peaks: npt.NDArray[np.float64]
    """(33,) the smallest numbers of 1, 2, 3 ... bits."""
    windows: npt.NDArray[np.float64]
    """(33, length) by the bits of a frame's peak: the window times what normalises the frame, a power of two."""
    undo: npt.NDArray[np.float64]
    """(33, 1) what the power is multiplied with to undo that, and to be looked up: see `Stft._log_steps`."""
    twiddles: npt.NDArray[np.float64]
    """(length, 2 bins) cosine and minus sine of a bin side by side, times 2**-shift."""
    log: npt.NDArray[np.uint8]
    """8-bit log power by exponent field and first mantissa bits."""


@lru_cache
def _tables(contract: Contract, bins: int, shift: int) -> _Tables:
    bits = np.arange(INPUT_BITS + 1)
    length = contract.stft_length
    side_by_side = np.stack(twiddle_tables(length, bins), axis=-1).reshape(length, 2 * bins)
    return _Tables(
        peaks=np.ldexp(1.0, bits),
        windows=np.ldexp(window_table(length), (MAGNITUDE_BITS - TABLE_BITS - bits)[:, np.newaxis]),
        undo=np.ldexp(1.0, 2 * (bits - 1) + FLOAT64_SMALLEST)[:, np.newaxis],
        twiddles=np.ldexp(side_by_side, -shift),
        log=_log_table(contract, shift),
    )


@lru_cache
def _compile(contract: Contract, bins: int, shift: int) -> "native.Transform | None":
    """Return the compiled transform of int16 signals, None where it is not made for the contract's frames.

    It folds a frame at its half and at its quarters before it multiplies, which needs tables that are even and odd
    there to the last bit, and gives the same whole numbers.
    """
    length = contract.stft_length
    if native.kernels is None or length % 4 or not 4 <= length <= LONGEST_COMPILED:
        return None
    cosine, sine = twiddle_tables(length, bins)
    turned, signs = (-np.arange(length)) % length, (-1) ** np.arange(bins)
    mirrored = (length // 2 - np.arange(length)) % length
    assert np.array_equal(cosine, cosine[turned])
    assert np.array_equal(sine, -sine[turned])
    assert np.array_equal(cosine, signs * cosine[mirrored])
    assert np.array_equal(sine, -signs * sine[mirrored])
    tables, few = _tables(contract, bins, shift), slice(COMPILED_BITS + 1)
    made: native.Transform = native.kernels.Transform(
        window_table(length).astype(np.float64),
        cosine.astype(np.float64),
        sine.astype(np.float64),
        contract.stft_hop,
        np.ldexp(1.0, MAGNITUDE_BITS - TABLE_BITS - np.arange(COMPILED_BITS + 1)),
        tables.undo[few, 0].copy(),
        2.0**-shift,
        np.array(_steps_of_mantissa(contract), dtype=np.uint8),
        contract.log_steps_per_octave,
        contract.log_steps_per_octave * _octave(contract, shift, 0),
    )
    return made


class _Buffers:
    """What a transform of signals of one shape (..., samples) computes on its way, and its parts as views."""

    def __init__(self, shape: tuple[int, ...], length: int, hop: int, bins: int) -> None:
        *leads, samples = shape
        count = (samples - length) // hop + 1
        starts = np.arange(count) * hop
        self.samples = np.zeros(shape)
        self.frames = np.ndarray(  # overlapping
            (*leads, count, length),
            buffer=self.samples,
            strides=(*self.samples.strides[:-1], hop * self.samples.itemsize, self.samples.itemsize),
        )
        self.magnitudes = np.zeros(shape)
        # `reduceat` gives the maximum from each bound to the next where that is larger, so every second one is of a
        # frame; the last goes to the end of the array.
        self.magnitudes_of_frames = self.magnitudes[..., : starts[-1] + length]
        self.bounds = np.stack([starts, starts + length], axis=-1).ravel()[:-1]
        self.peaks_and_ends = np.zeros((*leads, len(self.bounds)))
        self.peaks = self.peaks_and_ends[..., ::2]
        self.weighted_frames = np.zeros((*leads, count, length))
        self.weighted = self.weighted_frames.reshape(-1, length)
        self.both = np.zeros((len(self.weighted), 2 * bins))
        self.re, self.im = self.both[:, ::2], self.both[:, 1::2]
        self.power = np.zeros((len(self.weighted), bins))
        self.places = self.power.view(np.int64)
        self.shape_of_steps = (*leads, count, bins)


def _log_table(contract: Contract, shift: int) -> npt.NDArray[np.uint8]:
    """Return the 8-bit log power by (exponent field of the power, next eight bits), both as in `Stft._log_steps`.

    Exact: 1 + m / 256 >= 2**(j / steps) is decided in integers as (256 + m)**steps >= 2**j * 256**steps.
    """
    octaves = [_octave(contract, shift, field) for field in range(FLOAT64_MANTISSA_BITS + 2 * INPUT_BITS)]
    steps = contract.log_steps_per_octave * np.array(octaves)[:, np.newaxis] + np.array(_steps_of_mantissa(contract))
    table = steps.clip(0, 255).astype(np.uint8)
    table[0] = 0  # of power zero
    return table.ravel()


def _steps_of_mantissa(contract: Contract) -> list[int]:
    """Return the step within its octave by the first bits of a power's mantissa."""
    size, steps = 2**MANTISSA_BITS, contract.log_steps_per_octave
    return [sum((size + m) ** steps >= 2**j * size**steps for j in range(1, steps)) for m in range(size)]


def _octave(contract: Contract, shift: int, field: int) -> int:
    """Return the octave above the lowest by the exponent's field of a power as in `Stft._log_steps`.

    The field is 1 for a power of 1 that was lifted by all but one of the normalised bits.
    """
    return field - 1 - 2 * (MAGNITUDE_BITS - 1) + 2 * (shift - TABLE_BITS) - contract.log_floor_octave


def spectrogram(signal: npt.NDArray[np.int16], contract: Contract) -> npt.NDArray[np.uint8]:
    """Return the 8-bit log power (..., bins, frames) of a conditioned signal (..., samples)."""
    return Stft(contract).frames(signal)
