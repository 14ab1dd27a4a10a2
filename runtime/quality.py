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

    @property
    def bad(self) -> npt.NDArray[np.bool_]:
        """True where anything is."""
        verdict: npt.NDArray[np.bool_] = self.off | self.flat | self.saturated | self.noisy
        return verdict


class Quality:
    """Lead states over the hops of the current window."""

    def __init__(self, contract: Contract, present: npt.NDArray[np.bool_]) -> None:
        """Start with no hops; present: leads (12,) that the source has or that follow from what it has."""
        self._present = present
        hops = contract.window // contract.hop
        self._allowed = BAD_HOPS_OF_TEN * hops // 10
        self._bad = np.zeros((hops, len(LEADS)), dtype=np.bool_)
        self._seen = 0
        self._last_two = np.zeros((len(LEADS), 2), dtype=np.int16)

    def push(self, signal: npt.NDArray[np.int16], invalid: npt.NDArray[np.bool_]) -> LeadStates:
        """Judge a hop of conditioned signal (12, hop) and return the state of each lead that is present."""
        off = invalid.mean(axis=1) > OFF_SHARE if invalid.any() else np.zeros(len(LEADS), dtype=np.bool_)
        high, low = signal.max(axis=1).astype(np.int32), signal.min(axis=1).astype(np.int32)
        flat = (high - low < FLAT_MICROVOLTS) & ~off
        saturated = (high >= RAIL_MICROVOLTS) | (low <= -RAIL_MICROVOLTS)
        joined = np.concatenate((self._last_two, signal), axis=1).astype(np.int32)
        slope = np.diff(joined, axis=1)
        rough = np.abs(slope[:, 1:] - slope[:, :-1]) > ROUGH_MICROVOLTS
        noisy = (rough.sum(axis=1) > ROUGH_SHARE * signal.shape[1]) & ~off & ~saturated
        self._last_two = signal[:, -2:].copy()
        states = LeadStates(off & self._present, flat & self._present, saturated & self._present, noisy & self._present)
        self._bad[self._seen % len(self._bad)] = states.bad
        self._seen += 1
        return states

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Leads (12,) that the current window may rest on."""
        verdict: npt.NDArray[np.bool_] = self._present & (self._bad.sum(axis=0) <= self._allowed)
        return verdict

    @property
    def score(self) -> float:
        """Share of good seconds among the present leads of the window: 1 is clean, 0 is unusable."""
        hops = min(self._seen, len(self._bad))
        leads = int(self._present.sum())
        if not hops or not leads:
            return 0.0
        return 1.0 - float(self._bad[:, self._present].sum()) / (hops * leads)
