"""How the rules, and the model, do on annotated records: beats, episodes and how soon they are alarmed, false alarms.

The record goes through the real engine in packets of a twentieth of a second, and an alarm counts as heard when the
packet has arrived on which the engine gives it: every delay of the way is in it but the computing. Whoever stands
beside the monitor is played too: an alert that latches is acknowledged as soon as its finding is gone, so that the next
episode is announced anew.

Beats are matched within 150 ms, as in EC57 style evaluations; the first 5 minutes count as learning time, and stretches
annotated as ventricular flutter or fibrillation have no beats. An alarm is true when the reference has what it says
within TOLERANCE_S of the time from its onset to its announcement; fibrillation, flutter and ventricular tachycardia
vouch for each other, and for an extreme rate, since they differ by name more than by what has to be done.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT, Recording

from . import evidence_rhythm
from .backends import Backend
from .bundle import Bundle
from .engine import Engine
from .events import Alert, Event
from .evidence_reference import VOUCHES, Episode, Reference, reference
from .policy import Policy
from .sources.items import format_of
from .sources.wfdb_annotation import Annotation, Annotations

MATCH_S = 0.15
LEARNING_S = 300.0
TOLERANCE_S = 5.0  # annotated onsets are no sharper than that in slow changes, and an alert is heard for longer
PACKET_S = 0.05
ALARMED_BY = {"VF": ("VF", "VT", "ExtremeTachy"), "VT": ("VF", "VT", "ExtremeTachy"), "Asystole": ("Asystole",)}


@dataclass(frozen=True)
class Alarm:
    """An announced alert; seconds."""

    label: str
    """Its label."""
    priority: str
    """Its priority."""
    onset: float
    """What it says of its beginning; of the model's, the start of the first window that spoke for it."""
    heard: float
    """When it was announced: the signal that had arrived by then."""
    end: float
    """When it was over."""
    kind: str = "rule"
    """`rule` or `model`."""


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
    ventricular: npt.NDArray[np.bool_]
    """Which of them are ventricular."""
    matches: Matches | None
    """None where the reference has no beats."""
    alarms: tuple[Alarm, ...]
    """All alerts that were announced."""
    reference: Reference


def evaluate(
    recording: Recording,
    annotations: Annotations,
    annotation_rate: float,
    bundle: Bundle,
    policy: Policy,
    backend: Backend | None = None,
) -> Evidence:
    """Run a recording through the engine and hold what it says against the annotations.

    backend: the bundle's model, None for the rules alone.
    """
    truth = reference(annotations, annotations.rate or annotation_rate, recording.seconds, policy.rules)
    alarms, beats = monitor(recording, bundle, policy, backend)
    detected = np.array([time for time, _ in beats])
    matches = None
    if len(truth.beats):
        matches = match_beats(_judged(truth.beats, truth.flutter), _judged(detected, truth.flutter))
    ventricular = np.array([v for _, v in beats], dtype=np.bool_)
    return Evidence(recording.name, recording.seconds, detected, ventricular, matches, alarms, truth)


def monitor(
    recording: Recording, bundle: Bundle, policy: Policy, backend: Backend | None = None
) -> tuple[tuple[Alarm, ...], list[tuple[float, bool]]]:
    """Return the alarms of a recording, and its beats as Engine.take_beats gives them."""
    model = backend or _Silent(len(bundle.manifest.classes))
    engine = Engine(bundle, model, policy, format_of(recording), rules=True, keep_beats=True)
    window_s = bundle.manifest.contract.window_seconds
    packet = max(1, round(PACKET_S * recording.rate))
    alarms: dict[str, Alarm] = {}
    for start in range(0, len(recording.counts), packet):
        part = slice(start, start + packet)
        off = None if recording.invalid is None else recording.invalid[part]
        fresh = engine.push(recording.counts[part], invalid=off)
        if not fresh:
            continue
        heard = min(start + packet, len(recording.counts)) / recording.rate
        _take(alarms, fresh, heard, window_s, recording.seconds)
        for event in fresh:
            if isinstance(event, Alert) and event.latched:
                _take(alarms, engine.acknowledge(event.label), heard, window_s, recording.seconds)
    _take(alarms, engine.finish(), recording.seconds, window_s, recording.seconds)
    return tuple(alarms.values()), engine.take_beats()


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


def is_true(alarm: Alarm, truth: Reference) -> bool:
    """Return whether the reference has what an alarm says."""
    return any(
        e.label in VOUCHES[alarm.label] and e.onset - TOLERANCE_S <= alarm.heard and e.end + TOLERANCE_S >= alarm.onset
        for e in truth.episodes
    )


def can_be_judged(alarm: Alarm, truth: Reference) -> bool:
    """Return whether the reference could have what an alarm says: rates need annotated beats."""
    return alarm.label in truth.judges


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


def annotations_of(evidence: Evidence, rate: int) -> list[Annotation]:
    """Return what was found as annotations that the WFDB programs read (`bxb`, `rxr`, `epicmp`).

    Beats are `N` or `V`; an alert of fibrillation, flutter or ventricular tachycardia is a stretch from `[` to `]`; one
    of atrial fibrillation or flutter begins with a note of the rhythm and ends with `(N`.
    """
    found = [
        Annotation(max(0, round(t * rate)), "V" if v else "N")
        for t, v in zip(evidence.detected.tolist(), evidence.ventricular.tolist(), strict=True)
    ]
    for start, end in evidence_rhythm.union(_told(evidence, evidence_rhythm.RHYTHMS["ventricular"])):
        found += [Annotation(round(start * rate), "["), Annotation(round(end * rate), "]")]
    for start, end in evidence_rhythm.union(_told(evidence, evidence_rhythm.RHYTHMS["atrial"])):
        found += [Annotation(round(start * rate), "+", aux="(AFIB"), Annotation(round(end * rate), "+", aux="(N")]
    return sorted(found, key=lambda a: a.sample)


def report(results: Sequence[Evidence], shortest_s: float) -> dict[str, Any]:
    """Return figures per record and pooled as JSON types, paced records apart; shortest_s: of the episodes counted."""
    rows = [_row(result, shortest_s) for result in results]
    unpaced = [row for row in rows if not row["paced"]]
    groups = {
        "pooled": unpaced,
        "pooled_without_lethal_rhythms": [row for row in unpaced if not row["lethal_rhythms"]],
        "pooled_paced": [row for row in rows if row["paced"]],
    }
    return {"records": rows, **{name: _pooled(some) for name, some in groups.items()}}


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
    high = [a for a in judged if a.priority == "high"]
    row = {
        "record": result.record,
        "hours": round(result.seconds / 3600, 4),
        "paced": truth.paced,
        "lethal_rhythms": sorted({e.label for e in truth.episodes if e.label in ALARMED_BY}),
        "episodes": episodes,
        "alerts": {
            label: {
                "announced": sum(a.label == label for a in result.alarms),
                "judged": sum(a.label == label for a in judged),
                "false": sum(a.label == label for a in false),
            }
            for label in sorted({a.label for a in result.alarms})
        },
        "judged": len(high),
        "false": [{"label": a.label, "time": round(a.heard, 2)} for a in high if a in false],
        "rhythms": {
            name: evidence_rhythm.compare(
                [(e.onset, e.end) for e in truth.episodes if e.label in labels], _told(result, labels)
            )
            for name, labels in evidence_rhythm.RHYTHMS.items()
            if truth.judges.issuperset(labels)
        },
    }
    if result.matches is not None:
        m = result.matches
        row["beats"] = _share(m.true, len(m.missed), len(m.extra))
    return row


def _told(result: Evidence, labels: Sequence[str]) -> list[tuple[float, float]]:
    return [(a.onset, a.end) for a in result.alarms if a.label in labels]


def _pooled(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    hours = sum(row["hours"] for row in rows)
    beats = [row["beats"] for row in rows if "beats" in row]
    episodes = [e for row in rows for e in row["episodes"]]
    false = sum(len(row["false"]) for row in rows)
    pooled: dict[str, Any] = {
        "hours": round(hours, 3),
        "delays": _delays(episodes),
        "delays_vf_asystole": _delays([e for e in episodes if e["label"] != "VT"]),
        "alarms_judged": sum(row["judged"] for row in rows),
        "false_alarms": false,
    }
    if hours:
        pooled["false_alarms_per_10_hours"] = round(10 * false / hours, 2)
    labels = sorted({label for row in rows for label in row["alerts"]})
    pooled["alerts"] = {}
    for label in labels:
        counts = [row["alerts"][label] for row in rows if label in row["alerts"]]
        sums = {key: sum(c[key] for c in counts) for key in ("announced", "judged", "false")}
        if sums["judged"]:
            sums["false_per_hour"] = round(sums["false"] / hours, 3)
        pooled["alerts"][label] = sums
    pooled["rhythms"] = {
        name: evidence_rhythm.pooled(some)
        for name in evidence_rhythm.RHYTHMS
        if (some := [row["rhythms"][name] for row in rows if name in row["rhythms"]])
    }
    if beats:
        pooled["beats"] = _share(*(sum(b[key] for b in beats) for key in ("true", "missed", "extra")))
    return pooled


def _delays(episodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many episodes were alarmed, and how long after the onset those that were not alarmed already."""
    delays = [e["delay"] for e in episodes if "delay" in e]
    waited = [d for d in delays if d > 0]  # an alarm that was on already says nothing of how long one takes
    figures: dict[str, Any] = {"episodes": len(episodes), "alarmed": len(delays), "already": len(delays) - len(waited)}
    if waited:
        median, late = np.percentile(waited, [50, 95])
        figures |= {"median": round(float(median), 2), "p95": round(float(late), 2), "max": max(waited)}
    return figures


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


def _take(alarms: dict[str, Alarm], events: Iterable[Event], heard: float, window_s: float, seconds: float) -> None:
    """Note in `alarms` what events that were heard at one time say."""
    for e in events:
        if not isinstance(e, Alert):
            continue
        if e.phase == "new":
            onset = e.onset if e.kind == "rule" else max(0.0, e.onset - window_s)
            alarms[e.id] = Alarm(e.label, e.priority, onset, heard, seconds, e.kind)
        elif e.phase == "end" or e.latched:
            alarms[e.id] = replace(alarms[e.id], end=min(e.time, alarms[e.id].end))


def _trimmed_mean(values: npt.NDArray[np.float64]) -> float:
    """Return the mean without the lowest and the highest twentieth."""
    cut = len(values) // 20
    return float(np.sort(values)[cut : len(values) - cut].mean())
