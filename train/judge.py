"""What a trained network says of the records of its validation and test side, with thresholds from the former."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .finetune import BEST
from .predictions import Predictions
from .store import RecordStore
from .tasks import Task
from .thresholds import with_fitted_thresholds
from .trained import Trained, read_trained
from .windows import network_windows, predict_logits


def write_predictions(
    out: Path,
    valid: RecordStore | None,
    test: RecordStore | None,
    weights: npt.NDArray[np.float64] | None,
    split: str,
) -> list[Path]:
    """Write `valid-TASK.npz` and, with a test side, `test-TASK.npz` for each task of `out`'s network; return them.

    See `write_judgement`. split: what the test side is, in words.
    """
    trained = read_trained(out / BEST)
    sides = {"valid": valid, "test": test}
    said = {name: (store, _logits(trained, store)) for name, store in sides.items() if store is not None}
    return write_judgement(out, trained.tasks, said, weights, split, _facts(trained))


def write_judgement(
    out: Path,
    tasks: Sequence[Task],
    said: Mapping[str, tuple[RecordStore, npt.NDArray[np.float32]]],
    weights: npt.NDArray[np.float64] | None,
    split: str,
    facts: Mapping[str, Any],
) -> list[Path]:
    """Write the predictions of each task for the sides `valid` and `test`, whichever are in `said`; return the files.

    The thresholds of the test side are fitted on the validation side: for the Challenge metric where the task is
    `arrhythmia` and its reward matrix is given, else for the F1 of each class. Those of the validation side stay at
    a half, and so do those of the test side where there is no validation side.
    said: records of each side, and the logits (records, classes of all tasks in their order).
    """
    written = []
    stop = 0
    for one in tasks:
        columns = slice(stop, stop := stop + len(one.classes))
        told = {
            side: _predictions(
                out, one, store, logits[:, columns], "validation side" if side == "valid" else split, facts
            )
            for side, (store, logits) in said.items()
        }
        chosen, reported = told.get("valid"), told.get("test")
        if chosen is not None and reported is not None:
            reported = with_fitted_thresholds(chosen, reported, weights if one.name == "arrhythmia" else None)
        for name, predictions in (("valid", chosen), ("test", reported)):
            if predictions is not None:
                path = out / f"{name}-{one.name}.npz"
                predictions.save(path)
                written.append(path)
    return written


def _logits(trained: Trained, store: RecordStore) -> npt.NDArray[np.float32]:
    s = trained.settings
    windows = network_windows(store, trained.contract, s.network.backbone, s.window_seconds, s.stride_seconds)
    return predict_logits(trained.network, windows)


def _facts(trained: Trained) -> dict[str, Any]:
    s = trained.settings
    return {
        "seed": s.seed,
        "backbone": s.network.backbone,
        "fusion": s.network.fusion,
        "contrast_weight": s.contrast_weight,
        "label_fraction": s.label_fraction,
        "frozen": s.frozen,
        "pretrained": None if trained.init is None else trained.init["sha256"],
        "tutor": None if trained.tutor is None else trained.tutor["sha256"],
        "epochs": s.epochs,
        "best_epoch": int(trained.history[-1]["epoch"]),
        "training_records": trained.records,
    }


def _predictions(
    out: Path, one: Task, store: RecordStore, logits: npt.NDArray[np.float32], split: str, facts: Mapping[str, Any]
) -> Predictions | None:
    """Return the predictions on the records that are labelled for the task, None where there is none."""
    known = np.flatnonzero(one.known(store.entries))
    entries = [store.entries[k] for k in known]
    if not entries:
        return None
    return Predictions(
        records=tuple(entry.name for entry in entries),
        patients=tuple(entry.patient for entry in entries),
        sources=tuple(entry.source for entry in entries),
        folds=tuple(entry.fold for entry in entries),
        classes=one.classes,
        truth=one.labels(entries),
        logits=logits[known],
        facts={"task": one.name, "model": out.name, "split": split, **facts},
    )
