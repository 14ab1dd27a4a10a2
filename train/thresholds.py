"""From which probability on a class counts as present: fitted on validation data, and held back where that is thin.

Two goals: the F1 of each class, or the Challenge metric of all classes together. Both try every cut between two
different probabilities, so nothing depends on a grid. What is fitted on few positives is mostly luck, so

- a cut that finds nobody or everybody is not taken, and every threshold stays within LOWEST and HIGHEST;
- a class with fewer than FEWEST positives (or negatives) gets the shared threshold, the one value that gives the
  best macro F1 when all the other classes use it;
- every other class is drawn towards the shared threshold as if that had been seen on SHRINKAGE positives: on the
  logit scale, threshold = (n * fitted + SHRINKAGE * shared) / (n + SHRINKAGE).

Fit on validation records only: on training records the thresholds come out too high, on test records the figures.
`with_fitted_thresholds` takes both sides' predictions and refuses where they share a patient.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .challenge_metric import record_scores
from .metrics import Bools, Floats, count, macro
from .predictions import Predictions, PredictionsError

LOWEST, HIGHEST = 0.02, 0.98  # beyond, one step of an 8-bit probability (1/256) is a large part of the odds
FEWEST = 3  # positives; with two, leaving one out moves the best cut anywhere
SHRINKAGE = 10.0  # simulated sets of 177 records: 10 to 40 do equally well on fresh ones, 3 and 0 clearly worse
_SHARED_CANDIDATES = np.arange(0.02, 0.985, 0.01)
_SWEEPS = 20  # of the coordinate ascent; it stops by itself, mostly after three or four


@dataclass(frozen=True)
class Thresholds:
    """Decision thresholds of the classes, and what they rest on."""

    values: Floats
    """Threshold of each class: present where probability > threshold, as the alert policy takes it."""
    fitted: Floats
    """The best cut before it was drawn to the shared one; NaN where the class has too few positives for one."""
    shared: float
    """Threshold for classes without their own."""
    positives: npt.NDArray[np.int64]
    """Validation positives of each class."""

    def decide(self, probabilities: npt.NDArray[np.floating]) -> Bools:
        """Return the decisions (records, classes)."""
        decisions: Bools = np.asarray(probabilities) > self.values
        return decisions


def fit_f1(labels: Bools, probabilities: npt.NDArray[np.floating]) -> Thresholds:
    """Return thresholds for the best F1 of each class.

    labels bool, probabilities float in [0, 1], both (records, classes), of validation records. Raises ValueError
    for other shapes or values.
    """
    labels, p, positives, able = _checked(labels, probabilities)
    shared = _shared(labels, p, able)
    fitted = np.full(labels.shape[1], np.nan)
    for k in np.flatnonzero(able):
        found = np.arange(1, len(p) + 1)
        order = np.argsort(-p[:, k], kind="stable")
        f1 = 2 * labels[order, k].cumsum() / (found + positives[k])
        fitted[k] = _best_cut(p[order, k], f1, shared)
    return _held_back(labels, fitted, shared)


def fit_challenge(labels: Bools, probabilities: npt.NDArray[np.floating], weights: Floats) -> Thresholds:
    """Return thresholds for the best Challenge metric, by coordinate ascent from the cuts of fit_f1.

    weights: (classes, classes) as from challenge_metric.read_weights. One class after the other gets the cut that
    is best given the decisions on the rest, until a sweep changes nothing. That is a local maximum; the holding
    back then moves off it on purpose. Raises ValueError as fit_f1 does.
    """
    labels, p, positives, able = _checked(labels, probabilities)
    start = fit_f1(labels, p)
    fitted = start.fitted.copy()
    outputs = p > np.where(np.isnan(fitted), start.shared, fitted)
    credit = labels @ weights
    total = record_scores(weights, labels, outputs).sum()
    for _ in range(_SWEEPS):
        before = total
        for k in sorted(np.flatnonzero(able), key=lambda k: -positives[k]):
            without = outputs.copy()
            without[:, k] = False
            base = (credit * without).sum(axis=1)
            named = (labels | without).sum(axis=1)
            off = base / np.maximum(named, 1)
            on = (base + credit[:, k]) / (named + ~labels[:, k])
            order = np.argsort(-p[:, k], kind="stable")
            gains = (on - off)[order].cumsum()
            cut = _best_cut(p[order, k], gains, start.shared)
            if np.isnan(cut):
                continue
            chosen = p[:, k] > cut
            reached = off.sum() + (on - off)[chosen].sum()
            if reached > total + 1e-9:
                outputs[:, k], fitted[k], total = chosen, cut, reached
        if total <= before + 1e-9:
            break
    return _held_back(labels, fitted, start.shared)


def with_fitted_thresholds(valid: Predictions, test: Predictions, weights: Floats | None = None) -> Predictions:
    """Return `test` with thresholds fitted on `valid`: for the Challenge metric, or without `weights` for F1.

    Raises PredictionsError where the two are of other classes or share a record or a patient.
    """
    if [c.abbreviation for c in valid.classes] != [c.abbreviation for c in test.classes]:
        raise PredictionsError("thresholds of other classes do not fit: use validation predictions of the same task")
    shared = {*valid.patients, *valid.records} & {*test.patients, *test.records}
    if shared:
        raise PredictionsError(
            f"{min(shared)} is among the records to report on and those to fit thresholds on: fit on other patients"
        )
    p = valid.probabilities
    fitted = fit_f1(valid.truth, p) if weights is None else fit_challenge(valid.truth, p, weights)
    goal = "F1 of each class" if weights is None else "the Challenge metric"
    how = f"fitted for {goal} on {len(valid.records)} validation records ({valid.facts['split']})"
    return test.with_thresholds(fitted.values.tolist(), how)


def _checked(
    labels: Bools, probabilities: npt.NDArray[np.floating]
) -> tuple[Bools, Floats, npt.NDArray[np.int64], Bools]:
    labels, p = np.asarray(labels, dtype=np.bool_), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 2 or labels.shape != p.shape or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("labels and probabilities must both be (records, classes), probabilities within [0, 1]")
    positives = labels.sum(axis=0)
    return labels, p, positives, np.minimum(positives, len(labels) - positives) >= FEWEST


def _shared(labels: Bools, p: Floats, able: Bools) -> float:
    if not able.any():
        return 0.5
    labels, p = labels[:, able], p[:, able]
    # A class that nobody is found for at some candidate scores 0 there, not NaN: it has positives.
    f1 = [float(macro(count(labels, p > t).f_beta(), labels.sum(axis=0))) for t in _SHARED_CANDIDATES]
    return float(_SHARED_CANDIDATES[int(np.argmax(f1))])


def _best_cut(ranked: Floats, goal: Floats, shared: float) -> float:
    """Return the threshold of the best cut, NaN where all probabilities are equal.

    ranked: probabilities, descending; goal[i]: what finding the first i + 1 records gives. Among equally good
    cuts the one nearest to `shared` is taken.
    """
    cuts = np.flatnonzero(ranked[:-1] > ranked[1:])
    if not cuts.size:
        return float("nan")
    upper, lower = ranked[cuts], ranked[cuts + 1]
    middle = (upper + lower) / 2
    between = np.where(middle < upper, middle, lower)  # the middle of two neighboring floats is one of them
    best = goal[cuts] >= goal[cuts].max() - 1e-12
    return float(between[best][np.argmin(np.abs(between[best] - shared))])


def _held_back(labels: Bools, fitted: Floats, shared: float) -> Thresholds:
    positives = labels.sum(axis=0)
    evidence = np.minimum(positives, len(labels) - positives).astype(np.float64)
    bounded = np.clip(np.where(np.isnan(fitted), shared, fitted), LOWEST, HIGHEST)
    drawn = (evidence * _logit(bounded) + SHRINKAGE * _logit(shared)) / (evidence + SHRINKAGE)
    values = np.where(np.isnan(fitted), shared, 1 / (1 + np.exp(-drawn)))
    return Thresholds(np.clip(values, LOWEST, HIGHEST), fitted, shared, positives)


def _logit(p: Floats | float) -> Floats:
    result: Floats = np.log(p) - np.log1p(-np.asarray(p))
    return result
