"""What annotations say of a record: its beats, its rhythms, and what the beats make by the definitions of the rules.

An alert is true when the reference has, near enough, one of the episodes that vouch for its label. Which labels can be
judged at all depends on what was annotated: rates need beats, atrial fibrillation needs notes of the rhythm.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .rhythm.settings import RuleSettings
from .sources.wfdb_annotation import Annotation, Annotations

BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")  # ecgcodes.h: annotations that are QRS complexes
VENTRICULAR_SYMBOLS = frozenset("VE")
PACED_SYMBOLS = frozenset("/")
RHYTHM_LABELS = {  # rhythm note -> label
    **{"VF": "VF", "VFIB": "VF", "VFL": "VF", "VT": "VT", "ASYS": "Asystole"},
    **{"AFIB": "AF", "AFL": "AFL", "SBR": "SB"},
}
BEAT_LABELS = {"PVC": "VEF", "PAC": "AaJS", "LBBB": "L", "CRBBB": "R", "PR": "/f"}  # label -> symbols of its beats
RATE_BEATS, SLOW_BPM, FAST_BPM = 8, 60.0, 100.0  # of the model's sinus bradycardia and tachycardia
VOUCHES = {  # label of an alert -> reference episodes that make it true
    "VF": {"VF", "VT"},
    "VT": {"VF", "VT"},
    "Asystole": {"Asystole"},
    "ExtremeTachy": {"ExtremeTachy", "VF", "VT"},
    "ExtremeBrady": {"ExtremeBrady", "Asystole"},
    "AF": {"AF", "AFL"},
    "AFL": {"AF", "AFL"},
    "SB": {"SB", "ExtremeBrady"},
    "Brady": {"SB", "ExtremeBrady"},
    "STach": {"STach", "ExtremeTachy", "VT"},
    "PVC": {"PVC", "VT", "VF"},
    "PAC": {"PAC"},
    "LBBB": {"LBBB"},
    "CRBBB": {"CRBBB"},
    "IRBBB": {"CRBBB"},
    "PR": {"PR"},
}
BY_RHYTHM = frozenset({"VF", "VT", "Asystole"})  # annotated as rhythms, whether or not there are beats
ATRIAL = frozenset({"AF", "AFL"})  # annotated as rhythms only


@dataclass(frozen=True)
class Episode:
    """A stretch of one rhythm in the reference; seconds."""

    label: str
    """Label of the rule, or of the model's class, that should find it."""
    onset: float
    """Its start."""
    end: float
    """Its end."""


@dataclass(frozen=True)
class Reference:
    """What the annotations say."""

    beats: npt.NDArray[np.float64]
    """Times in seconds of QRS complexes; empty where the record has rhythm annotations only."""
    flutter: tuple[tuple[float, float], ...]
    """Stretches without beats to be found."""
    episodes: tuple[Episode, ...]
    """Annotated rhythms, and what the annotated beats make: runs, gaps, rates, ectopic beats."""
    judges: frozenset[str] = frozenset()
    """Labels whose alerts these annotations can call true or false."""
    paced: bool = False
    """Whether there are paced beats, of which evaluations are reported apart."""


def reference(annotations: Annotations, rate: float, seconds: float, settings: RuleSettings) -> Reference:
    """Return what annotations say, at `rate` per second, of a record of so many seconds."""
    entries = annotations.entries
    beats = [a for a in entries if a.symbol in BEAT_SYMBOLS]
    times = np.array([a.sample / rate for a in beats])
    symbols = [a.symbol for a in beats]
    flutter = _brackets(entries, rate, seconds)
    episodes = [Episode("VF", start, end) for start, end in flutter]
    notes = [a for a in entries if a.symbol == "+"]
    ends = [*(a.sample / rate for a in notes), seconds][1:]
    for note, end in zip(notes, ends, strict=True):
        label = RHYTHM_LABELS.get(note.aux.lstrip("("))
        if label is not None:
            episodes.append(Episode(label, note.sample / rate, end))
    judges = set(BY_RHYTHM)
    if notes:
        judges |= ATRIAL
    if len(times):
        judges |= VOUCHES.keys() - ATRIAL
        episodes += _of_beats(times, [s in VENTRICULAR_SYMBOLS for s in symbols], flutter, settings)
        for label, its in BEAT_LABELS.items():
            episodes += [Episode(label, t, t) for t, s in zip(times.tolist(), symbols, strict=True) if s in its]
    paced = any(s in PACED_SYMBOLS for s in symbols)
    return Reference(times, tuple(flutter), tuple(_merged(episodes)), frozenset(judges), paced)


def _brackets(entries: Iterable[Annotation], rate: float, seconds: float) -> list[tuple[float, float]]:
    """Return the stretches between `[` and `]`: ventricular flutter."""
    found, start = [], None
    for a in entries:
        if a.symbol == "[":
            start = a.sample / rate
        elif a.symbol == "]" and start is not None:
            found.append((start, a.sample / rate))
            start = None
    return found if start is None else [*found, (start, seconds)]


def _of_beats(
    times: npt.NDArray[np.float64],
    ventricular: Sequence[bool],
    flutter: Sequence[tuple[float, float]],
    settings: RuleSettings,
) -> list[Episode]:
    """Return what annotated beats make, by the definitions that the rules have, and slow and fast rates."""
    t = times.tolist()
    found = []
    for a, b in pairwise(t):
        if b - a >= settings.asystole_s and not any(start < b and end > a for start, end in flutter):
            found.append(Episode("Asystole", a, b))
    for n, label, above, limit in (
        (settings.ventricular_beats, "VT", True, settings.ventricular_bpm),
        (settings.brady_beats, "ExtremeBrady", False, settings.brady_bpm),
        (settings.tachy_beats, "ExtremeTachy", True, settings.tachy_bpm),
        (RATE_BEATS, "SB", False, SLOW_BPM),
        (RATE_BEATS, "STach", True, FAST_BPM),
    ):
        for k in range(n - 1, len(t)):
            bpm = 60 * (n - 1) / (t[k] - t[k - n + 1])
            if (bpm > limit) == above and (label != "VT" or all(ventricular[k - n + 1 : k + 1])):
                found.append(Episode(label, t[k - n + 1], t[k]))
    return found


def _merged(episodes: Iterable[Episode]) -> list[Episode]:
    """Return the episodes in order, those of one label that overlap as one."""
    merged: dict[str, list[Episode]] = {}
    for e in sorted(episodes, key=lambda e: (e.label, e.onset)):
        mine = merged.setdefault(e.label, [])
        if mine and e.onset <= mine[-1].end:
            mine[-1] = replace(mine[-1], end=max(mine[-1].end, e.end))
        else:
            mine.append(e)
    return sorted((e for mine in merged.values() for e in mine), key=lambda e: e.onset)
