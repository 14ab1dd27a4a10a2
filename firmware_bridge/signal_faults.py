"""What goes wrong at the electrodes: a recording as it would have been with a lead off, at the rail, in hum, in motion.

A device that plays the result delivers it as a board would: of a lead that is off it reports so and the count is at
the rail, of one that only is at the rail it reports nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .errors import EcgEdgeError
from .faults import Fault
from .heart_noise import wandering
from .leads import LEADS, MEASURED_LEADS, derivation
from .recording import COUNT_LIMIT, Recording

GRID_HZ = {"mains": 50.0, "mains60": 60.0}
"""Frequency of the hum, by the fault's kind."""
MOTION_HZ = 1.0
"""Synthetic motion changes no faster than about this: the band of baseline and T waves, where it does most harm."""
POPS_PER_S = 0.3
"""Sudden shifts of an electrode among it, each falling off within a second."""

FloatArray = npt.NDArray[np.float64]


def disturb(recording: Recording, faults: Sequence[Fault], seed: int = 0, noise: Recording | None = None) -> Recording:
    """Return `recording` with the electrode faults among `faults`, the one after the other.

    noise: a recording of noise, such as NSTDB's em, bw or ma, that motion is taken from instead of being drawn; each
    channel is brought to the asked rms, and lead k takes channel k, beginning anew when they are used up.
    Raises EcgEdgeError for a lead that the recording does not have.
    """
    counts = recording.counts.astype(np.float64)
    invalid = np.zeros(counts.shape, np.bool_) if recording.invalid is None else recording.invalid.copy()
    rng = np.random.default_rng(seed)
    total = len(counts)
    for fault in faults:
        start = min(round(fault.at * recording.rate), total)
        stop = round(min(fault.at + fault.seconds, recording.seconds) * recording.rate)
        columns = _columns(fault, recording.leads)
        if stop <= start:
            continue
        if fault.kind == "lead_off":
            counts[start:stop, columns] = COUNT_LIMIT
            invalid[start:stop, columns] = True
        elif fault.kind == "saturate":
            counts[start:stop, columns] = COUNT_LIMIT
        elif fault.kind in GRID_HZ or fault.kind == "motion":
            if fault.kind == "motion":
                added = _motion(stop - start, len(columns), recording.rate, rng, noise)
            else:
                added = _hum(stop - start, len(columns), recording.rate, rng, GRID_HZ[fault.kind])
            counts[start:stop, columns] += added * (fault.amount * 1e9 / recording.pv_per_lsb)
    held = np.clip(np.rint(counts), -COUNT_LIMIT, COUNT_LIMIT).astype(np.int32)
    return replace(recording, counts=held, invalid=invalid if invalid.any() else None)


def _columns(fault: Fault, leads: tuple[str, ...]) -> list[int]:
    """Return the columns that a fault touches: with a lead that has an electrode, also those derived from it."""
    if not fault.leads:
        return list(range(len(leads)))
    touched: set[str] = set()
    for lead in fault.leads:
        if lead not in leads:
            raise EcgEdgeError(f"fault {fault.kind} of lead {lead}: the recording has {', '.join(leads)}")
        touched.add(lead)
        if lead in MEASURED_LEADS:
            rests = derivation(MEASURED_LEADS)[:, MEASURED_LEADS.index(lead)] != 0
            touched.update(name for name, rest in zip(LEADS, rests, strict=True) if rest)
    return [k for k, name in enumerate(leads) if name in touched]


def _hum(n: int, leads: int, rate: int, rng: np.random.Generator, hz: float) -> FloatArray:
    """Return hum (n, leads) of amplitude 1, its phase of each lead its own."""
    phase = rng.uniform(0, 2 * np.pi, leads)
    return np.sin(2 * np.pi * hz * np.arange(n)[:, None] / rate + phase)


def _motion(n: int, leads: int, rate: int, rng: np.random.Generator, noise: Recording | None) -> FloatArray:
    """Return motion (n, leads) of rms 1 in each lead."""
    out = np.empty((n, leads))
    for k in range(leads):
        out[:, k] = _drawn(n, rate, rng) if noise is None else _taken(n, rate, k, noise)
        out[:, k] -= out[:, k].mean()
        rms = np.sqrt(np.mean(np.square(out[:, k])))
        out[:, k] /= rms if rms else 1.0
    return out


def _drawn(n: int, rate: int, rng: np.random.Generator) -> FloatArray:
    pops = np.where(rng.random(n) < POPS_PER_S / rate, rng.normal(0, 4, n), 0.0)
    decay = np.exp(-np.arange(min(n, rate)) / (0.25 * rate))
    return wandering(n, rate, MOTION_HZ, 1.0, rng) + np.convolve(pops, decay)[:n]


def _taken(n: int, rate: int, lead: int, noise: Recording) -> FloatArray:
    channels = noise.counts.shape[1]
    channel, turn = lead % channels, lead // channels
    seconds = np.arange(n) / rate + turn * 60.0  # leads that share a channel take different minutes of it
    return np.interp(seconds % noise.seconds, np.arange(len(noise.counts)) / noise.rate, noise.counts[:, channel])
