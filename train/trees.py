"""Gradient-boosted trees over measurements: what can be known of a record without learning to see.

One ensemble of trees for each class (Friedman 2001; LightGBM, Ke et al. 2017). On some thousand records they know more
than networks, which have to learn from as many what a QRS complex is. They do not run on devices: networks learn from
them, see `tutor`.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .records.entry import RecordEntry
from .settings import require
from .tasks import Mask, task

RARE_LOGIT = -6.0  # of a class with too few positives to learn from: it is hardly ever there
LEAST_POSITIVES = 3
TREES = "trees"  # what predictions have in place of a fusion
PARTS = 5  # of records without folds, each of which is answered by the trees of the others

Floats = npt.NDArray[np.float64]


class TreesError(EcgEdgeError):
    """Trees that cannot be fitted or asked."""


@dataclass(frozen=True)
class BoostSettings:
    """Of the trees of one class."""

    rounds: int = 250
    """Trees, one after the other."""
    learning_rate: float = 0.03
    """Part of each tree's answer that is added."""
    leaves: int = 8
    """Of a tree at most."""
    least_records: int = 10
    """Of a leaf."""
    records_part: float = 0.7
    """Part of the records that a tree sees."""
    values_part: float = 0.2
    """Part of the measurements that a tree sees: many say nearly the same, and a tree takes but one of them."""
    l2: float = 5.0
    """Penalty on the squares of what leaves answer."""
    ensembles: int = 2
    """Ensembles of other random draws, whose mean answers."""

    def check(self) -> None:
        """Raise SettingsError for a value that cannot be followed."""
        for name in ("rounds", "learning_rate", "leaves", "least_records", "ensembles"):
            require(getattr(self, name) > 0, f"{name} = {getattr(self, name)}: must be above 0")
        require(self.leaves > 1, f"leaves = {self.leaves}: must be at least 2")
        require(self.l2 >= 0, f"l2 = {self.l2}: must not be negative")
        for name in ("records_part", "values_part"):
            require(0 < getattr(self, name) <= 1, f"{name} = {getattr(self, name)}: must be above 0, at most 1")


@dataclass(frozen=True)
class TreeSettings:
    """Everything that trees depend on besides their data."""

    seed: int
    """Of what each tree sees, and of the parts that records without folds go to."""
    tasks: tuple[str, ...]
    """What is learned: names of `tasks.TASKS`."""
    train_folds: tuple[int, ...]
    """Folds of PTB-XL to learn from; records of sources without folds are learned from as well."""
    valid_folds: tuple[int, ...]
    """Folds that thresholds are fitted on; nothing else is chosen by them."""
    sources: tuple[str, ...]
    """Sources to learn from, as `ecg-edge records` names them."""
    boost: BoostSettings = field(default_factory=BoostSettings)
    """Of the trees."""

    def check(self) -> None:
        """Raise SettingsError for a value that cannot be followed."""
        require(bool(self.tasks) and len(set(self.tasks)) == len(self.tasks), "tasks: name at least one, each once")
        for name in self.tasks:
            task(name)
        self.boost.check()


@dataclass(frozen=True)
class Trees:
    """Fitted trees."""

    models: tuple[tuple[str, ...], ...]
    """Of each class, its ensembles in LightGBM's text format; none where positives were too few."""

    def logits(self, values: Floats) -> npt.NDArray[np.float32]:
        """Return logits (records, classes) of measurements (records, values)."""
        lightgbm = _lightgbm()
        out = np.full((len(values), len(self.models)), RARE_LOGIT, dtype=np.float32)
        for k, texts in enumerate(self.models):
            if texts:
                boosters = [lightgbm.Booster(model_str=text) for text in texts]
                out[:, k] = np.mean([b.predict(values, raw_score=True, num_threads=1) for b in boosters], axis=0)
        return out


def fit_trees(values: Floats, labels: Mask, counted: Mask, settings: BoostSettings, seed: int) -> Trees:
    """Return trees fitted to measurements (records, values); labels, counted: bool (records, classes)."""
    lightgbm = _lightgbm()
    parameters = {
        "objective": "binary",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.least_records,
        "bagging_fraction": settings.records_part,
        "bagging_freq": 1,
        "feature_fraction": settings.values_part,
        "lambda_l2": settings.l2,
        "num_threads": 1,  # another number would add up in another order
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }

    def fit(k: int) -> tuple[str, ...]:
        rows = counted[:, k]
        truth = labels[rows, k]
        if truth.sum() < LEAST_POSITIVES or truth.all():
            return ()
        data = lightgbm.Dataset(values[rows], truth.astype(np.float64), free_raw_data=False)
        seeds = range(seed * settings.ensembles, (seed + 1) * settings.ensembles)
        ensembles = [lightgbm.train({**parameters, "seed": n}, data, settings.rounds) for n in seeds]
        return tuple(one.model_to_string() for one in ensembles)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # LightGBM computes without Python's lock
        return Trees(tuple(pool.map(fit, range(labels.shape[1]))))


def _lightgbm() -> ModuleType:
    """Return the library, loaded only where trees are asked for; raises TreesError where it cannot be."""
    try:
        import lightgbm
    except ImportError as error:
        raise TreesError("trees need LightGBM: pip install 'ecg-edge[train]'") from error
    except OSError as error:  # its own library, which needs the compiler's
        raise TreesError(f"LightGBM cannot be loaded ({error}): install libgomp1 from the system's packages") from error
    return lightgbm


def parts_of(entries: Sequence[RecordEntry], seed: int) -> npt.NDArray[np.int64]:
    """Return the part of each record, all of a patient's in one: its fold's, else one drawn; at least two parts."""
    rng = np.random.default_rng([seed, 11])
    folds = sorted({entry.fold for entry in entries if entry.fold is not None})
    number: dict[int | None, int] = {fold: k for k, fold in enumerate(folds)} if len(folds) > 1 else {}
    count = len(number) or PARTS
    drawn = {patient: int(rng.integers(count)) for patient in sorted({entry.patient for entry in entries})}
    return np.array([number.get(entry.fold, drawn[entry.patient]) for entry in entries], dtype=np.int64)


def cross_fitted(
    values: Floats,
    labels: Mask,
    counted: Mask,
    parts: npt.NDArray[np.int64],
    settings: BoostSettings,
    seed: int,
    progress: bool = False,
) -> npt.NDArray[np.float32]:
    """Return what trees of the other parts say of the records of each part: logits (records, classes).

    Of the very records that they learned from, trees say what the labels say; only of others what they know.
    """
    out = np.zeros(labels.shape, dtype=np.float32)
    numbers = np.unique(parts).tolist()
    for part in tqdm(numbers, desc="cross-fitting", unit="part", disable=not progress, dynamic_ncols=True):
        mine = parts == part
        out[mine] = fit_trees(values[~mine], labels[~mine], counted[~mine], settings, seed).logits(values[mine])
    return out
