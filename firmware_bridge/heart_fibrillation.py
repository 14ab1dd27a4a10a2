"""Electrical activity without beats: f waves of fibrillating atria, chaos of fibrillating ventricles.

Both are oscillators whose frequency and amplitude wander. The f wave is the sawtooth of Stridh and Sörnmo 2001
(IEEE Trans Biomed Eng 48(1):105-111): a fundamental and its harmonics, modulated together.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .heart_noise import wandering
from .heart_rhythms import Episode, onsets

FloatArray = npt.NDArray[np.float64]

# Dipole (x, y, z) in mV and frequency in Hz. The right atrium lies under V1 and its free wall is activated down
# and forwards, so f waves are largest in V1, V2, II, III and aVF. The left atrium keeps no step with it.
_F_SOURCES = (((-0.018, 0.024, -0.040), 6.1), ((0.010, 0.016, 0.010), 6.9))
_F_HARMONICS = (1.0, 0.45, 0.2)  # a sawtooth's 1/k, its corners rounded by the chest
_VF_DIPOLE = (0.30, 0.34, 0.22)  # mV along x, y, z: coarse fibrillation, 0.3 to 1.2 mV peak to peak in lead II
_VF_HZ = 4.7  # amid the 3 to 7 Hz of its dominant frequency on the body surface
_RAMP = 0.25  # seconds in which fibrillation sets in and ends


def of_atria(episodes: Sequence[Episode], n: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return the dipole of f waves in mV, (n, 3): zero outside episodes of atrial fibrillation."""
    dipole = np.zeros((n, 3))
    for start, stop, gate in _stretches("atrial fibrillation", episodes, n, rate):
        for vector, hz in _F_SOURCES:
            length = stop - start
            phase = _phase(length, rate, rng, hz, spread=0.45)
            wave = sum(a * np.sin(k * phase) for k, a in enumerate(_F_HARMONICS, 1))
            wave *= gate * np.exp(wandering(length, rate, 0.8, 0.3, rng))
            dipole[start:stop] += wave[:, None] * np.array(vector)
    return dipole


def of_ventricles(episodes: Sequence[Episode], n: int, rate: int, rng: np.random.Generator) -> FloatArray:
    """Return the dipole of ventricular fibrillation in mV, (n, 3): zero outside its episodes."""
    dipole = np.zeros((n, 3))
    for start, stop, gate in _stretches("ventricular fibrillation", episodes, n, rate):
        length = stop - start
        common = _phase(length, rate, rng, _VF_HZ, spread=0.5)
        for axis, size in enumerate(_VF_DIPOLE):
            # The wavefronts wander, so the components slip against each other and the dipole turns at random.
            phase = common + _phase(length, rate, rng, 0.0, spread=0.5)
            wave = np.sin(phase) + 0.25 * np.sin(2 * phase + rng.uniform(0, 2 * np.pi))
            dipole[start:stop, axis] = size * gate * np.exp(wandering(length, rate, 0.7, 0.4, rng)) * wave
    return dipole


def _stretches(rhythm: str, episodes: Sequence[Episode], n: int, rate: int) -> list[tuple[int, int, FloatArray]]:
    """Return (first sample, stop, gain) of each episode of `rhythm`; the gain rises and falls within its ends."""
    found = []
    edges = onsets(episodes)
    for episode, start, end in zip(episodes, edges, edges[1:], strict=False):
        first, stop = round(start * rate), min(n, round(end * rate))
        if episode.rhythm == rhythm and first < stop:
            time = np.arange(first, stop) / rate
            found.append((first, stop, np.clip(np.minimum(time - start, end - time) / _RAMP, 0, 1)))
    return found


def _phase(length: int, rate: int, rng: np.random.Generator, hz: float, spread: float) -> FloatArray:
    """Return the phase in radians of an oscillator at `hz` whose frequency strays by `spread` Hz rms."""
    straying = wandering(length, rate, 0.7, spread, rng)
    return 2 * np.pi * np.cumsum(hz + straying) / rate + rng.uniform(0, 2 * np.pi)
