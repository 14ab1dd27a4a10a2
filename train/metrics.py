"""How good scores and decisions are, per class and averaged over classes.

Arrays are (records, classes): `labels` and `outputs` bool, `scores` float. Where a function takes `weights`, they
are (resamples, records), as `bootstrap.resample` makes them, and its result gains that first axis; None counts
every record once and adds no axis. What is not defined for a class, such as the AUROC of one without positives, is
NaN, never zero.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_BLOCK = 2**21  # weights handled at once: 16 MB, so that resampling 40,000 records takes no gigabytes


def auroc(labels: Bools, scores: npt.NDArray[np.floating], weights: Floats | None = None) -> Floats:
    """Return the area under the ROC curve of each class, exact: (classes,), or (resamples, classes).

    It is the probability that a positive scores above a negative, ties counted half (Hanley and McNeil 1982).
    NaN without a positive or without a negative. Raises ValueError for shapes that differ or scores that are NaN.
    """
    return _per_class(_auroc_of_groups, labels, scores, weights)


def average_precision(labels: Bools, scores: npt.NDArray[np.floating], weights: Floats | None = None) -> Floats:
    """Return the average precision of each class (AUPRC): (classes,), or (resamples, classes).

    The sum over distinct scores, descending, of (increase of recall) * precision, not interpolated. NaN without
    a positive. Raises ValueError for shapes that differ or scores that are NaN.
    """
    return _per_class(_average_precision_of_groups, labels, scores, weights)


def macro(values: Floats, positives: npt.NDArray[np.integer], at_least: int = 1) -> Floats:
    """Return the mean of `values` (..., classes) over the classes with `at_least` positives where it is defined.

    NaN where no class is left.
    """
    counted = (np.asarray(positives) >= max(at_least, 1)) & ~np.isnan(values)
    total = np.where(counted, values, 0.0).sum(axis=-1)
    return _ratio(total, counted.sum(axis=-1))


@dataclass(frozen=True)
class Counts:
    """Decisions against labels; each field is (classes,) or (resamples, classes)."""

    tp: Floats
    """Present and found."""
    fp: Floats
    """Found without being present."""
    fn: Floats
    """Present and missed."""
    tn: Floats
    """Neither."""

    @property
    def sensitivity(self) -> Floats:
        """Share of the positives that is found; NaN without positives."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Floats:
        """Share of the negatives that is left alone; NaN without negatives."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> Floats:
        """Share of the decisions that is right (precision); NaN where the class is never decided for."""
        return _ratio(self.tp, self.tp + self.fp)

    def f_beta(self, beta: float = 1.0) -> Floats:
        """Return (1+b²)TP / ((1+b²)TP + FP + b²FN); NaN for a class neither present nor found."""
        hits = (1 + beta**2) * self.tp
        return _ratio(hits, hits + self.fp + beta**2 * self.fn)

    def g_beta(self, beta: float = 2.0) -> Floats:
        """Return TP / (TP + FP + b FN), the Challenge's generalized Jaccard; NaN as for f_beta."""
        return _ratio(self.tp, self.tp + self.fp + beta * self.fn)


def count(labels: Bools, outputs: Bools, weights: Floats | None = None, share_records: bool = False) -> Counts:
    """Return the counts of each class. Raises ValueError for shapes that differ.

    share_records: divide what a record contributes by the number of its labels (at least one), as the Challenge
    does for F2 and G2, though not for F1.
    """
    labels, outputs = np.asarray(labels, dtype=np.bool_), np.asarray(outputs, dtype=np.bool_)
    _check(labels, outputs)
    each = 1.0 / np.maximum(labels.sum(axis=1), 1) if share_records else np.ones(len(labels))
    w = each if weights is None else weights * each
    return Counts(w @ (labels & outputs), w @ (~labels & outputs), w @ (labels & ~outputs), w @ ~(labels | outputs))


def calibration_error(labels: Bools, probabilities: npt.NDArray[np.floating], bins: int = 10) -> Floats:
    """Return the expected calibration error of each class, (classes,), in [0, 1].

    The gap between mean probability and share of positives, averaged over `bins` equal intervals of [0, 1] by the
    records in them (Naeini et al. 2015). Raises ValueError for shapes that differ or values outside [0, 1].
    """
    labels, p = np.asarray(labels, dtype=np.bool_), np.asarray(probabilities, dtype=np.float64)
    _check(labels, p)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probabilities outside [0, 1]")
    records, classes = p.shape
    cell = np.minimum((p * bins).astype(np.int64), bins - 1) + bins * np.arange(classes)
    gap = np.bincount(cell.ravel(), weights=(p - labels).ravel(), minlength=bins * classes)
    return _ratio(np.abs(gap.reshape(classes, bins)).sum(axis=1), np.full(classes, records))


@dataclass(frozen=True)
class _Groups:
    """Weights by distinct score, descending: (resamples, distinct scores)."""

    positive: Floats
    negative: Floats


def _auroc_of_groups(groups: _Groups) -> Floats:
    below = groups.negative.sum(axis=1, keepdims=True) - groups.negative.cumsum(axis=1)
    won = (groups.positive * (below + groups.negative / 2)).sum(axis=1)
    return _ratio(won, groups.positive.sum(axis=1) * groups.negative.sum(axis=1))


def _average_precision_of_groups(groups: _Groups) -> Floats:
    hits = groups.positive.cumsum(axis=1)
    precision = np.nan_to_num(_ratio(hits, hits + groups.negative.cumsum(axis=1)))
    return _ratio((groups.positive * precision).sum(axis=1), groups.positive.sum(axis=1))


def _per_class(statistic, labels, scores, weights) -> Floats:  # type: ignore[no-untyped-def]
    labels, scores = np.asarray(labels, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    _check(labels, scores)
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN")
    w = np.ones((1, len(labels))) if weights is None else np.asarray(weights, dtype=np.float64)
    result = np.full((len(w), labels.shape[1]), np.nan)
    height = max(_BLOCK // max(len(labels), 1), 1)
    blocks = [slice(first, first + height) for first in range(0, len(w), height)]
    for k in range(labels.shape[1] if len(labels) else 0):
        order = np.argsort(-scores[:, k], kind="stable")
        ranked = scores[order, k]
        starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
        positive = labels[order, k]
        for rows in blocks:
            by_rank = w[rows][:, order]
            result[rows, k] = statistic(
                _Groups(
                    np.add.reduceat(by_rank * positive, starts, axis=1),
                    np.add.reduceat(by_rank * ~positive, starts, axis=1),
                )
            )
    return result[0] if weights is None else result


def _check(labels: Bools, other: npt.NDArray[np.generic]) -> None:
    if labels.ndim != 2 or labels.shape != other.shape:
        raise ValueError(f"labels {labels.shape} and scores or outputs {other.shape} are not one (records, classes)")


def _ratio(numerator: npt.NDArray[np.generic], denominator: npt.NDArray[np.generic]) -> Floats:
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)
