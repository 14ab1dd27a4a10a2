"""The scoring metric of the PhysioNet/CinC Challenge 2020: partial credit for diagnoses with similar outcomes.

For every label j and decision k of a record, A[j, k] gains 1 / max(|labels or decisions|, 1). With the reward
matrix W, the score is (sum(W * A) - inactive) / (correct - inactive), where `correct` is the sum for decisions that
equal the labels and `inactive` that for deciding sinus rhythm always: 1 is perfect, 0 is doing nothing, and worse
is negative (Perez Alday et al. 2020, doi 10.1088/1361-6579/abc960). The 2021 Challenge has another matrix.
"""

import csv
from pathlib import Path

import numpy as np

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from . import labels as diagnoses
from .metrics import Bools, Floats

NORMAL = diagnoses.CODES.index(diagnoses.NORMAL_SINUS_RHYTHM)


class WeightsError(EcgEdgeError):
    """A reward matrix that is not the Challenge 2020's."""


def read_weights(path: Path) -> Floats:
    """Return the reward matrix (24, 24) of a `weights.csv`, in the order of `labels.CODES`.

    The file has a row of codes and then a row for each code, the code first; a merged class may stand there by any
    of its codes or by several joined with `|`. Raises WeightsError where a class is missing, equivalent classes
    differ, or the file is something else.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
        columns = rows[0][1:]
        values = np.array([row[1:] for row in rows[1:]], dtype=np.float64)
        names = [row[0] for row in rows[1:]]
        if names != columns or values.shape != (len(names), len(names)) or not np.isfinite(values).all():
            raise ValueError("rows and columns differ")
    except (OSError, ValueError, IndexError) as error:
        raise WeightsError(f"{path} is no reward matrix ({error}): use the Challenge 2020's weights.csv") from error
    merged = [diagnoses.scored(name.split("|")) for name in names]
    places = [[i for i, classes in enumerate(merged) if code in classes] for code in diagnoses.CODES]
    missing = [name for name, place in zip(diagnoses.ABBREVIATIONS, places, strict=True) if not place]
    if missing:
        raise WeightsError(f"{path} has no weights for {', '.join(missing)}: use the Challenge 2020's weights.csv")
    for name, place in zip(diagnoses.ABBREVIATIONS, places, strict=True):
        if np.ptp(values[place], axis=0).any() or np.ptp(values[:, place], axis=1).any():
            raise WeightsError(f"{path} weighs the equivalent codes of {name} differently: fetch it again")
    first = [place[0] for place in places]
    weights: Floats = values[np.ix_(first, first)]
    return weights


def record_scores(weights: Floats, labels: Bools, outputs: Bools) -> Floats:
    """Return each record's share of sum(W * A), (records,). All arguments are in one order of classes."""
    labels, outputs = np.asarray(labels, dtype=np.bool_), np.asarray(outputs, dtype=np.bool_)
    if labels.shape != outputs.shape or weights.shape != (labels.shape[1],) * 2:
        raise ValueError(f"labels {labels.shape}, outputs {outputs.shape} and weights {weights.shape} do not agree")
    credit = ((labels @ weights) * outputs).sum(axis=1)
    shared: Floats = credit / np.maximum((labels | outputs).sum(axis=1), 1)
    return shared


def challenge_metric(
    weights: Floats, labels: Bools, outputs: Bools, record_weights: Floats | None = None, normal: int = NORMAL
) -> Floats:
    """Return the Challenge metric: an array without axes, or (resamples,).

    weights: (classes, classes) as from read_weights; labels, outputs: (records, classes); record_weights:
    (resamples, records) as from bootstrap.resample; normal: column of sinus rhythm. Records without a scored
    label count, and give nothing. NaN where perfect decisions would score as sinus rhythm does.
    """
    inactive = np.zeros_like(labels, dtype=np.bool_)
    inactive[:, normal] = True
    each = np.stack([record_scores(weights, labels, given) for given in (outputs, labels, inactive)], axis=1)
    sums = each.sum(axis=0) if record_weights is None else record_weights @ each
    observed, correct, nothing = sums[..., 0], sums[..., 1], sums[..., 2]
    span = correct - nothing
    return np.divide(observed - nothing, span, out=np.full(np.shape(span), np.nan), where=span != 0)
