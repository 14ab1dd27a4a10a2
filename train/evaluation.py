"""One report on decisions and scores of any list of classes: figures per class, averages, intervals."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.runtime.classes import ClassInfo

from . import bootstrap, metrics
from .challenge_metric import challenge_metric
from .labels import CODES
from .metrics import Bools, Floats
from .predictions import Predictions

MIN_POSITIVES = 5  # with fewer, one record moves a class's AUROC by a tenth and more


@dataclass(frozen=True)
class Figure:
    """A figure and its 95 % bootstrap interval; NaN where it is not defined."""

    value: float
    """On the records as they are."""
    low: float
    """2.5th percentile over resampled patients."""
    high: float
    """97.5th percentile."""

    def to_json(self) -> dict[str, float | None]:
        """Return the figure as JSON types, None for NaN."""
        return {"value": _number(self.value), "low": _number(self.low), "high": _number(self.high)}


@dataclass(frozen=True)
class Report:
    """Figures of one set of records."""

    classes: tuple[ClassInfo, ...]
    """In the order of every field that has one value for each."""
    records: int
    """How many records they rest on."""
    patients: int
    """How many patients these are of."""
    min_positives: int
    """Positives that a class needs to enter the macro averages."""
    positives: npt.NDArray[np.int64]
    """Records that have each class."""
    auroc: tuple[Figure, ...]
    """Of each class."""
    auprc: Floats
    """Average precision of each class."""
    f1: Floats
    """Of each class."""
    f2: Floats
    """F-beta with beta 2 of each class, as the Challenge counts: records share their weight among their labels."""
    g2: Floats
    """G-beta with beta 2, likewise."""
    sensitivity: Floats
    """Of each class."""
    specificity: Floats
    """Of each class."""
    ppv: Floats
    """Positive predictive value of each class."""
    ece: Floats
    """Expected calibration error of each class; NaN throughout where scores are no probabilities."""
    macro_auroc: Figure
    """Mean over the classes with enough positives."""
    macro_auprc: Figure
    """The same mean of average precisions."""
    macro_f1: Figure
    """The same mean of F1."""
    macro_ece: float
    """The same mean of calibration errors. Without an interval: resampling alone makes calibration look worse."""
    macro_f2: Figure
    """Challenge's F2: over all classes that are present or decided, records sharing their weight among labels."""
    macro_g2: Figure
    """Challenge's G2, likewise."""
    challenge: Figure | None
    """Challenge metric; None without a reward matrix."""

    @property
    def classes_averaged(self) -> int:
        """Number of classes that the macro AUROC rests on."""
        enough = self.positives >= self.min_positives
        return sum(bool(e) and not np.isnan(f.value) for e, f in zip(enough, self.auroc, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON types, classes by abbreviation."""
        by_class = ("auprc", "f1", "f2", "g2", "sensitivity", "specificity", "ppv", "ece")
        macros = ("macro_auroc", "macro_auprc", "macro_f1", "macro_f2", "macro_g2")
        classes = {
            info.abbreviation: {
                "code": info.code,
                "positives": int(self.positives[k]),
                "auroc": self.auroc[k].to_json(),
                **{name: _number(getattr(self, name)[k]) for name in by_class},
            }
            for k, info in enumerate(self.classes)
        }
        return {
            "records": self.records,
            "patients": self.patients,
            "min_positives": self.min_positives,
            "classes_averaged": self.classes_averaged,
            **{name: getattr(self, name).to_json() for name in macros},
            "macro_ece": _number(self.macro_ece),
            "challenge_metric": self.challenge.to_json() if self.challenge else None,
            "classes": classes,
        }


def evaluate(
    classes: Sequence[ClassInfo],
    truth: Bools,
    decisions: Bools,
    scores: npt.NDArray[np.floating],
    patients: Sequence[Hashable],
    weights: Floats | None = None,
    min_positives: int = MIN_POSITIVES,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> Report:
    """Return the report; truth, decisions and scores are (records, classes), patients the group key of each record.

    weights: reward matrix of the Challenge metric, None to leave that out; it is defined for `labels.CLASSES` only.
    Raises ValueError for shapes that differ, no records, or weights with other classes than those.
    """
    if truth.shape != (len(patients), len(classes)):
        raise ValueError(f"truth {truth.shape} is not of {len(patients)} records and {len(classes)} classes")
    if weights is not None and not is_challenge(classes):
        raise ValueError("the Challenge metric is defined for the 24 classes of the Challenge only")
    drawn = bootstrap.resample(patients, resamples, seed)
    positives = truth.sum(axis=0)

    def averaged(values: Floats, values_drawn: Floats, counts: npt.NDArray[np.int64], at_least: int) -> Figure:
        return _figure(metrics.macro(values, counts, at_least), metrics.macro(values_drawn, counts, at_least))

    auroc, auroc_drawn = metrics.auroc(truth, scores), metrics.auroc(truth, scores, drawn)
    auprc, auprc_drawn = metrics.average_precision(truth, scores), metrics.average_precision(truth, scores, drawn)
    probable = bool(((scores >= 0) & (scores <= 1)).all())
    ece = metrics.calibration_error(truth, scores) if probable else np.full(len(classes), np.nan)
    counts, counts_drawn = metrics.count(truth, decisions), metrics.count(truth, decisions, drawn)
    shared = metrics.count(truth, decisions, share_records=True)
    shared_drawn = metrics.count(truth, decisions, drawn, share_records=True)
    met = (shared.tp + shared.fp + shared.fn > 0).astype(np.int64)
    challenge = None
    if weights is not None:
        challenge = _figure(
            challenge_metric(weights, truth, decisions), challenge_metric(weights, truth, decisions, drawn)
        )
    return Report(
        classes=tuple(classes),
        records=len(truth),
        patients=len(set(patients)),
        min_positives=min_positives,
        positives=positives,
        auroc=tuple(_figure(auroc[k], auroc_drawn[:, k]) for k in range(len(classes))),
        auprc=auprc,
        f1=counts.f_beta(),
        f2=shared.f_beta(2),
        g2=shared.g_beta(2),
        sensitivity=counts.sensitivity,
        specificity=counts.specificity,
        ppv=counts.ppv,
        ece=ece,
        macro_auroc=averaged(auroc, auroc_drawn, positives, min_positives),
        macro_auprc=averaged(auprc, auprc_drawn, positives, min_positives),
        macro_f1=averaged(counts.f_beta(), counts_drawn.f_beta(), positives, min_positives),
        macro_ece=float(metrics.macro(ece, positives, min_positives)),
        macro_f2=averaged(shared.f_beta(2), shared_drawn.f_beta(2), met, 1),
        macro_g2=averaged(shared.g_beta(2), shared_drawn.g_beta(2), met, 1),
        challenge=challenge,
    )


def is_challenge(classes: Sequence[ClassInfo]) -> bool:
    """Return whether these are the Challenge's 24 classes in the order of `labels.CLASSES`."""
    return tuple(info.code for info in classes) == CODES


def evaluate_predictions(
    predictions: Predictions,
    weights: Floats | None = None,
    min_positives: int = MIN_POSITIVES,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
    decisions: Bools | None = None,
) -> Report:
    """Return the report on predictions, decided by their own thresholds, or as `decisions` says.

    weights are left out of account where the classes are not the Challenge's.
    """
    return evaluate(
        predictions.classes,
        predictions.truth,
        predictions.decisions if decisions is None else decisions,
        predictions.probabilities,
        predictions.patients,
        weights if is_challenge(predictions.classes) else None,
        min_positives,
        resamples,
        seed,
    )


def table(report: Report) -> str:
    """Return the report as lines of text."""
    width = max(8, *(len(info.abbreviation) for info in report.classes))
    columns = {"AUPRC": report.auprc, "F1": report.f1, "F2": report.f2, "G2": report.g2, "sens": report.sensitivity}
    columns |= {"spec": report.specificity, "PPV": report.ppv, "ECE": report.ece}
    heads = " ".join(f"{name:>6}" for name in columns)
    lines = [f"{'class':{width}} {'pos':>5} {'AUROC':>6} {'95 % interval':>15} {heads}"]
    for k, info in enumerate(report.classes):
        figure = report.auroc[k]
        cells = " ".join(f"{text(values[k]):>6}" for values in columns.values())
        span = "-" if np.isnan(figure.low) else f"{text(figure.low)} - {text(figure.high)}"
        lines.append(f"{info.abbreviation:{width}} {report.positives[k]:5d} {text(figure.value):>6} {span:>15} {cells}")
    lines += [
        "",
        f"records          {report.records} of {report.patients} patients",
        f"macro AUROC      {spanned(report.macro_auroc)}, {report.classes_averaged} classes with at least "
        f"{report.min_positives} positives",
        f"macro AUPRC      {spanned(report.macro_auprc)} over the same classes",
        f"macro F1         {spanned(report.macro_f1)} over the same classes",
        f"macro ECE        {text(report.macro_ece)} over the same classes",
        f"macro F2         {spanned(report.macro_f2)} as the Challenge averages it",
        f"macro G2         {spanned(report.macro_g2)} as the Challenge averages it",
    ]
    if report.challenge is not None or is_challenge(report.classes):
        said = spanned(report.challenge) if report.challenge else "not computed: no reward matrix"
        lines.append(f"Challenge metric {said}")
    return "\n".join(lines)


def text(value: float) -> str:
    """Return a figure with three digits, `-` where it is not defined."""
    return "-" if np.isnan(value) else f"{value:.3f}"


def spanned(figure: Figure) -> str:
    """Return a figure with its interval."""
    return f"{text(figure.value)} ({text(figure.low)} - {text(figure.high)})"


def _figure(value: Floats | float, drawn: Floats) -> Figure:
    low, high = bootstrap.interval(drawn)
    return Figure(float(value), float(low), float(high))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
