"""The front end's two FIR filters, as integer coefficients and as the matrices that apply them to a block.

Coefficients are computed here, from formulas that take a few lines, so any device rate can be served and the device
needs no filter-design library. What rounds to integers does not depend on the last bit of a cosine.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

BLOCK = 25  # model samples of one matrix product; larger ones multiply more zeros, smaller ones cost more calls
KERNEL_SECONDS = 0.20  # half length of the resampling kernel: 10 Hz of transition at 63 dB needs 3.84 / 10 Hz in all
KAISER_BETA = 6.0  # Kaiser (1974): 0.1102 * (63 dB - 8.7)
COEFFICIENT_BITS = 20  # resampling coefficients sum to 2**20; 12 bits finer than the notch's depth needs
FRACTION_BITS = 4  # both filters work in 1/16 microvolt: rounding noise stays below the int16 output's own


@lru_cache(maxsize=64)
def resampling_matrix(phase: int, rate: int, model_rate: int, half: int, mains: int | None) -> npt.NDArray[np.float64]:
    """Return the integer matrix (BLOCK, span) that makes a block of outputs from the inputs it spans.

    phase: the first output's instant behind its input sample, in 1 / (rate * model_rate) s. Row r holds the kernel
    of output r: 2 * half taps around that output's instant. All streams share it, so it cannot be written to.
    """
    places = phase + np.arange(BLOCK) * rate
    span = int(places[-1] // model_rate) + 2 * half
    matrix = np.zeros((BLOCK, span))
    for row, place in enumerate(places):
        start = int(place // model_rate)
        matrix[row, start : start + 2 * half] = resampling_kernel(
            int(place % model_rate), rate, model_rate, half, mains
        )
    matrix.flags.writeable = False
    return matrix


def resampling_kernel(phase: int, rate: int, model_rate: int, half: int, mains: int | None) -> npt.NDArray[np.float64]:
    """Return the integer taps (2 * half,), summing to 2**20, of an output that lies phase / model_rate after a sample.

    The ideal low-pass at 45 Hz under a Kaiser window (Kaiser 1974). With `mains`, the smallest change of the taps
    (in the least-squares sense) that makes the response zero at the mains frequency: one zero, since 50 Hz lies at the
    edge of the stop band, and a wider notch there would cost 30 dB of it a few hertz on.
    """
    cutoff = 45.0  # half way between the contract's pass band (40 Hz) and stop band (50 Hz)
    seconds = (np.arange(-half + 1, half + 1) - phase / model_rate) / rate
    inside = np.abs(seconds) < KERNEL_SECONDS
    shape = np.zeros(2 * half)
    shape[inside] = np.i0(KAISER_BETA * np.sqrt(1 - (seconds[inside] / KERNEL_SECONDS) ** 2))
    taps = np.sinc(2 * cutoff * seconds) * shape
    taps /= taps.sum()
    if mains is not None:
        angle = 2 * np.pi * mains * seconds
        constraints = np.vstack((np.cos(angle), np.sin(angle), np.ones_like(seconds))) * inside
        excess = constraints @ taps
        excess[-1] -= 1.0
        taps = taps - np.linalg.pinv(constraints) @ excess
    integers = np.rint(taps * 2**COEFFICIENT_BITS)
    integers[np.argmax(integers)] += 2**COEFFICIENT_BITS - integers.sum()  # a constant passes exactly
    return integers


@lru_cache
def highpass_matrix(boxcar: int) -> npt.NDArray[np.float64]:
    """Return the matrix (BLOCK, 2 * (boxcar - 1) + BLOCK) of the high-pass, from 1/16 microvolt to microvolt.

    Two cascaded moving averages make a triangle of weights that sum to boxcar**2, a power of two; dividing by it and
    by 16 is exact in binary, so each element is an integer times that power and the product rounds only once. All
    streams share it, so it cannot be written to.
    """
    triangle = np.convolve(np.ones(boxcar), np.ones(boxcar))
    kernel = -triangle
    kernel[boxcar - 1] += boxcar**2
    matrix = np.zeros((BLOCK, 2 * (boxcar - 1) + BLOCK))
    for row in range(BLOCK):
        matrix[row, row : row + len(kernel)] = kernel
    matrix /= boxcar**2 * 2**FRACTION_BITS
    matrix.flags.writeable = False
    return matrix
