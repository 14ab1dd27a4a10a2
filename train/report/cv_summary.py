"""A cross-validation in one page: figures of each test fold, their mean and spread, and all folds pooled."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import bootstrap
from ..evaluation import MIN_POSITIVES, Figure, Report, evaluate_predictions, text
from ..metrics import Floats
from ..predictions import Predictions, concatenate
from . import markdown, plots
from .write import write_text

MARKDOWN, JSON, PLOT = "crossval.md", "crossval.json", "folds.png"


@dataclass(frozen=True)
class CvSummary:
    """Reports on the test folds of one cross-validation."""

    folds: tuple[Report, ...]
    """One for each test fold, in the order given, decided by that fold's own thresholds."""
    pooled: Report
    """All test records at once, each decided by its fold's thresholds and scored by its fold's model."""

    def figures(self) -> dict[str, tuple[Figure, ...]]:
        """Return the main figures by name: of each fold, then pooled; the Challenge metric where it is defined."""
        reports = (*self.folds, self.pooled)
        found = {
            "macro AUROC": tuple(r.macro_auroc for r in reports),
            "macro AUPRC": tuple(r.macro_auprc for r in reports),
            "macro F1": tuple(r.macro_f1 for r in reports),
        }
        challenge = tuple(r.challenge for r in reports if r.challenge is not None)
        return found | ({"Challenge metric": challenge} if len(challenge) == len(reports) else {})

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON types; `deviation` is the sample standard deviation over folds."""
        return {
            "figures": {
                name: {
                    "folds": [f.to_json()["value"] for f in each[:-1]],
                    "mean": _number(mean),
                    "deviation": _number(deviation),
                    "pooled": each[-1].to_json(),
                }
                for name, each in self.figures().items()
                for mean, deviation in [spread(each[:-1])]
            },
            "folds": [report.to_json() for report in self.folds],
            "pooled": self.pooled.to_json(),
        }


def spread(figures: Sequence[Figure]) -> tuple[float, float]:
    """Return mean and sample standard deviation over the folds where a figure is defined, NaN where too few are."""
    values = np.array([f.value for f in figures])
    values = values[~np.isnan(values)]
    return (
        float(values.mean()) if len(values) else float("nan"),
        float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
    )


def summarize(
    parts: Sequence[Predictions],
    weights: Floats | None = None,
    min_positives: int = MIN_POSITIVES,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> CvSummary:
    """Return the summary of the predictions on each test fold.

    Raises PredictionsError where they are of different classes or two folds share a patient.
    """
    whole = concatenate(parts)
    decisions = np.concatenate([part.decisions for part in parts])
    return CvSummary(
        tuple(evaluate_predictions(part, weights, min_positives, resamples, seed) for part in parts),
        evaluate_predictions(whole, weights, min_positives, resamples, seed, decisions),
    )


def render(parts: Sequence[Predictions], summary: CvSummary, plot: str) -> str:
    """Return the page; plot: file name of the folds' plot."""
    facts, figures, whole = parts[0].facts, summary.figures(), concatenate(parts)
    rows = [
        (
            f"{k + 1}: {part.facts['split']}",
            str(report.records),
            str(report.classes_averaged),
            *(text(each[k].value) for each in figures.values()),
        )
        for k, (part, report) in enumerate(zip(parts, summary.folds, strict=True))
    ]
    spreads = [spread(each[:-1]) for each in figures.values()]
    rows.append(("mean", "", "", *(text(mean) for mean, _ in spreads)))
    rows.append(("standard deviation", "", "", *(text(deviation) for _, deviation in spreads)))
    seeds = ", ".join(dict.fromkeys(str(part.facts["seed"]) for part in parts))
    caption = "Each test fold, the mean of folds (dashed), and all pooled with the 95 % interval"
    lines = [
        f"# Cross-validation: {facts['task']}, {facts['model']}",
        "",
        markdown.DISCLAIMER,
        "",
        f"{len(parts)} test folds without a shared patient, each decided by the thresholds of its own predictions. "
        "That no model had trained on the records it predicts here, or was chosen by them, is for whoever made the "
        f"predictions to see to. Seeds: {seeds}.",
        "",
        "## Folds",
        "",
        *markdown.table(("test fold", "records", "classes averaged", *figures), rows),
        "",
        f"![{caption}]({plot})",
        "",
        "## All folds pooled",
        "",
        *markdown.counts(whole),
        "",
        *markdown.figures(summary.pooled),
        "",
        "## By class, pooled",
        "",
        *markdown.by_class(summary.pooled, thresholds=False),
        "",
        "## What is not to be concluded",
        "",
        "- The spread over folds is no confidence interval: their training sets overlap, and folds differ in which "
        f"classes reach {summary.pooled.min_positives} positives.",
        "- Pooled AUROC, AUPRC and ECE compare scores of different models; where they fall below the mean of the "
        "folds, the models' scales differ, or the pooled figure rests on rarer classes.",
        *markdown.limits(whole, summary.pooled),
    ]
    return "\n".join(lines) + "\n"


def write_cv_summary(
    folder: Path,
    parts: Sequence[Predictions],
    weights: Floats | None = None,
    min_positives: int = MIN_POSITIVES,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> CvSummary:
    """Write crossval.md, crossval.json and folds.png into `folder`, which is made; return the summary.

    Raises what `summarize` raises.
    """
    summary = summarize(parts, weights, min_positives, resamples, seed)
    folder.mkdir(parents=True, exist_ok=True)
    figures = summary.figures()
    plots.fold_figures(
        {name: [f.value for f in each[:-1]] for name, each in figures.items()},
        {name: each[-1] for name, each in figures.items()},
        folder / PLOT,
    )
    write_text(folder / MARKDOWN, render(parts, summary, PLOT))
    write_text(folder / JSON, json.dumps(summary.to_json(), indent=1, allow_nan=False) + "\n")
    return summary


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
