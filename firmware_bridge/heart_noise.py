"""What is not the heart: noise of electrodes, muscle, mains and breathing, as nine electrodes pick it up.

Noise arises at electrodes and not in leads, so it is made there: what disturbs the right arm shows in every
lead that uses it, with the sign that it has on a real patient. Spectra are given in Hz and so hold at any
sampling rate.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from .errors import EcgEdgeError
from .heart_rhythms import Breathing

FloatArray = npt.NDArray[np.float64]

_WILSON = (-1 / 3, -1 / 3, -1 / 3)  # Wilson's central terminal, the reference of the chest leads
ELECTRODES_TO_LEADS = np.vstack(
    [
        [-1, 1, 0] + [0] * 6,  # I = LA - RA
        [-1, 0, 1] + [0] * 6,  # II = LL - RA
        np.hstack([np.tile(_WILSON, (6, 1)), np.eye(6)]),
    ]
)
"""MEASURED_LEADS (8 rows) from the electrodes RA, LA, LL, C1 to C6 (9 columns)."""


@dataclass(frozen=True)
class Noise:
    """How much of each disturbance an electrode picks up: rms in mV, averaged over the electrodes."""

    wander: float = 0.045
    """Baseline wander below 0.5 Hz, half of it in step with breathing."""
    contact: float = 0.006
    """Skin and electrode, falling with the frequency from 0.5 Hz."""
    broadband: float = 0.004
    """White up to 150 Hz."""
    muscle: float = 0.005
    """Muscle, 20 to 150 Hz, waxing and waning."""
    mains: float = 0.002
    """Hum."""
    mains_hz: float = 50.0
    """Its frequency."""

    def check(self) -> None:
        """Raise EcgEdgeError where a setting is not a finite number from 0 up."""
        for f in fields(self):
            value = getattr(self, f.name)
            if not 0 <= value < np.inf:
                raise EcgEdgeError(f"noise setting {f.name} = {value}: give a finite number, 0 or more")


def frequencies(n: int, rate: int) -> FloatArray:
    """Return the frequencies in Hz of the bins that `shaped` takes, for n samples at `rate` Hz."""
    return np.asarray(np.fft.rfftfreq(n, 1 / rate), dtype=np.float64)


def shaped(power: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    """Return n samples of Gaussian noise without mean whose variance is spread over `frequencies` as `power`."""
    used = np.flatnonzero(power)
    if not len(used):
        return np.zeros(n)
    spread = np.sqrt(power[: used[-1] + 1] / 4) * n  # bins above are silent, and the inverse transform pads them
    spread[0] = 0
    real_imaginary = rng.standard_normal((len(spread), 2)) * spread[:, None]
    return np.fft.irfft(real_imaginary.view(np.complex128)[:, 0], n)


def band(shape: FloatArray | npt.NDArray[np.bool_], rms: float) -> FloatArray:
    """Return `shape` over `frequencies` as the power of noise with `rms`; none if the shape holds only 0 Hz."""
    shape = shape.astype(np.float64)
    shape[0] = 0
    total = shape.sum()
    return shape * (rms**2 / total) if total else shape


def wandering(n: int, rate: int, hz: float, rms: float, rng: np.random.Generator) -> FloatArray:
    """Return n samples of noise with `rms` that changes no faster than about `hz`."""
    return shaped(band(np.exp(-np.square(frequencies(n, rate) / hz)), rms), n, rng)


def at_electrodes(n: int, rate: int, noise: Noise, breathing: Breathing, rng: np.random.Generator) -> FloatArray:
    """Return noise in mV, (n, 9), at RA, LA, LL, C1 to C6."""
    hz = frequencies(n, rate)
    # Half the wander's power is breathing's. Contact noise falls as f^-1.5 in power until white noise covers it.
    steady = band(np.where(hz < 0.5, np.exp(-hz / 0.1), 0), noise.wander / np.sqrt(2))
    steady += band(np.where((hz >= 0.5) & (hz < 40), np.maximum(hz, 0.5) ** -1.5, 0), noise.contact)
    steady += band(hz < 150, noise.broadband)
    tremor = band((hz > 20) & (hz < 150), noise.muscle)
    time = np.arange(n) / rate
    breath = np.sin(breathing.angle(time) + 0.5)  # the chest moves a little before heart and rate follow
    out = np.empty((9, n))
    for row in out:
        row[:] = shaped(steady, n, rng)
        row += noise.wander * rng.normal(0.6, 0.4) * breath
        row += shaped(tremor, n, rng) * np.exp(wandering(n, rate, 0.15, 0.6, rng))  # muscles tire and tense
        hum = noise.mains * np.sqrt(2) * rng.uniform(0.5, 1.5)
        row += hum * np.sin(2 * np.pi * noise.mains_hz * time + rng.normal(0, 0.6))
    return out.T
