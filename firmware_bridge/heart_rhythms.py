"""When the simulated heart beats: rhythms as sequences of beats.

Sinus rhythm is a mean RR interval modulated by breathing (respiratory sinus arrhythmia) and by the 0.1 Hz
Mayer wave of blood pressure, the two peaks of the spectrum of RR in McSharry et al. 2003 (IEEE Trans Biomed Eng
50(3):289-294). Atrial fibrillation has independent, skewed intervals above a refractory floor. Nothing here
knows a sampling rate: the same seed gives the same beats however finely they are sampled.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from .errors import EcgEdgeError

LONGEST_EPISODE = 86_400.0  # seconds; a day, beyond which the asked length is a slip and not a wish


@dataclass(frozen=True)
class Rhythm:
    """What makes one rhythm: its rate, its irregularity and the beats that it consists of."""

    bpm: float = 0.0
    """Beats per minute when the episode does not say; 0: the rhythm has no beats."""
    bpm_range: tuple[float, float] = (0.0, 0.0)
    """Rates that still bear this rhythm's name."""
    respiratory: float = 0.0
    """Amplitude of the respiratory modulation of RR, as a fraction of it."""
    mayer: float = 0.0
    """Amplitude of the modulation at 0.1 Hz, as a fraction of RR."""
    jitter: float = 0.006
    """Standard deviation of what is left from beat to beat, as a fraction of RR."""
    irregularity: float = 0.0
    """Coefficient of variation of RR in a rhythm without a pacemaker of its own; 0: it has one."""
    symbol: str = "N"
    """Annotation code of its beats, as in the MIT-BIH databases: N, L, V."""
    p_wave: str = "sinus"
    """The P wave before each beat: `sinus`, or empty where no atrial contraction precedes it."""
    t_gain: float = 1.0
    """Size of the T waves against those of the same kind of beat in sinus rhythm."""


RHYTHMS = {
    # Together 2 to 3 % of standard deviation of RR, the median of normal ten-second records of PTB-XL.
    "sinus rhythm": Rhythm(68, (60, 100), respiratory=0.03, mayer=0.02),
    "sinus bradycardia": Rhythm(48, (25, 60), respiratory=0.045, mayer=0.02),
    # Vagal withdrawal quickens the heart and stills its variability together.
    "sinus tachycardia": Rhythm(118, (100, 190), respiratory=0.008, mayer=0.008, jitter=0.004),
    # In PTB-XL's records of fibrillation the quartiles of RR's coefficient of variation are 0.14 and 0.24, and
    # the median T wave is under half of the normal records', from drugs, disease and rate.
    "atrial fibrillation": Rhythm(100, (50, 180), irregularity=0.21, p_wave="", t_gain=0.45),
    "left bundle branch block": Rhythm(72, (40, 130), respiratory=0.02, mayer=0.015, symbol="L"),
    "ventricular tachycardia": Rhythm(172, (100, 240), jitter=0.012, symbol="V", p_wave=""),
    "ventricular fibrillation": Rhythm(),
    "asystole": Rhythm(),
}
"""The rhythms that an episode may name."""


@dataclass(frozen=True)
class Episode:
    """A stretch of one rhythm."""

    rhythm: str
    """A key of RHYTHMS."""
    seconds: float
    """Its length."""
    bpm: float | None = None
    """Mean rate of the underlying rhythm, within its `bpm_range`; None: the rhythm's own."""
    premature_ventricular: float = 0.0
    """Premature ventricular beats a minute, drawn at random; at most every other beat."""
    premature_atrial: float = 0.0
    """Premature atrial beats a minute, likewise."""

    @property
    def rate(self) -> float:
        """Mean beats per minute of the underlying rhythm."""
        return RHYTHMS[self.rhythm].bpm if self.bpm is None else self.bpm

    def check(self) -> None:
        """Raise EcgEdgeError where the episode cannot be simulated."""
        if self.rhythm not in RHYTHMS:
            raise EcgEdgeError(f"unknown rhythm {self.rhythm!r}: choose from {', '.join(RHYTHMS)}")
        rhythm = RHYTHMS[self.rhythm]
        if not 0 < self.seconds <= LONGEST_EPISODE:
            raise EcgEdgeError(
                f"{self.rhythm} for {self.seconds} s: give more than 0 and at most {LONGEST_EPISODE:.0f} s"
            )
        low, high = rhythm.bpm_range
        if self.bpm is not None and not low <= self.bpm <= high:
            mend = f"give {low:g} to {high:g}" if high else "it has no beats, so leave the rate out"
            raise EcgEdgeError(f"{self.rhythm} at {self.bpm} beats/min: {mend}")
        asked = (self.premature_ventricular, self.premature_atrial)
        if not all(rate >= 0 for rate in asked) or sum(asked) > self.rate / 2:
            raise EcgEdgeError(
                f"{asked[0]} ventricular and {asked[1]} atrial premature beats/min in {self.rhythm} at "
                f"{self.rate:g} beats/min: give at most {self.rate / 2:g} together, every other beat"
            )
        if any(asked) and not rhythm.p_wave:
            raise EcgEdgeError(f"premature beats need a sinus rhythm to be early in, not {self.rhythm}")


@dataclass(frozen=True)
class Beat:
    """One ventricular beat."""

    time: float
    """Seconds of the recording at its R peak (of a wide beat: within 20 ms of its largest deflection)."""
    symbol: str
    """MIT-BIH annotation code: N normal, L left bundle branch block, A premature atrial, V ventricular."""
    p_wave: str
    """The P wave before it: `sinus`, `ectopic`, or empty for none."""
    qt_scale: float
    """Stretch of its repolarization against one at 60 beats/min."""
    rhythm: str
    """Rhythm of the episode that it lies in."""


@dataclass(frozen=True)
class Breathing:
    """Respiration, which moves the baseline, the heart's axis and its rate together."""

    hz: float
    """Mean frequency."""
    phase: float
    """Phase at time 0 in radians; the slow drift of the frequency starts from it too."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Return the breathing of an adult at rest: 12 to 18 breaths a minute."""
        return cls(rng.uniform(0.20, 0.30), rng.uniform(0, 2 * np.pi))

    def angle(self, time: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the phase of breathing in radians at `time` (seconds, any shape).

        Its sine is largest at full inspiration.
        """
        t = np.asarray(time, dtype=np.float64)
        # 1.2 rad at 0.019 Hz sways the frequency by 0.023 Hz: nobody breathes like a metronome.
        return 2 * np.pi * self.hz * t + 1.2 * np.sin(2 * np.pi * 0.019 * t + self.phase) + self.phase


def onsets(episodes: Sequence[Episode]) -> list[float]:
    """Return the time in seconds at which each episode starts, and after them the end of the last one."""
    return [0.0, *np.cumsum([episode.seconds for episode in episodes]).tolist()]


def beats(episodes: Sequence[Episode], breathing: Breathing, rng: np.random.Generator) -> list[Beat]:
    """Return the beats of checked `episodes`, in order; each lies within the episode that it names."""
    found: list[Beat] = []
    edges = onsets(episodes)
    last = edges[0] - 0.6  # as if a beat had been just before the recording
    qt_rr = 0.0  # the RR interval that repolarization has adapted to; 0: none yet
    for episode, start, end in zip(episodes, edges, edges[1:], strict=False):
        if not episode.rate:
            last = end  # the ventricles rest one interval before they take up the next rhythm
            continue
        qt_rr = qt_rr or 60 / episode.rate
        for time, symbol, p_wave in _episode_beats(episode, last, start, breathing, rng):
            if time >= end:
                break
            if symbol != "V" or RHYTHMS[episode.rhythm].symbol == "V":
                # QT follows the rate with a lag of some beats, not beat by beat: fibrillation would shake it.
                qt_rr += 0.15 * (min(max(time - last, 0.25), 2.0) - qt_rr)
            # Fridericia 1920: QT is proportional to the cube root of RR in seconds.
            found.append(Beat(time, symbol, p_wave, float(np.cbrt(qt_rr)), episode.rhythm))
            last = time
    return found


def _episode_beats(
    episode: Episode, last: float, start: float, breathing: Breathing, rng: np.random.Generator
) -> Iterator[tuple[float, str, str]]:
    """Yield (time, symbol, p_wave) without end, from the first beat after `start` that follows `last`."""
    rhythm = RHYTHMS[episode.rhythm]
    asked = (episode.premature_ventricular, episode.premature_atrial)
    # A premature beat needs a normal one before it, so its chance is reckoned per normal beat.
    ventricular, atrial = (rate / (episode.rate - sum(asked)) for rate in asked)
    time = max(last + _interval(rhythm, episode.rate, last, breathing, rng), start + 0.02)
    while True:
        yield time, rhythm.symbol, rhythm.p_wave
        interval = _interval(rhythm, episode.rate, time, breathing, rng)
        chance = rng.random()
        coupling = interval * rng.normal(0.62, 0.015)  # early, but behind the T wave of the beat before
        if chance < ventricular:
            yield time + coupling, "V", ""
            time += 2 * interval  # the sinus node is not reset: a fully compensatory pause
        elif chance < ventricular + atrial:
            early = time + 1.06 * coupling
            yield early, "A", "ectopic"
            time = early + 1.08 * interval  # the sinus node is reset: the pause does not compensate
        else:
            time += interval


def _interval(rhythm: Rhythm, bpm: float, time: float, breathing: Breathing, rng: np.random.Generator) -> float:
    """Return the RR interval in seconds that follows a beat at `time`."""
    mean = 60 / bpm
    if rhythm.irregularity:
        # Refractoriness of the AV node floors the interval at 0.6 of the mean; above it, a gamma variable.
        shape = (0.4 / rhythm.irregularity) ** 2
        return mean * (0.6 + rng.gamma(shape, 0.4 / shape))
    swing = -rhythm.respiratory * np.sin(breathing.angle(time))  # faster while breathing in
    swing += rhythm.mayer * np.sin(2 * np.pi * 0.1 * time + breathing.phase)
    return float(mean * (1 + swing + np.clip(rng.normal(0, rhythm.jitter), -0.05, 0.05)))
