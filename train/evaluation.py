"""One report on decisions and scores of the 24 classes: figures per class, averages, intervals."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import bootstrap, labels, metrics
from .challenge_metric import challenge_metric
from .metrics import Bools, Floats


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

    records: int
    """How many records they rest on."""
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
    sensitivity: Floats
    """Of each class."""
    ppv: Floats
    """Positive predictive value of each class."""
    macro_auroc: Figure
    """Mean over the classes with enough positives."""
    macro_auprc: float
    """The same mean of average precisions."""
    macro_f1: float
    """The same mean of F1."""
    macro_f2: float
    """Challenge's F2: over all classes that are present or decided, records sharing their weight among labels."""
    macro_g2: float
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
        classes = {
            info.abbreviation: {
                "code": info.code,
                "positives": int(self.positives[k]),
                "auroc": self.auroc[k].to_json(),
                "auprc": _number(self.auprc[k]),
                "f1": _number(self.f1[k]),
                "sensitivity": _number(self.sensitivity[k]),
                "ppv": _number(self.ppv[k]),
            }
            for k, info in enumerate(labels.CLASSES)
        }
        return {
            "records": self.records,
            "min_positives": self.min_positives,
            "classes_averaged": self.classes_averaged,
            "macro_auroc": self.macro_auroc.to_json(),
            "macro_auprc": _number(self.macro_auprc),
            "macro_f1": _number(self.macro_f1),
            "macro_f2": _number(self.macro_f2),
            "macro_g2": _number(self.macro_g2),
            "challenge_metric": self.challenge.to_json() if self.challenge else None,
            "classes": classes,
        }


def evaluate(
    truth: Bools,
    decisions: Bools,
    scores: npt.NDArray[np.floating],
    patients: Sequence[Hashable],
    weights: Floats | None = None,
    min_positives: int = 5,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> Report:
    """Return the report; truth, decisions and scores are (records, 24), patients the group key of each record.

    weights: reward matrix of the Challenge metric, None to leave that out. Raises ValueError for shapes that
    differ or no records.
    """
    drawn = bootstrap.resample(patients, resamples, seed)
    positives = truth.sum(axis=0)
    auroc, auroc_drawn = metrics.auroc(truth, scores), metrics.auroc(truth, scores, drawn)
    auprc = metrics.average_precision(truth, scores)
    counts = metrics.count(truth, decisions)
    shared = metrics.count(truth, decisions, share_records=True)
    met = (shared.tp + shared.fp + shared.fn > 0).astype(np.int64)
    challenge = None
    if weights is not None:
        challenge = _figure(
            challenge_metric(weights, truth, decisions), challenge_metric(weights, truth, decisions, drawn)
        )
    return Report(
        records=len(truth),
        min_positives=min_positives,
        positives=positives,
        auroc=tuple(_figure(auroc[k], auroc_drawn[:, k]) for k in range(truth.shape[1])),
        auprc=auprc,
        f1=counts.f_beta(),
        sensitivity=counts.sensitivity,
        ppv=counts.ppv,
        macro_auroc=_figure(
            metrics.macro(auroc, positives, min_positives), metrics.macro(auroc_drawn, positives, min_positives)
        ),
        macro_auprc=float(metrics.macro(auprc, positives, min_positives)),
        macro_f1=float(metrics.macro(counts.f_beta(), positives, min_positives)),
        macro_f2=float(metrics.macro(shared.f_beta(2), met)),
        macro_g2=float(metrics.macro(shared.g_beta(2), met)),
        challenge=challenge,
    )


def table(report: Report) -> str:
    """Return the report as lines of text."""
    lines = [f"{'class':8} {'pos':>5} {'AUROC':>6} {'95 % interval':>15} {'AUPRC':>6} {'F1':>6} {'sens':>6} {'PPV':>6}"]
    for k, info in enumerate(labels.CLASSES):
        figure = report.auroc[k]
        cells = " ".join(f"{_text(v[k]):>6}" for v in (report.auprc, report.f1, report.sensitivity, report.ppv))
        span = "-" if np.isnan(figure.low) else f"{_text(figure.low)} - {_text(figure.high)}"
        lines.append(f"{info.abbreviation:8} {report.positives[k]:5d} {_text(figure.value):>6} {span:>15} {cells}")
    lines += [
        "",
        f"records          {report.records}",
        f"macro AUROC      {_spanned(report.macro_auroc)}, {report.classes_averaged} classes with at least "
        f"{report.min_positives} positives",
        f"macro AUPRC, F1  {_text(report.macro_auprc)}, {_text(report.macro_f1)} over the same classes",
        f"macro F2, G2     {_text(report.macro_f2)}, {_text(report.macro_g2)} as the Challenge averages them",
        "Challenge metric " + (_spanned(report.challenge) if report.challenge else "not computed: no reward matrix"),
    ]
    return "\n".join(lines)


def _figure(value: Floats | float, drawn: Floats) -> Figure:
    low, high = bootstrap.interval(drawn)
    return Figure(float(value), float(low), float(high))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _text(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _spanned(figure: Figure) -> str:
    return f"{_text(figure.value)} ({_text(figure.low)} - {_text(figure.high)})"
