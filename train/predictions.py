"""What a model said of labelled records: the one file that training, cross-validation and reports exchange.

A `.npz` archive of plain arrays, `.npz` being the suffix: `format`, `records`, `patients`, `sources` (text, N),
`folds` (int16, N; -1 for none), `truth` (bool, N x K), `logits` (float32, N x K), and two JSON texts, `classes` and
`facts`. Nothing in it is pickled, so reading one runs no code.
"""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.classes import ClassInfo

FORMAT = 1
"""Raised whenever a file of before can no longer be read."""

REQUIRED_FACTS = ("task", "model", "seed", "split")
"""What a report has to be able to say of every set of predictions."""

_NO_FOLD = -1
_ARRAYS = ("records", "patients", "sources", "folds", "truth", "logits", "classes", "facts")


class PredictionsError(EcgEdgeError):
    """Predictions that cannot be read, or do not go together."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels and logits of records, and what they rest on."""

    records: tuple[str, ...]
    """Name of each record, (N,); no name twice."""
    patients: tuple[str, ...]
    """Group key of each record, (N,): what the bootstrap draws and what no two sides of a split share."""
    sources: tuple[str, ...]
    """Database of each record, (N,)."""
    folds: tuple[int | None, ...]
    """Fold of each record, (N,), None where there is none."""
    classes: tuple[ClassInfo, ...]
    """The K classes, with the thresholds to decide by: fitted on validation records, never on these."""
    truth: npt.NDArray[np.bool_]
    """(N, K), True where the database says so."""
    logits: npt.NDArray[np.float32]
    """(N, K), finite."""
    facts: dict[str, Any]
    """JSON values: at least `task`, `model` (a name), `seed` and `split` (in words), and whatever else is known."""

    def __post_init__(self) -> None:
        """Raise ValueError for fields that do not agree, no records, logits that are not finite, missing facts."""
        n, k = len(self.records), len(self.classes)
        lengths = {len(self.patients), len(self.sources), len(self.folds)}
        if lengths != {n} or self.truth.shape != (n, k) or self.logits.shape != (n, k) or not n or not k:
            raise ValueError(
                f"{n} records, {k} classes, truth {self.truth.shape}, logits {self.logits.shape}, and lists of "
                f"{sorted(lengths)} do not make predictions"
            )
        if self.truth.dtype != np.bool_ or self.logits.dtype != np.float32:
            raise ValueError(f"truth {self.truth.dtype} and logits {self.logits.dtype} are not bool and float32")
        if not np.isfinite(self.logits).all():
            raise ValueError("logits are not finite")
        if len(set(self.records)) != n:
            raise ValueError("a record stands twice among them")
        if len({info.abbreviation for info in self.classes}) != k:
            raise ValueError("two classes share an abbreviation")
        missing = [name for name in REQUIRED_FACTS if name not in self.facts]
        if missing:
            raise ValueError(f"facts lack {', '.join(missing)}")

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Sigmoid of the logits, float64 (N, K)."""
        p: npt.NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * self.logits.astype(np.float64))
        return p

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """Thresholds of the classes, float64 (K,)."""
        return np.array([info.threshold for info in self.classes])

    @property
    def decisions(self) -> npt.NDArray[np.bool_]:
        """Whether each class counts as present, (N, K): probability above the class's threshold."""
        decided: npt.NDArray[np.bool_] = self.probabilities > self.thresholds
        return decided

    def with_thresholds(self, values: Sequence[float], how: str) -> "Predictions":
        """Return the same with other thresholds (K,), and the fact `thresholds` saying how they came about."""
        classes = tuple(replace(c, threshold=float(t)) for c, t in zip(self.classes, values, strict=True))
        return replace(self, classes=classes, facts={**self.facts, "thresholds": how})

    def save(self, path: Path) -> None:
        """Write the file whole or not at all; folders are made. Raises ValueError without the suffix `.npz`."""
        if path.suffix != ".npz":
            raise ValueError(f"{path} does not end in .npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        working = path.with_name(f".{path.name}.{os.getpid()}")
        with working.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.array(FORMAT),
                records=np.array(self.records),
                patients=np.array(self.patients),
                sources=np.array(self.sources),
                folds=np.array([_NO_FOLD if fold is None else fold for fold in self.folds], dtype=np.int16),
                truth=self.truth,
                logits=self.logits,
                classes=np.array(json.dumps([asdict(info) for info in self.classes])),
                facts=np.array(json.dumps(self.facts, allow_nan=False)),
            )
            file.flush()
            os.fsync(file.fileno())
        working.replace(path)


def load(path: Path) -> Predictions:
    """Return what `save` wrote; raises PredictionsError where `path` is no such file. Nothing in it is executed."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "format" not in archive.files or int(archive["format"]) != FORMAT:
                raise PredictionsError(f"{path} is not a file of predictions that this version reads: predict again")
            arrays = {name: archive[name] for name in _ARRAYS}
        return Predictions(
            records=tuple(arrays["records"].tolist()),
            patients=tuple(arrays["patients"].tolist()),
            sources=tuple(arrays["sources"].tolist()),
            folds=tuple(None if fold == _NO_FOLD else fold for fold in arrays["folds"].tolist()),
            classes=tuple(
                ClassInfo(**{**c, "equivalents": tuple(c["equivalents"])}) for c in json.loads(arrays["classes"].item())
            ),
            truth=arrays["truth"],
            logits=arrays["logits"],
            facts=json.loads(arrays["facts"].item()),
        )
    except FileNotFoundError as error:
        raise PredictionsError(f"no file {path}: training and cross-validation write such predictions") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise PredictionsError(f"{path} does not hold predictions of ecg-edge: {what}") from error


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """Return the mean of several models' logits on the same records, such as of several seeds.

    A class's threshold is where the mean of the members' threshold logits lies. Raises PredictionsError where
    records, labels or classes differ, ValueError for no members.
    """
    if not members:
        raise ValueError("no members")
    first = members[0]
    for other in members[1:]:
        _check_classes(first, other)
        if other.records != first.records or not np.array_equal(other.truth, first.truth):
            raise PredictionsError("predictions of other records or labels do not make one ensemble")
    # A threshold may be 1: no probability is above it. Its logit is kept finite, beyond any that is met.
    t = np.clip([member.thresholds for member in members], 1e-9, 1 - 1e-9)
    mean = (np.log(t) - np.log1p(-t)).mean(axis=0)
    result = replace(
        first,
        logits=np.stack([member.logits for member in members]).mean(axis=0, dtype=np.float64).astype(np.float32),
        facts={
            **{key: value for key, value in first.facts.items() if all(m.facts.get(key) == value for m in members)},
            "task": first.facts["task"],
            "split": first.facts["split"],
            "model": " + ".join(dict.fromkeys(str(member.facts["model"]) for member in members)),
            "seed": [member.facts["seed"] for member in members],
        },
    )
    if len(members) == 1:
        return result
    return result.with_thresholds(1 / (1 + np.exp(-mean)), f"mean, as logits, of the {len(members)} models' own")


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Return the records of all parts, such as of all test folds of a cross-validation, logits as they are.

    Parts may have been given different thresholds; the result has the first part's, so take the decisions from the
    parts. Raises PredictionsError where classes differ or two parts share a patient, ValueError for no parts.
    """
    if not parts:
        raise ValueError("no parts")
    seen: set[str] = set()
    for part in parts:
        _check_classes(parts[0], part)
        shared = seen & set(part.patients)
        if shared:
            raise PredictionsError(
                f"{min(shared)} is in two of the test sets: folds of a cross-validation share no patient, and members "
                "of an ensemble have the same records in the same order"
            )
        seen |= set(part.patients)
    return replace(
        parts[0],
        records=tuple(name for part in parts for name in part.records),
        patients=tuple(name for part in parts for name in part.patients),
        sources=tuple(name for part in parts for name in part.sources),
        folds=tuple(fold for part in parts for fold in part.folds),
        truth=np.concatenate([part.truth for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        facts={**parts[0].facts, "split": f"the {len(parts)} test folds together"},
    )


def _check_classes(one: Predictions, other: Predictions) -> None:
    if [c.abbreviation for c in one.classes] != [c.abbreviation for c in other.classes]:
        raise PredictionsError("predictions of other classes do not go together: evaluate each task on its own")
