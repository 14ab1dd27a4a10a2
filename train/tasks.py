"""What a network can be trained to answer: the classes of each task, and which of them a record has.

    from ecg_edge.train.tasks import task
    labels, counted = task("superclass").training_labels(entries)

Nothing here needs data at hand: the tables of classes are published facts, in `labels.py` and `statements.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.classes import ClassInfo

from . import labels
from .records.entry import RecordEntry
from .statements import STATEMENTS, SUBCLASSES, subclasses

ENOUGH_RECORDS = 500  # a source this large without a positive of a class shows its absence, not that nobody looked

CPSC2018_SOURCES = frozenset({"cpsc_2018", "cpsc_2018_extra", "cpsc2018"})
"""Sources whose records are labelled with the nine classes of CPSC 2018."""

Mask = npt.NDArray[np.bool_]
Answer = Callable[[RecordEntry], Iterable[str] | None]


class TaskError(EcgEdgeError):
    """A task that there is not."""


@dataclass(frozen=True)
class Task:
    """A multi-label question that is asked about every record."""

    name: str
    """How settings and the command line call it."""
    classes: tuple[ClassInfo, ...]
    """In the order of every array of labels, logits and probabilities."""
    answer: Answer
    """Abbreviations of the classes that a record has by its database; None where it is not labelled for the task."""
    training_answer: Answer | None = None
    """The same for training, where it differs from what the database scores."""

    @property
    def abbreviations(self) -> tuple[str, ...]:
        """Abbreviation of each class, no two alike."""
        return tuple(info.abbreviation for info in self.classes)

    def known(self, entries: Sequence[RecordEntry]) -> Mask:
        """Return which records are labelled for this task, bool (records,)."""
        return np.array([self.answer(entry) is not None for entry in entries], dtype=np.bool_)

    def labels(self, entries: Sequence[RecordEntry]) -> Mask:
        """Return the labels as the database has them, bool (records, classes); a row of an unknown record is False."""
        return labels.indicator((self.answer(entry) or () for entry in entries), self.abbreviations)

    def training_labels(self, entries: Sequence[RecordEntry]) -> tuple[Mask, Mask]:
        """Return labels to train on, and which of them count; bool (records, classes) both.

        Nothing counts in a record that is not labelled for this task. A class does not count in the records of a
        source with fewer than ENOUGH_RECORDS among `entries` in which none has it: CPSC 2018, say, knows nine
        diagnoses, and its records with bradycardia are not labelled so.
        """
        answer = self.training_answer or self.answer
        targets = labels.indicator((answer(entry) or () for entry in entries), self.abbreviations)
        known = self.known(entries)
        counted = np.repeat(known[:, np.newaxis], len(self.classes), axis=1)
        sources = np.array([entry.source for entry in entries])
        for source in np.unique(sources[known]):
            rows = known & (sources == source)
            if rows.sum() < ENOUGH_RECORDS:
                counted[rows] = targets[rows].any(axis=0)
        return targets, counted


def task(name: str) -> Task:
    """Return the task of that name; raises TaskError that names those there are."""
    if name not in TASKS:
        raise TaskError(f"there is no task {name!r}: choose one of {', '.join(TASKS)}")
    return TASKS[name]


def _classes(names: Iterable[tuple[str, str]]) -> tuple[ClassInfo, ...]:
    return tuple(ClassInfo("", abbreviation, name, labels.UNSET_THRESHOLD) for abbreviation, name in names)


_ABBREVIATION = dict(zip(labels.CODES, labels.ABBREVIATIONS, strict=True))


def _scored(codes: Iterable[str]) -> set[str]:
    return {_ABBREVIATION[code] for code in labels.scored(codes)}


def _arrhythmia(entry: RecordEntry) -> set[str]:
    return _scored(entry.codes)


def _arrhythmia_with_ectopics(entry: RecordEntry) -> set[str]:
    return _scored(labels.with_ectopics(entry.codes, entry.unscored))


# The PTB-XL benchmark (Strodthoff et al. 2021) leaves out the records to which a set of labels gives none at all.
def _superclass(entry: RecordEntry) -> Iterable[str] | None:
    return entry.superclasses or None


def _subclass(entry: RecordEntry) -> Iterable[str] | None:
    return subclasses(entry.statements or ()) or None


_STATEMENT_NAMES = frozenset(statement.name for statement in STATEMENTS)


def _statements(entry: RecordEntry) -> Iterable[str] | None:
    return (entry.statements or frozenset()) & _STATEMENT_NAMES or None


_CPSC2018 = (
    ClassInfo(labels.NORMAL_SINUS_RHYTHM, "Normal", "normal ECG", labels.UNSET_THRESHOLD),
    ClassInfo("164889003", "AF", "atrial fibrillation", labels.UNSET_THRESHOLD),
    ClassInfo("270492004", "I-AVB", "1st degree AV block", labels.UNSET_THRESHOLD),
    ClassInfo("164909002", "LBBB", "left bundle branch block", labels.UNSET_THRESHOLD, ("733534002",)),
    ClassInfo("59118001", "RBBB", "right bundle branch block", labels.UNSET_THRESHOLD, ("713427006",)),
    ClassInfo("284470004", "PAC", "premature atrial contraction", labels.UNSET_THRESHOLD, ("63593006",)),
    ClassInfo(
        "164884008", "PVC", "premature ventricular contraction", labels.UNSET_THRESHOLD, ("427172004", "17338001")
    ),
    ClassInfo("429622005", "STD", "ST-segment depression", labels.UNSET_THRESHOLD),
    ClassInfo("164931005", "STE", "ST-segment elevation", labels.UNSET_THRESHOLD),
)
_CPSC2018_ABBREVIATION = {code: c.abbreviation for c in _CPSC2018 for code in (c.code, *c.equivalents)}


def _cpsc2018(entry: RecordEntry) -> set[str] | None:
    """CPSC 2018's Normal is sinus rhythm with nothing else found; in `cpsc_2018_extra` that code is the rhythm only."""
    if entry.source not in CPSC2018_SOURCES:
        return None
    codes = entry.codes | entry.unscored
    found = {_CPSC2018_ABBREVIATION[code] for code in codes if code in _CPSC2018_ABBREVIATION}
    return found if codes == {labels.NORMAL_SINUS_RHYTHM} else found - {"Normal"}


ARRHYTHMIA = Task("arrhythmia", labels.CLASSES, _arrhythmia, _arrhythmia_with_ectopics)
"""The 24 merged classes of the Challenge 2020. Every record is labelled."""

SUPERCLASS = Task("superclass", labels.SUPERCLASSES, _superclass)
"""PTB-XL's five diagnostic superclasses; records with one at least."""

SUBCLASS = Task("subclass", _classes(SUBCLASSES.items()), _subclass)
"""PTB-XL's 23 diagnostic subclasses; records with one at least."""

ALL_STATEMENTS = Task("statements", _classes((s.name, s.description) for s in STATEMENTS), _statements)
"""PTB-XL's 71 statements, the benchmark's `all`; records with one at least."""

CPSC2018 = Task("cpsc2018", _CPSC2018, _cpsc2018)
"""The nine classes of CPSC 2018; records of CPSC2018_SOURCES."""

TASKS: dict[str, Task] = {t.name: t for t in (ARRHYTHMIA, SUPERCLASS, SUBCLASS, ALL_STATEMENTS, CPSC2018)}
"""Every task by name."""
