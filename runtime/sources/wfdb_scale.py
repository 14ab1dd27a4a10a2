"""From ADC units to counts of one scale: gain, baseline, units and missing samples of WFDB signals.

A recording has one scale for all leads. Where the channels share one gain and a whole number of picovolts states it
closely enough, counts are the file's own integers less the baseline. Otherwise every channel is rescaled to 1/16
microvolt. Either way a count lies within half a count of what the header's gain gives.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT

from .wfdb_header import SignalSpec, short
from .wfdb_signal import signal_format

COMMON_PV_PER_LSB = 62_500
"""1/16 microvolt: the scale of recordings whose channels have no common one. 24 bits reach 524 mV."""

UNCALIBRATED_GAIN = 200.0
"""ADC units per mV where a header gives none or 0: WFDB's own default, header(5)."""

_PV_PER_UNIT = {"nv": 10**3, "uv": 10**6, "mv": 10**9, "v": 10**12}
_COARSEST_PV = 2**32 - 1  # 4.3 mV a count: an R wave would be one step, so such a gain is wrong
_MULTIPLIER_BITS = 38  # see rescaled


class ScaleError(EcgEdgeError):
    """Signals without a physical scale that an ECG can have."""


@dataclass(frozen=True)
class Scale:
    """How the channels of a record become counts."""

    pv_per_lsb: int
    """Picovolts per count."""
    baselines: tuple[int, ...]
    """ADC value at zero volts, a channel each."""
    factors: tuple[Fraction, ...]
    """Counts per ADC unit, a channel each: 1 or -1 where the integers are kept."""

    def counts(
        self, digital: npt.NDArray[np.int32], invalid: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.int32], int]:
        """Return `digital` (samples, channels) in counts, and how many samples were limited to COUNT_LIMIT.

        Where `invalid`, the count is that of the valid sample before it in its channel, 0 at the start.
        """
        values = digital.astype(np.int64) - np.array(self.baselines, np.int64)
        if invalid is not None:
            values = held(values, invalid)
        for column, factor in enumerate(self.factors):
            if factor != 1:
                values[:, column] = rescaled(values[:, column], factor)
        limited = 0
        if values.max(initial=0) > COUNT_LIMIT or values.min(initial=0) < -COUNT_LIMIT:
            limited = int(np.count_nonzero(np.abs(values) > COUNT_LIMIT))
            values = values.clip(-COUNT_LIMIT, COUNT_LIMIT)
        return values.astype(np.int32), limited


def scale_of(record: Path, signals: Sequence[SignalSpec], names: Sequence[str]) -> Scale:
    """Return the scale of `signals`, whose leads are `names`; raises ScaleError naming `record`.

    It depends on the header alone, so every part of a record has the same.
    """
    steps = [_pv_per_adc_unit(record, signal, name) for signal, name in zip(signals, names, strict=True)]
    baselines = tuple(signal.baseline for signal in signals)
    common = max(1, round(abs(steps[0])))
    kinds = [signal_format(signal.format, signal.file) for signal in signals]
    reach = max(max(k.largest - b, b - k.missing) for k, b in zip(kinds, baselines, strict=True))
    rounding = abs(abs(steps[0]) - common) * min(reach, COUNT_LIMIT)  # picovolts, at the largest count there can be
    if len({abs(step) for step in steps}) == 1 and 2 * rounding <= common:
        return Scale(common, baselines, tuple(Fraction(1 if step > 0 else -1) for step in steps))
    return Scale(COMMON_PV_PER_LSB, baselines, tuple(step / COMMON_PV_PER_LSB for step in steps))


def _pv_per_adc_unit(record: Path, signal: SignalSpec, name: str) -> Fraction:
    unit = signal.units.replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u").lower()
    if unit not in _PV_PER_UNIT:
        raise ScaleError(
            f"record {record}: lead {name} is in {short(signal.units)}, which has no physical scale; "
            "take a record in mV, or correct its header"
        )
    step = _step(signal.gain, unit)
    if abs(step) > _COARSEST_PV:
        raise ScaleError(
            f"record {record}: {signal.gain:g} ADC units per {signal.units} for lead {name} is too coarse for an "
            "ECG; correct the gain in its header"
        )
    return step


@lru_cache(maxsize=64)  # the channels of a record mostly share it, and exact fractions are slow
def _step(gain: float, unit: str) -> Fraction:
    if gain == 0:
        gain, unit = UNCALIBRATED_GAIN, "mv"
    return Fraction(_PV_PER_UNIT[unit]) / Fraction(gain)


def held(values: npt.NDArray[np.int64], invalid: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return `values` with each invalid one replaced by the valid one before it in its column, 0 at the start."""
    row = np.where(invalid, -1, np.arange(len(values))[:, None])
    last = np.maximum.accumulate(row, axis=0)
    return np.where(last < 0, 0, np.take_along_axis(values, np.maximum(last, 0), axis=0))


def rescaled(values: npt.NDArray[np.int64], factor: Fraction) -> npt.NDArray[np.int64]:
    """Return `values * factor` rounded half up, in integers that are the same on every machine.

    The factor is rounded once, to M / 2**38, and the result is (x * M + 2**37) >> 38. What would exceed COUNT_LIMIT
    anyway is limited before, so that x * M stays below 2**62 (for factors below 2**22). Rounding the factor moves
    x * factor by at most |x| * 2**-39: 2**-7 count for values of 32 bits, 2**-21 for values of 18 bits.
    """
    multiplier = round(factor * 2**_MULTIPLIER_BITS)
    reach = min(math.ceil((COUNT_LIMIT + 1) / abs(factor)), 2**32)
    return (values.clip(-reach, reach) * multiplier + 2 ** (_MULTIPLIER_BITS - 1)) >> _MULTIPLIER_BITS
