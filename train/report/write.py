"""A report on predictions as a folder: report.md, report.json and the plots they name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import bootstrap
from ..evaluation import MIN_POSITIVES, Report, evaluate_predictions
from ..metrics import Bools, Floats
from ..predictions import Predictions
from . import markdown, plots

MARKDOWN, JSON = "report.md", "report.json"
ROC, RELIABILITY, AUROC = "roc.png", "reliability.png", "auroc.png"


def write_report(
    folder: Path,
    predictions: Predictions,
    weights: Floats | None = None,
    min_positives: int = MIN_POSITIVES,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
    decisions: Bools | None = None,
    members: Mapping[str, Report] | None = None,
) -> Report:
    """Write the report into `folder`, which is made, over an earlier one; return what it is written from.

    weights: reward matrix, for the Challenge's classes; decisions: (N, K), instead of those of the thresholds;
    members: reports by name of the models that an ensemble's predictions were made from.
    """
    report = evaluate_predictions(predictions, weights, min_positives, resamples, seed, decisions)
    folder.mkdir(parents=True, exist_ok=True)
    plots.auroc_intervals(report, folder / AUROC)
    plots.roc_curves(predictions, report, folder / ROC)
    plots.reliability(predictions, report, folder / RELIABILITY)
    captions = {"AUROC by class": AUROC, "ROC curves": ROC, "Reliability": RELIABILITY}
    write_text(folder / MARKDOWN, markdown.render(predictions, report, captions, members, decisions is None))
    content: dict[str, Any] = {
        "facts": predictions.facts,
        "thresholds": None if decisions is not None else {c.abbreviation: c.threshold for c in predictions.classes},
        "report": report.to_json(),
        "members": {name: member.to_json() for name, member in (members or {}).items()},
    }
    write_text(folder / JSON, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return report


def write_text(path: Path, content: str) -> None:
    """Write a text file whole or not at all."""
    working = path.with_name(f".{path.name}")
    working.write_text(content, encoding="utf-8")
    working.replace(path)
