"""The spectrogram of Phan et al. 2022: linear magnitudes of short pieces, in floating point.

The paper's network alone takes it, to be compared with; devices compute `runtime.stft`.
"""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

LENGTH = 25  # samples of a frame: 0.25 s at 100 Hz, bins of 4 Hz
HOP = 13
BINS = LENGTH // 2 + 1
_PHASE = -2j * np.pi * np.outer(np.arange(LENGTH), np.arange(BINS)) / LENGTH
_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / LENGTH)
_KERNEL = (_HANN / _HANN.sum())[:, np.newaxis] * np.exp(_PHASE)
_REAL_IMAGINARY = np.concatenate((_KERNEL.real, _KERNEL.imag), axis=1).astype(np.float32)  # (LENGTH, 2 * BINS)


def frames(samples: int) -> int:
    """Return the number of frames of a signal: 21 of 250 samples."""
    return -(-(samples + 2 * (LENGTH // 2) - LENGTH) // HOP) + 1


def paper_spectrogram(signal: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Return magnitudes (..., 13, frames) in units of the signal's, of signal (..., samples) at 100 Hz.

    A periodic Hann window, divided by its sum, so that a sine of amplitude 2 in the middle of a bin reads 1. The
    signal has 12 zeros on its left, so that frame k is centred on sample 13 k, and as many on its right as the last
    frame to begin within it asks for. The same as scipy.signal.stft(signal, nperseg=25, noverlap=12).
    """
    samples = signal.shape[-1]
    padded = np.zeros((*signal.shape[:-1], (frames(samples) - 1) * HOP + LENGTH), dtype=np.float32)
    padded[..., LENGTH // 2 : LENGTH // 2 + samples] = signal
    pieces = sliding_window_view(padded, LENGTH, axis=-1)[..., ::HOP, :]
    both = pieces.reshape(-1, LENGTH) @ _REAL_IMAGINARY
    magnitude = np.hypot(both[:, :BINS], both[:, BINS:]).reshape(*pieces.shape[:-1], BINS)
    return np.ascontiguousarray(magnitude.swapaxes(-1, -2))
