"""The model of a stream, the one of one branch that may stand in for it, and what becomes of their answers."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS

from .backends import Backend, probabilities
from .bundle import Bundle
from .classes import ClassInfo
from .events import Technical
from .one_branch import OneBranch


class Models:
    """Asks the model that judges now, with the leads that are usable; an answer that is not finite is none."""

    def __init__(self, bundle: Bundle, backend: Backend, light: OneBranch | None) -> None:
        """Begin with the whole model; light: what may stand in for it."""
        self._classes, self._backend, self._light = bundle.manifest.classes, backend, light
        self._failing = False
        self._usable: npt.NDArray[np.bool_] | None = None  # mask of the last window that was answered
        self.rested_on = np.zeros(len(LEADS), dtype=np.bool_)
        """Leads (12,) that an answer has rested on so far."""
        self.one_branch = False
        """Whether the model of one branch judges; only where there is one."""

    @property
    def light(self) -> str | None:
        """Name of the bundle that judges while `one_branch` is set; None where there is none."""
        return self._light.bundle.manifest.name if self._light else None

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Classes with the thresholds of the model that judges."""
        return self._light.bundle.manifest.classes if self._light and self.one_branch else self._classes

    def ask(
        self,
        signal: npt.NDArray[np.int16],
        spectrogram: npt.NDArray[np.uint8],
        usable: npt.NDArray[np.bool_],
        time: float,
        lap: Callable[[str], None],
    ) -> tuple[npt.NDArray[np.float64] | None, list[Technical]]:
        """Return the probabilities (classes,) of one window, None for no answer, and what there is to tell of that.

        signal, spectrogram: as the window has them; usable: leads (12,) to be read, a new array with each change;
        time: end of the window; lap: is called with the name of each stage that ends.
        """
        count = np.count_nonzero(usable)
        if not count:
            return None, []
        if count < len(usable):
            signal, spectrogram = signal.copy(), spectrogram.copy()
            signal[~usable] = 0
            spectrogram[~usable] = 0
        lap("front_end")
        backend = self._light.backend if self._light and self.one_branch else self._backend
        logits = backend.logits(signal, spectrogram)
        lap("inference")
        failing = not math.isfinite(sum(logits.tolist()))  # float32 cannot add up to more than float64 holds
        told = []
        if failing != self._failing:
            self._failing = failing
            text = "the model gives no finite numbers: nothing is analyzed" if failing else "the model answers again"
            told = [Technical(time=time, code="model_fault", phase="new" if failing else "end", message=text)]
        if failing:
            return None, told
        if usable is not self._usable:
            self._usable = usable
            self.rested_on |= usable
        return probabilities(logits), told
