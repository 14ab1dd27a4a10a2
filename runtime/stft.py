"""Fixed-point short-time Fourier transform: int16 signal in, 8-bit log power out, the same bits in NumPy and in C.

A frame is normalised to 24 magnitude bits by one block exponent, multiplied by a Q20 Hann window (rounded), turned by
a direct DFT with Q20 twiddles in 64-bit accumulators, and rounded once. There is no stage scaling and nothing can
overflow, so the signal-to-quantization-noise ratio does not fall with the signal's amplitude. The transform's result
has at most 27 bits, so its power is below 2**53; hence every number below is an integer that float64 holds exactly,
and matrix products in float64 give what 64-bit integers would, in any order of summation.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .contract import Contract

# Fraction bits of the tables. With 15 the Hann window's first entry, 0.0024, is off by 0.1 %, and a frame that has
# nothing but a QRS at its edge comes out with 70 dB; a microcontroller multiplies 32 by 32 bits as fast as by 16.
TABLE_BITS = 20
MAGNITUDE_BITS = 24  # of a normalised frame
MANTISSA_BITS = 8  # leading bits of the power that its logarithm is looked up from
FLOAT64_BIAS = 1023  # of an IEEE 754 double's exponent


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
    """The transform of one contract, its tables prepared."""

    def __init__(self, contract: Contract, bins: int | None = None) -> None:
        """Prepare the tables; `bins` overrides the contract's number of bins (tests look at all of them)."""
        self.length = contract.stft_length
        self.hop = contract.stft_hop
        self.bins = contract.stft_bins if bins is None else bins
        self.shift = 17 + self.length.bit_length() - 1  # |spectrum| <= 2**24 * (length / 2) * 2**20 before, 2**26 after
        self._window = window_table(self.length).astype(np.float64) * 2.0**-TABLE_BITS
        # Scaled by the last shift, which is exact in binary.
        self._twiddles = np.hstack(twiddle_tables(self.length, self.bins)).astype(np.float64) * 2.0**-self.shift
        steps = contract.log_steps_per_octave
        self._log = _log_table(steps)
        self._places: dict[int, npt.NDArray[np.int64]] = {}  # of the samples of so many frames
        self._log_zero = (FLOAT64_BIAS - 1) << MANTISSA_BITS
        # log2 of the power in input units: minus twice the binary scale of the spectrum, minus the floor.
        self._log_offset = steps * (2 * (TABLE_BITS - self.shift) + contract.log_floor_octave)
        self._log_per_exponent = 2 * steps

    def transform(self, frames: npt.NDArray[np.integer]) -> Transform:
        """Return the spectra of frames (..., length) of integers of at most 32 bits."""
        x = frames.astype(np.float64)
        _, bits = np.frexp(np.abs(x).max(axis=-1))
        up = np.where(bits > 0, MAGNITUDE_BITS - bits, 0).astype(np.int32)
        both = self._spectrum(x, up)
        return Transform(both[..., : self.bins], both[..., self.bins :], self.shift - TABLE_BITS - up)

    def frames(self, signal: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Return the log power (..., bins, frames) of all frames that lie wholly within signal (..., samples)."""
        x = self._cut(signal)
        _, bits = np.frexp(np.abs(x).max(axis=-1))
        up = MAGNITUDE_BITS - bits
        both = self._spectrum(x, up)
        both *= both
        power = both[..., : self.bins] + both[..., self.bins :]
        return np.swapaxes(self._log_steps(power, up), -1, -2)

    def _cut(self, signal: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return a copy of the overlapping frames (..., frames, length) of signal (..., samples)."""
        count = (signal.shape[-1] - self.length) // self.hop + 1
        if count < 1:
            return np.zeros((*signal.shape[:-1], 0, self.length))
        if count not in self._places:
            starts = np.arange(count)[:, np.newaxis] * self.hop
            self._places[count] = starts + np.arange(self.length)
        return signal.take(self._places[count], axis=-1).astype(np.float64)

    def _spectrum(self, x: npt.NDArray[np.float64], up: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """Return the integers re and im side by side (..., 2 bins) of float64 frames x (..., length) times 2**up (...).

        x is overwritten.
        """
        x *= self._window
        x *= np.ldexp(1.0, up)[..., np.newaxis]
        x += 0.5
        np.floor(x, out=x)
        both = x.reshape(-1, self.length) @ self._twiddles
        both += 0.5
        np.floor(both, out=both)
        return both.reshape(*x.shape[:-1], 2 * self.bins)

    def _log_steps(self, power: npt.NDArray[np.float64], up: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
        """Return 8-bit log2 of contiguous power (..., bins), integers below 2**53 scaled by 2**(2 up)."""
        # An integer in float64 shows its leading bit and the eight after it in its own bits.
        index = power.view(np.int64) >> (52 - MANTISSA_BITS)
        index -= self._log_zero
        steps = self._log.take(index, mode="clip")  # power zero lies below the table
        steps -= (self._log_offset + self._log_per_exponent * up)[..., np.newaxis]
        return _BYTES.take(steps, mode="clip")


_BYTES = np.arange(256, dtype=np.uint8)


def _log_table(steps_per_octave: int) -> npt.NDArray[np.int64]:
    """Return floor(steps * log2(power)) by (leading bit + 1, next eight bits) of the power; row 0 stands for zero.

    Exact: 1 + m / 256 >= 2**(j / steps) is decided in integers as (256 + m)**steps >= 2**j * 256**steps.
    """
    size = 2**MANTISSA_BITS
    fraction = [
        sum((size + m) ** steps_per_octave >= 2**j * size**steps_per_octave for j in range(1, steps_per_octave))
        for m in range(size)
    ]
    octaves = np.arange(-1, 53)[:, np.newaxis] * steps_per_octave + np.array(fraction)
    octaves[0] = -(2**20)  # below any floor
    return octaves.astype(np.int64).ravel()


def spectrogram(signal: npt.NDArray[np.int16], contract: Contract) -> npt.NDArray[np.uint8]:
    """Return the 8-bit log power (..., bins, frames) of a conditioned signal (..., samples)."""
    return Stft(contract).frames(signal)
