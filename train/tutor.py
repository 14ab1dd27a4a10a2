"""What networks learn from besides labels: what trees say of each training record, and its measurements.

    tutor = fit_tutor(settings, store, valid)      # `ecg-edge trees`
    tutor.save(path);  tutor = read_tutor(path, contract)
    lesson = tutor.lesson(entries, classes)        # in the order of a run's records

A few thousand records are too few for a network to find out what matters in an ECG. Trees over measurements know more
from as many (see `trees`), so a network is told what they make of each record where they did not learn from it, and
is asked for the measurements themselves.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract

from . import checkpoint
from .measurements.values import NAMES, Floats, measure
from .records.entry import RecordEntry
from .settings import to_table
from .store import RecordStore
from .tasks import task
from .trees import Trees, TreeSettings, cross_fitted, fit_trees, parts_of

RESULT = "tutor.pt"
WIDEST = 3.0  # standard deviations, at which a normalized measurement ends


class TutorError(EcgEdgeError):
    """A tutor that cannot teach this run."""


@dataclass(frozen=True)
class Lesson:
    """What a tutor says of some records."""

    probabilities: npt.NDArray[np.float32]
    """(records, classes), by trees that did not learn from the record."""
    measurements: npt.NDArray[np.float32]
    """(records, values), each normalized to a standard normal distribution by its rank."""


@dataclass(frozen=True, eq=False)
class Tutor:
    """Trees, and what they and the measurements say of the records that they were fitted to."""

    settings: dict[str, Any]
    """Of the trees, as `to_table` has them."""
    contract: dict[str, Any]
    """Of the measured signals."""
    trees: Trees
    """Fitted to all of the records, to answer for others."""
    records: tuple[str, ...]
    """Names, see `RecordEntry.name`."""
    patients: tuple[str, ...]
    """Of the records."""
    logits: npt.NDArray[np.float32]
    """(records, classes of all its tasks), cross-fitted."""
    measurements: npt.NDArray[np.float32]
    """(records, values), normalized."""
    sha256: str
    """Of the above, in hexadecimal."""

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a network that learned from it tells of it."""
        return {"settings": self.settings, "records": len(self.records), "sha256": self.sha256}

    def columns(self, name: str) -> slice:
        """Return which classes belong to a task; raises TutorError for one that the trees were not fitted to."""
        start = 0
        for one in self.settings["tasks"]:
            stop = start + len(task(one).classes)
            if one == name:
                return slice(start, stop)
            start = stop
        raise TutorError(f"the tutor knows nothing of {name}: fit one with --set 'tasks=[\"{name}\"]' besides its own")

    def lesson(self, entries: Sequence[RecordEntry], tasks: Sequence[str]) -> Lesson:
        """Return what it says of records, for the classes of some tasks; raises TutorError for a record unknown to it.

        All that is said of a record comes from trees of other records, but these are of its settings' folds alone.
        """
        where = {name: k for k, name in enumerate(self.records)}
        missing = [entry.name for entry in entries if entry.name not in where]
        if missing:
            folds = ", ".join(map(str, self.settings["train_folds"]))
            raise TutorError(
                f"the tutor was fitted to folds {folds} and does not know {len(missing)} of the records, as "
                f"{missing[0]}: fit one with the run's train_folds and sources"
            )
        rows = [where[entry.name] for entry in entries]
        logits = np.concatenate([self.logits[rows, self.columns(name)] for name in tasks], axis=1)
        return Lesson(1 / (1 + np.exp(-logits)), self.measurements[rows])

    def check_unseen(self, entries: Sequence[RecordEntry]) -> None:
        """Raise TutorError where a patient of `entries` was learned from."""
        seen = set(self.patients)
        for entry in entries:
            if entry.patient in seen:
                raise TutorError(
                    f"the tutor has learned from {entry.name}, which is to judge the network: fit one without its fold"
                )

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        checkpoint.save(
            path,
            {
                "kind": "tutor",
                "settings": self.settings,
                "contract": self.contract,
                "trees": [list(texts) for texts in self.trees.models],
                "records": list(self.records),
                "patients": list(self.patients),
                "logits": torch.from_numpy(self.logits),
                "measurements": torch.from_numpy(self.measurements),
                "sha256": self.sha256,
            },
        )


def fit_tutor(settings: TreeSettings, store: RecordStore, progress: bool = False) -> Tutor:
    """Return a tutor of the records of `store`; raises SettingsError for settings that cannot be followed."""
    settings.check()
    entries = store.entries
    values = measured(store, progress)
    answers = [task(name).training_labels(entries) for name in settings.tasks]
    labels, counted = (np.concatenate(parts, axis=1) for parts in zip(*answers, strict=True))
    parts = parts_of(entries, settings.seed)
    logits = cross_fitted(values, labels, counted, parts, settings.boost, settings.seed, progress)
    trees = fit_trees(values, labels, counted, settings.boost, settings.seed)
    normal = normalized(values)
    told = hashlib.sha256(logits.tobytes() + normal.tobytes())
    for text in (text for texts in trees.models for text in texts):
        told.update(text.encode())
    return Tutor(
        to_table(settings),
        store.contract.to_dict(),
        trees,
        tuple(entry.name for entry in entries),
        tuple(entry.patient for entry in entries),
        logits,
        normal,
        told.hexdigest(),
    )


def read_tutor(path: Path, contract: Contract) -> Tutor:
    """Return the tutor in a file; raises CheckpointError where there is none, TutorError for another contract's."""
    state = checkpoint.load(path, "tutor")
    if Contract.from_dict(state["contract"]).sha256 != contract.sha256:
        raise TutorError(f"{path} measured signals of another contract: run ecg-edge trees again")
    if state["measurements"].shape[1] != len(NAMES):
        raise TutorError(f"{path} holds other measurements than this version makes: run ecg-edge trees again")
    return Tutor(
        state["settings"],
        state["contract"],
        Trees(tuple(map(tuple, state["trees"]))),
        tuple(state["records"]),
        tuple(state["patients"]),
        state["logits"].numpy(),
        state["measurements"].numpy(),
        state["sha256"],
    )


def measured(store: RecordStore, progress: bool = False) -> Floats:
    """Return the measurements (records, values) of the last window of each record."""
    contract = store.contract
    rows = tqdm(range(len(store.entries)), desc="measuring", unit="record", disable=not progress, dynamic_ncols=True)
    return np.stack([measure(store.last_window(k, contract.window), contract.rate) for k in rows])


def normalized(values: Floats) -> npt.NDArray[np.float32]:
    """Return each column of values (records, n) as the quantiles of a standard normal distribution that it ranks at.

    Equal values get one quantile. So a measurement of a long tail teaches as much by its usual values as by its rare
    ones.
    """
    out = np.empty(values.shape, dtype=np.float32)
    for k, column in enumerate(values.T):
        different, place, count = np.unique(column, return_inverse=True, return_counts=True)
        middle = (np.cumsum(count) - count / 2) / len(column)
        quantiles = torch.special.ndtri(torch.from_numpy(middle)).clamp(-WIDEST, WIDEST).numpy()
        out[:, k] = quantiles[place] if len(different) > 1 else 0.0
    return out
