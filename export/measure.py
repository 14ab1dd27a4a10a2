"""Records with labels and windows, and how well networks do on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends import probabilities
from ecg_edge.runtime.bundle import Metric
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.train import bootstrap, metrics
from ecg_edge.train.evaluation import MIN_POSITIVES, Report, evaluate
from ecg_edge.train.records.entry import RecordEntry
from ecg_edge.train.store import RecordStore
from ecg_edge.train.tasks import Task
from ecg_edge.train.windows import Windows, whole_windows

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """Records to choose or to measure on, all of them labelled for the task."""

    entries: tuple[RecordEntry, ...]
    """One for each window."""
    windows: Windows
    """The engine's own at each record's end."""
    labels: npt.NDArray[np.bool_]
    """(records, classes), as the database has them."""
    split: str
    """What was held out and how."""

    @property
    def data(self) -> str:
        """Names of the sources."""
        return ", ".join(sorted({entry.source for entry in self.entries}))

    @property
    def patients(self) -> list[str]:
        """Group key of each record."""
        return [entry.patient for entry in self.entries]

    def report(self, logits: Logits, classes: Sequence[ClassInfo], weights: npt.NDArray[np.float64] | None) -> Report:
        """Return the report of logits (records, classes) with the classes' thresholds."""
        p = probabilities(logits)
        return evaluate(classes, self.labels, decisions(p, classes), p, self.patients, weights)

    def figures(self, kind: str, report: Report) -> list[Metric]:
        """Return what a bundle tells of a report on these records; kind: of the network, as `int8 onnx` or `float`."""
        least = f"at least {report.min_positives} positives: {report.classes_averaged} classes"
        found = [(f"macro_auroc ({kind}; {least})", report.macro_auroc)]
        if report.challenge is not None:
            found.append((f"challenge_metric ({kind})", report.challenge))
        return [
            self._metric(name, f.value, f.low, f.high)
            for name, f in found
            if not math.isnan(f.value)  # no class has enough positives
        ]

    def drop(self, kind: str, logits: Logits, reference_kind: str, reference: Logits) -> Metric | None:
        """Return how much macro AUROC is lost against a reference, over the same resampled patients.

        None where no class has enough positives.
        """
        drawn = bootstrap.resample(self.patients, bootstrap.RESAMPLES, 0)
        positives = self.labels.sum(axis=0)

        def macro(scores: Logits, draws: bool) -> npt.NDArray[np.float64]:
            values = metrics.auroc(self.labels, scores, drawn) if draws else metrics.auroc(self.labels, scores)
            return np.asarray(metrics.macro(values, positives, MIN_POSITIVES))

        value = float(macro(reference, False) - macro(logits, False))
        if math.isnan(value):
            return None
        low, high = bootstrap.interval(macro(reference, True) - macro(logits, True))
        return self._metric(f"macro_auroc lost ({kind} against {reference_kind})", value, float(low), float(high))

    def _metric(self, name: str, value: float, low: float, high: float) -> Metric:
        where = f"{self.split}, {len(self.entries)} records"
        return Metric(self.data, where, name, *(round(v, 4) for v in (value, low, high)))


def decisions(p: npt.NDArray[np.float64], classes: Sequence[ClassInfo]) -> npt.NDArray[np.bool_]:
    """Return which probabilities (records, classes) are above the classes' thresholds."""
    above: npt.NDArray[np.bool_] = p > np.array([info.threshold for info in classes])
    return above


def measured(store: RecordStore | None, task: Task, split: str) -> Measured:
    """Return the records of a store that are labelled for a task; raises EcgEdgeError where there is none."""
    known = [] if store is None else [int(k) for k in np.flatnonzero(task.known(store.entries))]
    if store is None or not known:
        raise EcgEdgeError(f"no record of {split} is labelled for {task.name}: add such records to --data")
    entries = tuple(store.entries[k] for k in known)
    return Measured(entries, whole_windows(store, store.contract, known), task.labels(entries), split)
