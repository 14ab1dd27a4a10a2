"""A simulated heart: a 12-lead recording of any length and rhythm, with the truth about it.

    rhythms -> beats -> dipole + fibrillation -> turned by the breath -> leads + electrode noise -> counts

It stands in for a patient where there is none: the built-in recording `demo`, the simulated device, the tests.
It is a model and not a recording of anyone, and no evidence of how well anything works on people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from . import heart_dipole, heart_fibrillation, heart_noise, heart_rhythms
from .errors import EcgEdgeError
from .heart_noise import Noise
from .heart_rhythms import RHYTHMS, Beat, Episode
from .leads import LEADS, MEASURED_LEADS, canonical, canonical_all, derivation, derive
from .recording import COUNT_LIMIT, Recording

__all__ = ["RHYTHMS", "Beat", "Episode", "Noise", "SimulatedEcg", "demo", "described", "simulate"]

RATES = (125, 2000)
"""Lowest and highest sampling rate in Hz."""


@dataclass(frozen=True)
class SimulatedEcg:
    """A simulated recording and what is true of it."""

    recording: Recording
    """The signal, as a device would have delivered it."""
    beats: tuple[Beat, ...]
    """Every ventricular beat, in order; the first and last may be cut by the recording's ends."""
    episodes: tuple[tuple[float, float, str], ...]
    """(onset, end, rhythm) of each episode, in seconds."""


def simulate(
    episodes: Sequence[Episode],
    rate: int = 500,
    leads: Sequence[str] = MEASURED_LEADS,
    *,
    seed: int = 0,
    noise: Noise | None = None,
    lead_off: Sequence[tuple[str, float, float]] = (),
    pv_per_lsb: int = 1_000_000,
    name: str = "simulated",
) -> SimulatedEcg:
    """Return a simulated recording of `episodes`, one after the other.

    rate: samples per second, 125 to 2000.
    leads: names of the columns, any of the twelve. Those that a board does not measure are derived from the
    integer counts of I and II, so that III = II - I exactly, and aVR, aVL and aVF to half a count, rounded down.
    seed: draws the person, the beats and the noise; the beats do not depend on `rate`, `leads` or `noise`.
    noise: None for the default amounts.
    lead_off: (lead, start, stop) in seconds, of MEASURED_LEADS. From sample round(start * rate) up to, and
    without, round(stop * rate), it and the leads derived from it are invalid and their counts are COUNT_LIMIT.
    pv_per_lsb: picovolts per count.

    The recording has round(total seconds * rate) samples. Raises EcgEdgeError for what cannot be simulated.
    """
    names = canonical_all(leads)
    noise = Noise() if noise is None else noise
    _check(episodes, rate, names, seed, noise, pv_per_lsb)
    edges = heart_rhythms.onsets(episodes)
    n = round(edges[-1] * rate)
    if n < 1:
        raise EcgEdgeError(f"{edges[-1]} s at {rate} Hz hold no sample: ask for a longer recording")
    off = _lead_off(lead_off, n, rate, names)
    person, timing, variation, chaos, hiss = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(5)
    )
    body = heart_dipole.Body.draw(person)
    breathing = heart_rhythms.Breathing.draw(person)
    beats = heart_rhythms.beats(episodes, breathing, timing)

    dipole = heart_dipole.of_beats(beats, n, rate, body, variation)
    dipole += heart_fibrillation.of_atria(episodes, n, rate, chaos)
    dipole += heart_fibrillation.of_ventricles(episodes, n, rate, chaos)
    millivolts = body.leads(heart_dipole.turn(dipole, breathing, rate, body))
    electrodes = heart_noise.at_electrodes(n, rate, noise, breathing, hiss)
    millivolts += electrodes @ heart_noise.ELECTRODES_TO_LEADS.T

    scaled = np.rint(millivolts * (1e9 / pv_per_lsb))
    if np.abs(scaled).max() > COUNT_LIMIT // 2:  # half: III and the augmented leads are sums of two
        raise EcgEdgeError(f"{pv_per_lsb} pV per count overflows 24 bits: give 10000 or more, or less noise")
    half_counts, _ = derive(scaled.astype(np.int32), MEASURED_LEADS)
    counts = half_counts[:, [LEADS.index(lead) for lead in names]] // 2
    if off is not None:
        counts[off] = COUNT_LIMIT

    spans = tuple((start, end, e.rhythm) for e, (start, end) in zip(episodes, pairwise(edges), strict=True))
    comments = ["simulated ECG, no patient"]
    comments += [f"{start:.3f} s to {end:.3f} s: {rhythm}" for start, end, rhythm in spans]
    comments += [f"{start:.3f} s to {stop:.3f} s: lead {lead} off" for lead, start, stop in lead_off]
    recording = Recording(name, rate, names, counts, pv_per_lsb, off, tuple(comments))
    return SimulatedEcg(recording, tuple(beats), spans)


def demo() -> Recording:
    """Return the built-in recording: two minutes, the eight measured leads at 500 Hz, always the same.

    Sinus rhythm, atrial fibrillation from 25 s, sinus rhythm with frequent premature ventricular beats from
    61 s, sinus rhythm from 85 s with V2 off from 90 to 98 s, sinus tachycardia from 103 s.
    """
    episodes = (
        Episode("sinus rhythm", 25),
        Episode("atrial fibrillation", 36),
        Episode("sinus rhythm", 24, bpm=74, premature_ventricular=14),
        Episode("sinus rhythm", 18),
        Episode("sinus tachycardia", 17),
    )
    return simulate(episodes, seed=30, lead_off=[("V2", 90, 98)], name="demo").recording


HEART = "heart"
"""Start of a name that `described` reads."""
DESCRIBED_S = 60.0
"""Length of an episode whose length is not said."""


def described(name: str) -> Recording | None:
    """Return the recording that a name such as `heart:sinus rhythm/30,asystole/10` describes; None for other names.

    name: `heart:` or, for another sampling rate than 500 Hz, `heart@250:`; then episodes, separated by commas, each
    RHYTHM, RHYTHM/SECONDS or RHYTHM/SECONDS/BPM. Always the same for one name, with the eight measured leads.
    Raises EcgEdgeError for what cannot be read or simulated.
    """
    head, colon, text = name.partition(":")
    kind, at_sign, rate = head.partition("@")
    if kind != HEART or not colon:
        return None
    episodes = []
    for item in text.split(","):
        rhythm, *figures = (part.strip() for part in item.split("/"))
        try:
            seconds, bpm = (float(f) for f in [*figures, *("nan",) * (2 - len(figures))])
            hz = int(rate) if at_sign else 500
        except ValueError:
            raise EcgEdgeError(
                f"{name!r} cannot be read: write {HEART}:RHYTHM/SECONDS,... as in {HEART}:sinus rhythm/30,asystole/10"
            ) from None
        missing_s, missing_bpm = not figures, len(figures) < 2
        episodes.append(Episode(rhythm, DESCRIBED_S if missing_s else seconds, None if missing_bpm else bpm))
    return simulate(episodes, hz, name=HEART).recording


def _check(
    episodes: Sequence[Episode], rate: int, names: Sequence[str], seed: int, noise: Noise, pv_per_lsb: int
) -> None:
    """Raise EcgEdgeError for the first argument of `simulate` that cannot be had."""
    if not episodes:
        raise EcgEdgeError("no episode to simulate: give at least one")
    for episode in episodes:
        episode.check()
    noise.check()
    if not names:
        raise EcgEdgeError(f"no lead to simulate: choose from {', '.join(LEADS)}")
    if not isinstance(rate, int) or not RATES[0] <= rate <= RATES[1]:
        raise EcgEdgeError(f"sampling rate {rate}: give a whole number of Hz from {RATES[0]} to {RATES[1]}")
    if not isinstance(seed, int) or seed < 0:
        raise EcgEdgeError(f"seed {seed}: give a whole number, 0 or more")
    if not isinstance(pv_per_lsb, int) or pv_per_lsb < 1:
        raise EcgEdgeError(f"{pv_per_lsb} pV per count: give a whole number above 0, such as 1000000")


def _lead_off(
    lead_off: Sequence[tuple[str, float, float]], n: int, rate: int, names: Sequence[str]
) -> np.ndarray | None:
    """Return True (n, leads) where an electrode is off, or None if none ever is."""
    if not lead_off:
        return None
    rests_on = derivation(MEASURED_LEADS) != 0  # (12 leads, 8 measured)
    off = np.zeros((n, len(names)), dtype=np.bool_)
    for asked, start, stop in lead_off:
        lead = canonical(asked)
        if lead not in MEASURED_LEADS:
            raise EcgEdgeError(f"lead {lead} has no electrode of its own: choose from {', '.join(MEASURED_LEADS)}")
        touched = rests_on[[LEADS.index(name) for name in names], MEASURED_LEADS.index(lead)]
        if not touched.any():
            raise EcgEdgeError(f"lead {lead} is to come off, but the recording has only {', '.join(names)}")
        if not 0 <= start < stop <= n / rate:
            raise EcgEdgeError(f"lead {lead} off from {start} to {stop} s: give a stretch of the {n / rate} s")
        off[round(start * rate) : round(stop * rate)] |= touched
    return off
