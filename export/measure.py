"""Records with labels and windows, and how well a graph does on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends import probabilities
from ecg_edge.runtime.bundle import Metric
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.train.evaluation import Report, evaluate
from ecg_edge.train.records.entry import RecordEntry
from ecg_edge.train.store import RecordStore
from ecg_edge.train.tasks import Task
from ecg_edge.train.windows import Windows, whole_windows

from .quantize import graph_logits


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

    def report(self, graph: Path, classes: Sequence[ClassInfo], weights: npt.NDArray[np.float64] | None) -> Report:
        """Return the report of a graph with the classes' thresholds."""
        p = probabilities(graph_logits(graph, self.windows))
        decisions = p > np.array([info.threshold for info in classes])
        return evaluate(classes, self.labels, decisions, p, [entry.patient for entry in self.entries], weights)

    def figures(self, kind: str, report: Report) -> list[Metric]:
        """Return what a bundle tells of a report on these records; kind: of the graph, `int8` or `float`."""
        least = f"at least {report.min_positives} positives: {report.classes_averaged} classes"
        found = [(f"macro_auroc ({kind}; {least})", report.macro_auroc)]
        if report.challenge is not None:
            found.append((f"challenge_metric ({kind})", report.challenge))
        where = f"{self.split}, {report.records} records"
        return [
            Metric(self.data, where, name, *(round(v, 4) for v in (f.value, f.low, f.high)))
            for name, f in found
            if not math.isnan(f.value)  # no class has enough positives
        ]


def measured(store: RecordStore | None, task: Task, split: str) -> Measured:
    """Return the records of a store that are labelled for a task; raises EcgEdgeError where there is none."""
    known = [] if store is None else [int(k) for k in np.flatnonzero(task.known(store.entries))]
    if store is None or not known:
        raise EcgEdgeError(f"no record of {split} is labelled for {task.name}: add such records to --data")
    entries = tuple(store.entries[k] for k in known)
    return Measured(entries, whole_windows(store, store.contract, known), task.labels(entries), split)
