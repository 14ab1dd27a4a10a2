"""What the simulated heart's electricity looks like: a current dipole that moves, seen from eight leads.

The waves of a beat are Gaussian pulses, as in McSharry et al. 2003 (IEEE Trans Biomed Eng 50(3):289-294,
equation 1), given directions as in the dipole extension of Sameni, Clifford et al. 2007 (EURASIP J Adv Signal
Process, 043407). Here a pulse is a function of time and not of beat phase, so that a fast rate shortens
diastole and leaves the QRS as wide as it is. Axes are Frank's: x to the patient's left, y to the feet, z to
the back.

The pulses' sizes were chosen by hand, then trimmed until R, S, T and P of each lead lay near the medians of
normal adult records of PTB-XL (Wagner et al. 2020). Where Dower's torso cannot show them all, the precordial
leads were preferred: P and T of lead I are smaller than the medians.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from .heart_rhythms import RHYTHMS, Beat, Breathing

FloatArray = npt.NDArray[np.float64]

LEAD_VECTORS = np.array(
    [
        [0.632, -0.235, 0.059],  # I
        [0.235, 1.066, -0.132],  # II
        [-0.515, 0.157, -0.917],  # V1
        [0.044, 0.164, -1.387],  # V2
        [0.882, 0.098, -1.277],  # V3
        [1.213, 0.127, -0.601],  # V4
        [1.125, 0.127, -0.086],  # V5
        [0.831, 0.076, 0.230],  # V6
    ]
)
"""Each of MEASURED_LEADS in mV per mV of (x, y, z): the matrix of Dower, Machado and Osborne 1980 (Clin
Cardiol 3:87-95), whose pseudo-inverse is the inverse Dower matrix of Edenbrandt and Pahlm 1988."""


@dataclass(frozen=True)
class Wave:
    """A pulse of the dipole: Gaussian, with a width of its own on either side of the peak."""

    at: float
    """Seconds from the R peak to the pulse's peak."""
    rise: float
    """Standard deviation before the peak, in seconds."""
    fall: float
    """Standard deviation after it."""
    vector: tuple[float, float, float]
    """Dipole (x, y, z) in mV at the peak."""


# Right atrium (downwards and forwards), then left atrium (leftwards and backwards): V1's P wave is biphasic.
# From the start of P to the start of QRS: 155 ms.
_SINUS_P = (
    Wave(-0.160, 0.016, 0.019, (0.040, 0.085, -0.035)),
    Wave(-0.124, 0.019, 0.016, (0.078, 0.052, 0.045)),
)
# From a focus low in the left atrium: earlier, flatter, leftwards and hardly downwards.
_ECTOPIC_P = (
    Wave(-0.142, 0.015, 0.018, (0.070, -0.045, -0.030)),
    Wave(-0.112, 0.017, 0.016, (-0.030, -0.060, -0.045)),
)
# Septum (to the right and forwards), apex, free wall, then the base (backwards): 85 ms in all.
_NORMAL_QRS = (
    Wave(-0.0170, 0.0060, 0.0050, (-0.100, 0.060, -0.310)),
    Wave(-0.0055, 0.0074, 0.0074, (0.870, 0.170, -0.010)),
    Wave(0.0040, 0.0072, 0.0070, (0.700, 0.550, 0.470)),
    Wave(0.0145, 0.0056, 0.0058, (0.160, -0.030, 0.630)),
    Wave(0.0250, 0.0065, 0.0085, (-0.160, -0.030, 0.260)),
)
# The ST segment's slight forward vector, the T wave's two halves, and the U wave. Times hold at 60 beats/min.
_NORMAL_T = (
    Wave(0.170, 0.055, 0.045, (0.035, 0.015, -0.060)),
    Wave(0.254, 0.042, 0.032, (0.125, 0.045, -0.185)),
    Wave(0.292, 0.042, 0.028, (0.230, 0.125, -0.095)),
    Wave(0.460, 0.035, 0.045, (0.012, 0.008, -0.022)),
)
# The left ventricle is reached through the septum from the right: late, slow, leftwards and backwards, notched.
_BLOCK_QRS = (
    Wave(-0.046, 0.010, 0.012, (0.100, 0.060, -0.060)),
    Wave(-0.022, 0.016, 0.020, (0.640, 0.260, 0.560)),
    Wave(0.010, 0.020, 0.018, (0.200, 0.050, 0.650)),
    Wave(0.044, 0.020, 0.016, (0.700, 0.200, 0.330)),
    Wave(0.080, 0.014, 0.012, (0.060, -0.060, 0.100)),
)
_BLOCK_T = (
    Wave(0.170, 0.050, 0.060, (-0.080, -0.020, -0.170)),
    Wave(0.290, 0.060, 0.036, (-0.230, -0.050, -0.260)),
)
# From the apex of the right ventricle: wide, leftwards, upwards and backwards, and a T wave that opposes it.
_VENTRICULAR_QRS = (
    Wave(-0.034, 0.012, 0.014, (0.100, -0.120, -0.160)),
    Wave(0.002, 0.023, 0.026, (0.420, -0.820, 0.560)),
    Wave(0.046, 0.026, 0.022, (0.520, -0.620, 0.620)),
    Wave(0.090, 0.016, 0.018, (0.000, -0.120, 0.160)),
)
_VENTRICULAR_T = (
    Wave(0.190, 0.045, 0.060, (-0.140, 0.160, -0.180)),
    Wave(0.305, 0.060, 0.042, (-0.300, 0.380, -0.320)),
)

_P = {"sinus": _SINUS_P, "ectopic": _ECTOPIC_P, "": ()}
_QRS = {"N": _NORMAL_QRS, "A": _NORMAL_QRS, "L": _BLOCK_QRS, "V": _VENTRICULAR_QRS}
_T = {"N": _NORMAL_T, "A": _NORMAL_T, "L": _BLOCK_T, "V": _VENTRICULAR_T}

# Seconds around an R peak beyond which no pulse of its beat reaches 2 microvolts; `_AFTER` stretches with QT.
_BEFORE, _AFTER = 0.28, 0.62


_CHEST_GAIN = (0.82, 1.1, 1.0, 0.94, 0.94, 1.0)
"""Typical size of V1 to V6 against Dower's torso, from the medians of R and S in the same records."""


@dataclass(frozen=True)
class Body:
    """What differs from person to person."""

    frontal: float
    """Turn of the heart in the frontal plane in radians, clockwise as seen by the examiner."""
    horizontal: float
    """Turn in the horizontal plane in radians."""
    p_gain: float
    """Size of the P waves against the typical."""
    qrs_gain: float
    """Size of the QRS complexes."""
    t_gain: float
    """Size of the T waves."""
    chest_gain: tuple[float, ...]
    """Size of each of V1 to V6 against Dower's torso."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Return a body well within the spread of healthy ones."""
        frontal, horizontal = rng.uniform(-0.10, 0.10, 2)
        p, qrs, t = rng.uniform(0.88, 1.12, 3)
        return cls(frontal, horizontal, p, qrs, t, tuple(rng.uniform(0.92, 1.08, 6) * _CHEST_GAIN))

    def leads(self, dipole: FloatArray) -> FloatArray:
        """Return MEASURED_LEADS in mV, (n, 8), of a dipole (n, 3) in mV."""
        return dipole @ (LEAD_VECTORS * np.array([1.0, 1.0, *self.chest_gain])[:, None]).T


def of_beats(beats: Sequence[Beat], n: int, rate: int, body: Body, rng: np.random.Generator) -> FloatArray:
    """Return the dipole in mV, (n, 3), that `beats` give over n samples at `rate` Hz."""
    dipole = np.zeros((n, 3))
    for beat in beats:
        # No two beats are alike: conduction and filling differ by some per cent.
        p, qrs, t = rng.normal(1, (0.08, 0.025, 0.04)) * (body.p_gain, body.qrs_gain, body.t_gain)
        t *= RHYTHMS[beat.rhythm].t_gain
        # PR shortens with the rate, half as much as QT in proportion: 16 ms at 120 beats/min.
        conduction = 0.5 + 0.5 * beat.qt_scale
        waves = [(w.at * conduction, w.rise, w.fall, p, w.vector) for w in _P[beat.p_wave]]
        waves += [(w.at, w.rise, w.fall, qrs, w.vector) for w in _QRS[beat.symbol]]
        scale = beat.qt_scale
        waves += [(w.at * scale, w.rise * scale, w.fall * scale, t, w.vector) for w in _T[beat.symbol]]
        at, rise, fall, gain, vector = (np.array(column) for column in zip(*waves, strict=True))
        first = max(0, int((beat.time - _BEFORE) * rate))
        stop = min(n, int((beat.time + _AFTER * scale) * rate) + 1)
        u = np.arange(first, stop)[:, None] / rate - beat.time - at
        pulses = np.exp(-0.5 * np.square(u / np.where(u < 0, rise, fall)))
        dipole[first:stop] += pulses @ (gain[:, None] * vector)
    return dipole


def turn(dipole: FloatArray, breathing: Breathing, rate: int, body: Body) -> FloatArray:
    """Return the dipole (n, 3) as the body holds it: turned for good, and to and fro with each breath.

    The diaphragm tilts the heart by some degrees and the lungs' air weakens what reaches the skin by some per
    cent (Riekkinen and Rautaharju 1976, Circulation 53:40).
    """
    breath = np.sin(breathing.angle(np.arange(len(dipole)) / rate))
    frontal, horizontal = body.frontal + 0.06 * breath, body.horizontal + 0.05 * breath
    x, y, z = dipole.T
    x, y = x * np.cos(frontal) - y * np.sin(frontal), x * np.sin(frontal) + y * np.cos(frontal)
    x, z = x * np.cos(horizontal) - z * np.sin(horizontal), x * np.sin(horizontal) + z * np.cos(horizontal)
    return np.stack([x, y, z], axis=1) * (1 - 0.04 * breath)[:, None]
