"""The inputs of a TFLite graph from the front end's integers: 8 bits each, channels last.

Both scales are fixed, not calibrated, so that a microcontroller computes the same integers with this page alone:

    signal       q = sign(x) * floor(128 |x| / (1000 + |x|) + 1/2)       int8, scale 1/128, zero point 0
    spectrogram  q = p - 128                                             int8, scale 1, zero point -128

x is the signal in microvolts, of which the network takes x / (1000 + |x|), the compand of its time branch: a step is
7.8 µV near zero, so a P wave of 100 µV spans 12 steps, and |q| stays at or below 124 for every int16. In integers the
rounding is (256 |x| + 1000 + |x|) / (2 (1000 + |x|)), which fits 32 bits.
"""

import functools

import numpy as np
import numpy.typing as npt

SIGNAL_STEPS = 128  # per unit of the companded signal
SPECTROGRAM_ZERO = -128  # the int8 that stands for the log power 0
KNEE = 1000  # microvolts; see compand


def compand(signal: npt.NDArray[np.int16]) -> npt.NDArray[np.int8]:
    """Return the companded signal in steps of 1 / SIGNAL_STEPS, of any shape, by the formula above."""
    x = signal.astype(np.int32)
    size = np.abs(x)
    rounded = (2 * SIGNAL_STEPS * size + KNEE + size) // (2 * (KNEE + size))
    return (np.sign(x) * rounded).astype(np.int8)


@functools.cache
def _table() -> npt.NDArray[np.int8]:
    """Return `compand` of every int16, by its bits as uint16."""
    return compand(np.arange(2**16, dtype=np.uint16).view(np.int16))


def quantize_inputs(
    signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Return int8 (1, 1, window, leads) and (1, bins, frames, leads), contiguous.

    signal: (leads, window) in microvolts; spectrogram: (leads, bins, frames).
    """
    steps = _table().take(np.ascontiguousarray(signal.T).view(np.uint16))
    power = np.ascontiguousarray(spectrogram.transpose(1, 2, 0)) ^ np.uint8(128)  # less 128, modulo 256
    return steps[np.newaxis, np.newaxis], power.view(np.int8)[np.newaxis]


def float_inputs(
    signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the same for a float graph, float32 and not rounded; such graphs are for comparison and do not ship."""
    x = np.ascontiguousarray(signal.T).astype(np.float32)
    power = np.ascontiguousarray(spectrogram.transpose(1, 2, 0)).astype(np.float32)
    companded = x / (KNEE + np.abs(x))
    return companded[np.newaxis, np.newaxis], power[np.newaxis]
