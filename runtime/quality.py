"""Which leads can be used: a verdict per lead and hop, and from ten of them one per lead and window.

A bad lead is taken out of a window (zeros in both inputs) and named; a window without a good lead gets no diagnosis.
"""

from operator import sub
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS

from . import native
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


class LeadStates(NamedTuple):
    """What is wrong with each lead in one hop; each is bool (12,)."""

    off: npt.NDArray[np.bool_]
    flat: npt.NDArray[np.bool_]
    saturated: npt.NDArray[np.bool_]
    noisy: npt.NDArray[np.bool_]

    bad: npt.NDArray[np.bool_]
    """True where anything is."""
    any: bool
    """Whether anything is, in any lead."""


_NONE = np.zeros(len(LEADS), dtype=np.bool_)
_NONE.flags.writeable = False
_WELL = LeadStates(_NONE, _NONE, _NONE, _NONE, _NONE, any=False)


class Quality:
    """Lead states over the hops of the current window."""

    def __init__(self, contract: Contract, present: npt.NDArray[np.bool_]) -> None:
        """Start with no hops; present: leads (12,) that the source has or that follow from what it has."""
        self._present = present
        self._here: list[bool] = present.tolist()
        self._leads = sum(self._here)
        hops = contract.window // contract.hop
        self._allowed = BAD_HOPS_OF_TEN * hops // 10
        self._bad = np.zeros((hops, len(LEADS)), dtype=np.bool_)
        self._seen = 0
        self._bad_hops = np.zeros(len(LEADS), dtype=np.int64)  # of each lead in the window
        self._spotless = True  # whether that is all zero
        self._kernels = native.kernels
        self._before = np.zeros((len(LEADS), 2), dtype=np.int32)  # last two samples, for the compiled look
        self._most_rough = ROUGH_SHARE * contract.hop
        # A hop behind the two samples before it, row after row in one piece: differences across the whole of it take
        # half the time of those row by row; the two at each row's end, which reach into the next, are not looked at.
        self._joined = np.zeros((len(LEADS), contract.hop + 2), dtype=np.int32)
        self._slope, self._bend = np.zeros((2, self._joined.size), dtype=np.int32)
        self._steep = np.zeros(self._joined.shape, dtype=np.bool_)
        self._steep_bytes = self._steep.view(np.uint8)
        # All but the two that reach into the next row; a product with it counts in the smallest type that holds a hop.
        self._counted = np.ones(contract.hop + 2, dtype=np.uint8 if contract.hop < 256 else np.uint16)
        self._counted[-2:] = 0
        self.usable = present
        """Leads (12,) that the current window may rest on."""
        self.score = 0.0
        """Share of good seconds among the present leads of the window: 1 is clean, 0 is unusable."""

    def push(self, signal: npt.NDArray[np.int16], invalid: npt.NDArray[np.bool_]) -> LeadStates:
        """Judge a hop of conditioned signal (12, hop) and return the state of each lead that is present."""
        if self._kernels is not None:
            high, low, rough = self._kernels.look_at_hop(signal, ROUGH_MICROVOLTS, self._before)
        else:
            high, low = np.maximum.reduce(signal, axis=1).tolist(), np.minimum.reduce(signal, axis=1).tolist()
            rough = self._rough(signal).tolist()
        states = _WELL
        if np.count_nonzero(invalid) or not self._is_well(high, low, rough):
            states = self._states(np.array(high), np.array(low), np.array(rough), invalid)
        place = self._seen % len(self._bad)
        self._seen += 1
        if states.any or not self._spotless:
            self._bad_hops += states.bad
            self._bad_hops -= self._bad[place]
            self._bad[place] = states.bad
            self.usable = self._present & (self._bad_hops <= self._allowed)
            self._spotless = not np.count_nonzero(self._bad_hops)
        if self._leads:
            hops = min(self._seen, len(self._bad))
            self.score = 1.0 if self._spotless else 1.0 - int(self._bad_hops.sum()) / (hops * self._leads)
        return states

    def _rough(self, signal: npt.NDArray[np.int16]) -> npt.NDArray[np.unsignedinteger]:
        """Return how many second differences of each lead (12,) are steep."""
        joined, slope, bend = self._joined, self._slope, self._bend
        joined[:, :2] = joined[:, -2:]
        joined[:, 2:] = signal
        samples = joined.reshape(-1)
        np.subtract(samples[1:], samples[:-1], out=slope[:-1])
        np.subtract(slope[1:], slope[:-1], out=bend[:-1])
        np.absolute(bend, out=bend)
        np.greater(bend, ROUGH_MICROVOLTS, out=self._steep.reshape(-1))
        return self._steep_bytes.dot(self._counted)

    def _is_well(self, high: list[int], low: list[int], rough: list[int]) -> bool:
        """Return whether nothing is wrong with any lead that is present, electrodes apart; each (12,).

        As `_states` decides, but of plain numbers: for twelve of them that is quicker than NumPy.
        """
        return (
            max(high) < RAIL_MICROVOLTS
            and min(low) > -RAIL_MICROVOLTS
            and max(rough) <= self._most_rough
            and (
                min(map(sub, high, low)) >= FLAT_MICROVOLTS
                or all([h - w >= FLAT_MICROVOLTS for h, w, here in zip(high, low, self._here, strict=True) if here])
            )
        )

    def _states(
        self,
        high: npt.NDArray[np.int64],
        low: npt.NDArray[np.int64],
        rough: npt.NDArray[np.int64],
        invalid: npt.NDArray[np.bool_],
    ) -> LeadStates:
        """Return what is wrong with each lead."""
        states = np.zeros((4, len(LEADS)), dtype=np.bool_)
        off, flat, saturated, noisy = states
        np.greater(invalid.mean(axis=1), OFF_SHARE, out=off)
        np.less(high - low, FLAT_MICROVOLTS, out=flat)
        np.greater_equal(np.maximum(high, -low), RAIL_MICROVOLTS, out=saturated)
        np.greater(rough, self._most_rough, out=noisy)
        states &= self._present
        flat &= ~off  # a wrong electrode is not called flat or noisy, too
        noisy &= ~(off | saturated)
        bad: npt.NDArray[np.bool_] = np.logical_or.reduce(states, axis=0)
        return LeadStates(off, flat, saturated, noisy, bad, any=bool(bad.any()))
