"""What happens to the 8-bit log power of a spectrogram when its signal is scaled, mixed or disturbed.

The front end's spectrogram of an augmented signal would cost four times what the rest of the augmentation does. These
rules start from the stored spectrogram, which is the front end's own: a factor on the signal is a shift of its
logarithm, exactly; noise adds its power, as it does on average. Zero stands for "no signal" and stays zero.
"""

import numpy as np
import numpy.typing as npt

from ecg_edge.runtime.contract import Contract

Levels = npt.NDArray[np.int16]
"""Log power in the contract's steps, wide enough to be added to; 0 to 255 when done."""

HIGHEST = 255


def steps_of_gain(log_gain: npt.NDArray[np.floating], contract: Contract) -> Levels:
    """Return the shift in steps that a factor exp(log_gain) on the amplitude makes."""
    return np.rint(2 * contract.log_steps_per_octave / np.log(2) * log_gain).astype(np.int16)


def shift(levels: npt.NDArray[np.float32], steps: Levels) -> None:
    """Add `steps`, broadcast over bins and frames, to levels (..., bins, frames) in place, zeros staying zero."""
    silent = levels == 0
    levels += steps[..., np.newaxis, np.newaxis].astype(np.float32)
    levels.clip(0, HIGHEST, out=levels)
    levels[silent] = 0


def add_powers(levels: Levels, noise: Levels, table: Levels) -> None:
    """Add to each power the one of `noise`, in place: max(a, b) + log2(1 + 2 ** -|a - b|). Both as in `shift`."""
    distance = np.subtract(levels, noise)
    np.abs(distance, out=distance)
    np.maximum(levels, noise, out=levels)
    levels += table.take(distance, mode="clip")
    if levels.max(initial=0) > HIGHEST:  # never in an ECG, and the maximum is the cheaper of the two
        np.minimum(levels, HIGHEST, out=levels)


def addition_table(contract: Contract) -> Levels:
    """Return log2(1 + 2 ** -d) in steps for a distance of d steps, (256,)."""
    s = contract.log_steps_per_octave
    return np.rint(s * np.log2(1 + 2.0 ** (-np.arange(HIGHEST + 1) / s))).astype(np.int16)


def white_levels(sigma: npt.NDArray[np.floating], contract: Contract) -> Levels:
    """Return the level that white noise of standard deviation `sigma` microvolts has in every bin: its mean power.

    That is sigma squared times the sum of the squared Hann window, 3/8 of its length.
    """
    power = np.maximum(np.square(sigma, dtype=np.float64) * 0.375 * contract.stft_length, 1e-9)
    steps = contract.log_steps_per_octave * (np.log2(power) - contract.log_floor_octave)
    return np.clip(np.rint(steps), 0, HIGHEST).astype(np.int16)
