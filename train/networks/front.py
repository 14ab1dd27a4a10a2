"""What a network takes for a spectrogram: the device's own, or the one of the paper's network."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Front = Callable[[npt.NDArray[np.int16], npt.NDArray[np.uint8]], npt.NDArray[np.generic]]
"""Signal int16 (N, leads, samples) and the device's log power (N, leads, bins, frames) to the spectrogram that the
network takes."""


def front_of(backbone: str) -> Front:
    """Return the front of a backbone: `edge` takes the device's log power, `paper` computes its own magnitudes."""
    if backbone == "edge":
        return lambda signal, spectrogram: spectrogram
    from ..paper_spectrogram import paper_spectrogram

    return lambda signal, spectrogram: paper_spectrogram(signal)
