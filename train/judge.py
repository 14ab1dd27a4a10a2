"""What a trained network says of the records of its validation and test side, with thresholds from the former."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecg_edge.runtime.backends import probabilities

from .finetune import BEST
from .predictions import Predictions
from .store import RecordStore
from .tasks import Task
from .thresholds import fit_challenge, fit_f1
from .trained import Trained, read_trained
from .windows import network_windows, predict_logits


def write_predictions(
    out: Path, valid: RecordStore, test: RecordStore | None, weights: npt.NDArray[np.float64] | None
) -> list[Path]:
    """Write `valid-TASK.npz` and, with a test side, `test-TASK.npz` for each task of `out`'s network; return them.

    Thresholds are fitted on the validation side and go into both: for the Challenge metric where the task is
    `arrhythmia` and its reward matrix is given, else for the F1 of each class.
    """
    trained = read_trained(out / BEST)
    written = []
    logits = {name: _logits(trained, store) for name, store in (("valid", valid), ("test", test)) if store is not None}
    for one in trained.tasks:
        fitted = _predictions(out, trained, one, valid, logits["valid"], "validation folds, thresholds fitted here")
        if fitted is None:
            continue
        challenge = weights if one.name == "arrhythmia" else None
        p = probabilities(fitted.logits)
        found = fit_f1(fitted.truth, p) if challenge is None else fit_challenge(fitted.truth, p, challenge)
        classes = tuple(
            dataclasses.replace(info, threshold=round(float(t), 4))
            for info, t in zip(one.classes, found.values, strict=True)
        )
        sides = [("valid", fitted)]
        if test is not None:
            reported = _predictions(out, trained, one, test, logits["test"], "test folds, patients apart")
            sides += [("test", reported)] if reported is not None else []
        for name, predictions in sides:
            path = out / f"{name}-{one.name}.npz"
            dataclasses.replace(predictions, classes=classes).save(path)
            written.append(path)
    return written


def _logits(trained: Trained, store: RecordStore) -> npt.NDArray[np.float32]:
    s = trained.settings
    windows = network_windows(store, trained.contract, s.network.backbone, s.window_seconds, s.stride_seconds)
    return predict_logits(trained.network, windows)


def _predictions(
    out: Path, trained: Trained, one: Task, store: RecordStore, logits: npt.NDArray[np.float32], split: str
) -> Predictions | None:
    """Return the predictions on the records that are labelled for the task, None where there is none."""
    known = np.flatnonzero(one.known(store.entries))
    entries = [store.entries[k] for k in known]
    if not entries:
        return None
    s = trained.settings
    return Predictions(
        records=tuple(f"{entry.source}/{entry.path.name}" for entry in entries),
        patients=tuple(entry.patient for entry in entries),
        sources=tuple(entry.source for entry in entries),
        folds=tuple(entry.fold for entry in entries),
        classes=one.classes,
        truth=one.labels(entries),
        logits=logits[known, trained.columns(one.name)],
        facts={
            "task": one.name,
            "model": out.name,
            "seed": s.seed,
            "split": split,
            "train_folds": list(s.train_folds),
            "valid_folds": list(s.valid_folds),
            "fusion": s.network.fusion,
            "backbone": s.network.backbone,
            "label_fraction": s.label_fraction,
            "frozen": s.frozen,
            "pretrained": None if trained.init is None else trained.init["sha256"],
            "epoch": trained.history[-1]["epoch"],
        },
    )
