"""Which leads can be used: a verdict per lead and hop, and from ten of them one per lead and window.

A bad lead is taken out of a window (zeros in both inputs) and named; a window without a good lead gets no diagnosis.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS

from .contract import Contract

FLAT_MICROVOLTS = 10  # peak to peak within a hop; amplifier noise alone is more, a disconnected or digital line is not
RAIL_MICROVOLTS = 32767  # a conditioned sample at the int16 limit
# A hop is noisy where more than half of its second differences (100 Hz) are steeper than this: QRS complexes are steep
# for a sixth of a second, muscle noise throughout. Measured on hops of 1 s: 0.08 % of the leads of PTB-XL, no VF and
# 0.9 % of the ventricular flutter of the VFDB, 44 % at 6 dB and 94 % at -6 dB of NSTDB muscle noise on a PTB-XL record.
ROUGH_MICROVOLTS = 80
ROUGH_SHARE = 0.5
OFF_SHARE = 0.1  # of a hop's samples with the electrode off
BAD_HOPS_OF_TEN = 2  # a window survives a glitch; more than a fifth of it held or noisy is not that lead's ECG any more


@dataclass(frozen=True)
class LeadStates:
    """What is wrong with each lead in one hop; each is bool (12,)."""

    off: npt.NDArray[np.bool_]
    flat: npt.NDArray[np.bool_]
    saturated: npt.NDArray[np.bool_]
    noisy: npt.NDArray[np.bool_]

    bad: npt.NDArray[np.bool_]
    """True where anything is."""
    any: bool
    """Whether anything is, in any lead."""


class Quality:
    """Lead states over the hops of the current window."""

    def __init__(self, contract: Contract, present: npt.NDArray[np.bool_]) -> None:
        """Start with no hops; present: leads (12,) that the source has or that follow from what it has."""
        self._present = present
        hops = contract.window // contract.hop
        self._allowed = BAD_HOPS_OF_TEN * hops // 10
        self._bad = np.zeros((hops, len(LEADS)), dtype=np.bool_)
        self._seen = 0
        self._leads = int(np.count_nonzero(present))
        self._bad_hops = np.zeros(len(LEADS), dtype=np.int64)  # of each lead in the window
        self._joined = np.zeros(
            (len(LEADS), contract.hop + 2), dtype=np.int32
        )  # a hop behind the two samples before it

    def push(self, signal: npt.NDArray[np.int16], invalid: npt.NDArray[np.bool_]) -> LeadStates:
        """Judge a hop of conditioned signal (12, hop) and return the state of each lead that is present."""
        states = np.zeros((4, len(LEADS)), dtype=np.bool_)  # a wrong electrode is not called flat or noisy, too
        off, flat, saturated, noisy = states
        if invalid.any():
            np.greater(invalid.mean(axis=1), OFF_SHARE, out=off)
        high, low = signal.max(axis=1), signal.min(axis=1)
        np.less(high - low.astype(np.int32), FLAT_MICROVOLTS, out=flat)
        np.greater_equal(np.maximum(high, -low), RAIL_MICROVOLTS, out=saturated)
        joined = self._joined
        joined[:, :2] = joined[:, -2:]
        joined[:, 2:] = signal
        slope = joined[:, 1:] - joined[:, :-1]
        bend = slope[:, 1:] - slope[:, :-1]
        rough = np.count_nonzero(np.abs(bend, out=bend) > ROUGH_MICROVOLTS, axis=1)
        np.greater(rough, ROUGH_SHARE * signal.shape[1], out=noisy)
        states &= self._present
        anything = bool(states.any())
        if anything:
            flat &= ~off
            noisy &= ~(off | saturated)
        place = self._seen % len(self._bad)
        self._seen += 1
        bad: npt.NDArray[np.bool_] = np.logical_or.reduce(states, axis=0)
        if anything or self._bad_hops.any():
            self._bad_hops += bad
            self._bad_hops -= self._bad[place]
            self._bad[place] = bad
        return LeadStates(off, flat, saturated, noisy, bad, anything)

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Leads (12,) that the current window may rest on."""
        verdict: npt.NDArray[np.bool_] = self._present & (self._bad_hops <= self._allowed)
        return verdict

    @property
    def score(self) -> float:
        """Share of good seconds among the present leads of the window: 1 is clean, 0 is unusable."""
        hops = min(self._seen, len(self._bad))
        if not hops or not self._leads:
            return 0.0
        return 1.0 - int(self._bad_hops.sum()) / (hops * self._leads)
