"""What the engine needs of a model, whichever library runs it."""

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Backend(Protocol):
    """A verified model graph in, logits out."""

    name: str
    """Name of the backend, as `--backend` takes it."""

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits (classes,) of one window.

        signal: int16 (12, window) in microvolts; spectrogram: uint8 (12, bins, frames); both with zeros for
        leads that are not to be used.
        """
        ...


def probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the sigmoid of logits, without overflow."""
    odds = np.negative(logits, dtype=np.float64)
    np.minimum(odds, 60.0, out=odds)  # on the other side nothing can overflow
    np.exp(odds, out=odds)
    np.add(odds, 1.0, out=odds)
    return np.divide(1.0, odds, out=odds)
