"""What a trained network says of the records of its validation and test side, with thresholds from the former."""

from pathlib import Path

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

    The thresholds of the test side are fitted on the validation side: for the Challenge metric where the task is
    `arrhythmia` and its reward matrix is given, else for the F1 of each class. Those of the validation side stay at
    a half, and so do those of the test side where there is no validation side. split: what the test side is, in words.
    """
    trained = read_trained(out / BEST)
    said = {name: _logits(trained, store) for name, store in (("valid", valid), ("test", test)) if store is not None}
    written = []
    for one in trained.tasks:
        chosen = None if valid is None else _predictions(out, trained, one, valid, said["valid"], "validation side")
        reported = None if test is None else _predictions(out, trained, one, test, said["test"], split)
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
            "backbone": s.network.backbone,
            "fusion": s.network.fusion,
            "contrast_weight": s.contrast_weight,
            "label_fraction": s.label_fraction,
            "frozen": s.frozen,
            "pretrained": None if trained.init is None else trained.init["sha256"],
            "epochs": s.epochs,
            "best_epoch": int(trained.history[-1]["epoch"]),
            "training_records": trained.records,
        },
    )
