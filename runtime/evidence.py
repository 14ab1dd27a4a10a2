"""How the rhythm rules do on annotated records: beats found, episodes alarmed and how soon, false alarms.

The record goes through the real engine in chunks of a quarter second. Whoever stands beside the monitor is played too:
an alert that latches is acknowledged as soon as its finding is gone, so that the next episode is announced anew.

Beats are matched within 150 ms, as in EC57 style evaluations; the first 5 minutes count as learning time, and stretches
annotated as ventricular flutter or fibrillation have no beats. An alarm is true when the reference has what it says
within TOLERANCE_S of the time from its onset to its announcement; fibrillation, flutter and ventricular tachycardia
vouch for each other, and for an extreme rate, since they differ by name more than by what has to be done.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT, Recording

from .bundle import Bundle
from .engine import Engine
from .events import Alert, Event
from .policy import Policy
from .rhythm.settings import RuleSettings
from .sources.items import format_of
from .sources.wfdb_annotation import Annotation, Annotations

BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")  # ecgcodes.h: annotations that are QRS complexes
VENTRICULAR_SYMBOLS = frozenset("VE")
RHYTHM_LABELS = {"VF": "VF", "VFIB": "VF", "VFL": "VF", "VT": "VT", "ASYS": "Asystole"}  # rhythm note -> label
MATCH_S = 0.15
LEARNING_S = 300.0
TOLERANCE_S = 5.0  # annotated onsets are no sharper than that in slow changes, and an alert is heard for longer
CHUNK_S = 0.25
VOUCHES = {  # label of an alert -> reference episodes that make it true
    "VF": {"VF", "VT"},
    "VT": {"VF", "VT"},
    "Asystole": {"Asystole"},
    "ExtremeTachy": {"ExtremeTachy", "VF", "VT"},
    "ExtremeBrady": {"ExtremeBrady", "Asystole"},
}
ALARMED_BY = {"VF": ("VF", "VT", "ExtremeTachy"), "VT": ("VF", "VT", "ExtremeTachy"), "Asystole": ("Asystole",)}


@dataclass(frozen=True)
class Episode:
    """A stretch of one rhythm in the reference; seconds."""

    label: str
    """Label of the rule that should find it."""
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
    """Annotated rhythms, and what the annotated beats make: runs, gaps, extreme rates."""


@dataclass(frozen=True)
class Alarm:
    """An announced alert; seconds."""

    label: str
    """Its label."""
    priority: str
    """Its priority."""
    onset: float
    """What it says of its beginning."""
    heard: float
    """When it was announced, with the delay of the front end."""
    end: float
    """When it was over."""


@dataclass(frozen=True)
class Matches:
    """Beats matched with beats."""

    true: int
    """Pairs."""
    missed: tuple[float, ...]
    """Reference beats without a partner, seconds."""
    extra: tuple[float, ...]
    """Detected beats without a partner, seconds."""


@dataclass(frozen=True)
class Evidence:
    """What one record gives."""

    record: str
    """Its name."""
    seconds: float
    """Its length."""
    detected: npt.NDArray[np.float64]
    """Times of all beats found."""
    matches: Matches | None
    """None where the reference has no beats."""
    alarms: tuple[Alarm, ...]
    """All rule alerts that were announced."""
    reference: Reference


def evaluate(
    recording: Recording, annotations: Annotations, annotation_rate: float, bundle: Bundle, policy: Policy
) -> Evidence:
    """Run a recording through the engine, without its model, and hold what it says against the annotations."""
    truth = reference(annotations, annotations.rate or annotation_rate, recording.seconds, policy.rules)
    engine = Engine(
        bundle, _Silent(len(bundle.manifest.classes)), policy, format_of(recording), rules=True, keep_beats=True
    )
    chunk = max(1, round(CHUNK_S * recording.rate))
    events: list[Event] = []
    for start in range(0, len(recording.counts), chunk):
        part = slice(start, start + chunk)
        off = None if recording.invalid is None else recording.invalid[part]
        fresh = engine.push(recording.counts[part], invalid=off)
        events += fresh
        for event in fresh:
            if isinstance(event, Alert) and event.latched:
                events += engine.acknowledge(event.label)
    events += engine.finish()
    detected = np.array([time for time, _ in engine.take_beats()])
    matches = None
    if len(truth.beats):
        matches = match_beats(_judged(truth.beats, truth.flutter), _judged(detected, truth.flutter))
    alarms = _alarms(events, engine.rules_delay_seconds, recording.seconds)
    return Evidence(recording.name, recording.seconds, detected, matches, alarms, truth)


def match_beats(truth: npt.NDArray[np.float64], detected: npt.NDArray[np.float64], window: float = MATCH_S) -> Matches:
    """Pair beats that are at most `window` seconds apart; both in rising order. No other pairing has more pairs."""
    missed, extra = [], []
    i = j = 0
    while i < len(truth) and j < len(detected):
        if detected[j] < truth[i] - window:
            extra.append(float(detected[j]))
            j += 1
        elif detected[j] > truth[i] + window:
            missed.append(float(truth[i]))
            i += 1
        else:
            i, j = i + 1, j + 1
    missed += truth[i:].tolist()
    extra += detected[j:].tolist()
    return Matches(len(truth) - len(missed), tuple(missed), tuple(extra))


def reference(annotations: Annotations, rate: float, seconds: float, settings: RuleSettings) -> Reference:
    """Return what annotations say, at `rate` per second, of a record of so many seconds."""
    entries = annotations.entries
    beats = [a for a in entries if a.symbol in BEAT_SYMBOLS]
    times = np.array([a.sample / rate for a in beats])
    flutter = _brackets(entries, rate, seconds)
    episodes = [Episode("VF", start, end) for start, end in flutter]
    notes = [a for a in entries if a.symbol == "+"]
    ends = [a.sample / rate for a in notes[1:]] + [seconds]
    for note, end in zip(notes, ends, strict=True):
        label = RHYTHM_LABELS.get(note.aux.lstrip("("))
        if label is not None:
            episodes.append(Episode(label, note.sample / rate, end))
    if len(times):
        episodes += _of_beats(times, [a.symbol in VENTRICULAR_SYMBOLS for a in beats], flutter, settings)
    return Reference(times, tuple(flutter), tuple(_merged(episodes)))


def is_true(alarm: Alarm, truth: Reference) -> bool:
    """Return whether the reference has what an alarm says."""
    return any(
        e.label in VOUCHES[alarm.label] and e.onset - TOLERANCE_S <= alarm.heard and e.end + TOLERANCE_S >= alarm.onset
        for e in truth.episodes
    )


def can_be_judged(alarm: Alarm, truth: Reference) -> bool:
    """Return whether the reference could have what an alarm says: rates need annotated beats."""
    return alarm.priority == "high" and (len(truth.beats) > 0 or alarm.label in ("VF", "VT", "Asystole"))


def delay(episode: Episode, alarms: Iterable[Alarm]) -> tuple[float, str] | None:
    """Return seconds from onset to the first fitting alarm of an episode, and its label; None when it was missed.

    An alarm that was on at the onset already counts with delay 0.
    """
    fitting = [a for a in alarms if a.label in ALARMED_BY[episode.label] and a.end >= episode.onset]
    heard = [(max(0.0, a.heard - episode.onset), a.label) for a in fitting if a.heard <= episode.end + 1.0]
    return min(heard, default=None)


def add_noise(recording: Recording, noise: Recording, snr_db: float, beats: npt.NDArray[np.float64]) -> Recording:
    """Return a recording with noise in every channel, from its start to its end, at a signal-to-noise ratio.

    The ratio is that of nst(1) of the WFDB software: the signal's power is an eighth of the square of the mean height
    of the QRS complexes, from 50 ms before to 50 ms behind each annotated beat; the noise's is its mean square
    about its mean in stretches of 1 s; of both the lowest and highest twentieth are left out. Channel k gets
    channel k of the noise, repeated as often as needed. Raises EcgEdgeError where rates or channels do not fit.
    """
    if noise.rate != recording.rate or noise.counts.shape[1] < recording.counts.shape[1]:
        raise EcgEdgeError(
            f"noise record {noise.name} has {noise.counts.shape[1]} channels at {noise.rate} Hz, {recording.name} has "
            f"{recording.counts.shape[1]} at {recording.rate} Hz: use one with the same rate and at least as many"
        )
    if not len(beats):
        raise EcgEdgeError(f"record {recording.name} has no annotated beats, by which noise is scaled")
    counts = recording.counts.astype(np.float64)
    half = round(0.05 * recording.rate)
    places = np.rint(beats * recording.rate).astype(int)
    places = places[(places >= half) & (places < len(counts) - half)]
    height = np.array([np.ptp(counts[p - half : p + half + 1], axis=0) for p in places])
    whole = len(noise.counts) // noise.rate * noise.rate
    seconds = noise.counts[:whole].reshape(-1, noise.rate, noise.counts.shape[1]).astype(np.float64)
    power = np.square(seconds - seconds.mean(axis=1, keepdims=True)).mean(axis=1)
    for k in range(counts.shape[1]):
        signal_power = _trimmed_mean(height[:, k]) ** 2 / 8
        gain = np.sqrt(signal_power / 10 ** (snr_db / 10) / _trimmed_mean(power[:, k]))
        counts[:, k] += gain * np.resize(noise.counts[:, k], len(counts))
    limited = np.clip(np.rint(counts), -COUNT_LIMIT, COUNT_LIMIT).astype(np.int32)
    return replace(recording, counts=limited)


def beat_annotations(evidence: Evidence, rate: int) -> list[Annotation]:
    """Return the beats found as annotations (`N`) that the WFDB programs read, `bxb` among them."""
    return [Annotation(max(0, round(t * rate)), "N") for t in evidence.detected.tolist()]


def report(results: Sequence[Evidence], shortest_s: float) -> dict[str, Any]:
    """Return figures per record and pooled as JSON types; shortest_s: of the episodes counted."""
    rows = [_row(result, shortest_s) for result in results]
    quiet = [row for row in rows if not row["lethal_rhythms"]]
    return {"records": rows, "pooled": _pooled(rows), "pooled_without_lethal_rhythms": _pooled(quiet)}


class _Silent:
    """A model that finds nothing: the rules need none."""

    def __init__(self, classes: int) -> None:
        self._logits = np.full(classes, -20.0, dtype=np.float32)
        self.name = "none"

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._logits


def _row(result: Evidence, shortest_s: float) -> dict[str, Any]:
    truth = result.reference
    counted = [e for e in truth.episodes if e.label in ALARMED_BY and e.end - e.onset > shortest_s]
    episodes = []
    for e in counted:
        first = delay(e, result.alarms)
        row: dict[str, Any] = {"label": e.label, "onset": round(e.onset, 2), "seconds": round(e.end - e.onset, 2)}
        if first is not None:
            row |= {"delay": round(first[0], 2), "alarm": first[1]}
        episodes.append(row)
    judged = [a for a in result.alarms if can_be_judged(a, truth)]
    false = [a for a in judged if not is_true(a, truth)]
    labels = sorted({a.label for a in result.alarms})
    row = {
        "record": result.record,
        "hours": round(result.seconds / 3600, 4),
        "lethal_rhythms": sorted({e.label for e in truth.episodes if e.label in ALARMED_BY}),
        "episodes": episodes,
        "alarms": {label: sum(a.label == label for a in result.alarms) for label in labels},
        "judged": len(judged),
        "false": [{"label": a.label, "time": round(a.heard, 2)} for a in false],
    }
    if result.matches is not None:
        m = result.matches
        row["beats"] = _share(m.true, len(m.missed), len(m.extra))
    return row


def _pooled(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    hours = sum(row["hours"] for row in rows)
    beats = [row["beats"] for row in rows if "beats" in row]
    episodes = [e for row in rows for e in row["episodes"]]
    delays = [e["delay"] for e in episodes if "delay" in e]
    false = sum(len(row["false"]) for row in rows)
    pooled: dict[str, Any] = {
        "hours": round(hours, 3),
        "episodes": len(episodes),
        "episodes_alarmed": len(delays),
        "alarms_judged": sum(row["judged"] for row in rows),
        "false_alarms": false,
    }
    if hours:
        pooled["false_alarms_per_10_hours"] = round(10 * false / hours, 2)
    waited = [d for d in delays if d > 0]  # an alarm that was on already says nothing of how long one takes
    pooled["already_alarmed"] = len(delays) - len(waited)
    if waited:
        median, late = np.percentile(waited, [50, 95])
        pooled |= {"delay_median": round(float(median), 2), "delay_p95": round(float(late), 2)}
        pooled["delay_max"] = max(waited)
    if beats:
        pooled["beats"] = _share(*(sum(b[key] for b in beats) for key in ("true", "missed", "extra")))
    return pooled


def _share(true: int, missed: int, extra: int) -> dict[str, Any]:
    counts: dict[str, Any] = {"true": true, "missed": missed, "extra": extra}
    if true:
        counts |= {
            "sensitivity": round(100 * true / (true + missed), 3),
            "positive_predictivity": round(100 * true / (true + extra), 3),
        }
    return counts


def _judged(beats: npt.NDArray[np.float64], flutter: Iterable[tuple[float, float]]) -> npt.NDArray[np.float64]:
    """Return the beats behind the learning time and outside stretches of flutter."""
    keep = beats >= LEARNING_S
    for start, end in flutter:
        keep &= (beats < start) | (beats > end)
    return beats[keep]


def _alarms(events: Iterable[Event], front_end_s: float, seconds: float) -> tuple[Alarm, ...]:
    alarms: dict[str, Alarm] = {}
    for event in events:
        if not isinstance(event, Alert) or event.kind != "rule":
            continue
        if event.phase == "new":
            heard = event.time + front_end_s
            alarms[event.id] = Alarm(event.label, event.priority, event.onset, heard, seconds)
        elif event.phase == "end" or event.latched:
            alarms[event.id] = replace(alarms[event.id], end=min(event.time, alarms[event.id].end))
    return tuple(alarms.values())


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
    """Return what annotated beats make, by the definitions that the rules have."""
    t = times.tolist()
    found = []
    for a, b in pairwise(t):
        if b - a >= settings.asystole_s and not any(start < b and end > a for start, end in flutter):
            found.append(Episode("Asystole", a, b))
    for n, label, above, limit in (
        (settings.ventricular_beats, "VT", True, settings.ventricular_bpm),
        (settings.brady_beats, "ExtremeBrady", False, settings.brady_bpm),
        (settings.tachy_beats, "ExtremeTachy", True, settings.tachy_bpm),
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


def _trimmed_mean(values: npt.NDArray[np.float64]) -> float:
    """Return the mean without the lowest and the highest twentieth."""
    cut = len(values) // 20
    return float(np.sort(values)[cut : len(values) - cut].mean())
