"""What docs/results.md says besides the study: the teachers of the shipped networks, and their cross-validation."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .evaluation import MIN_POSITIVES, Report, evaluate_predictions, is_challenge
from .metrics import Floats
from .predictions import Predictions, ensemble, load
from .report import markdown
from .report.cv_summary import JSON
from .trees import TREES


def teacher_facts(folders: Sequence[Path], weights: Floats | None) -> dict[str, Any]:
    """Return figures of each run of `finetune --report-fold` in `folders`, and of all as one, by task, as JSON types.

    A folder of `trees --report-fold` is told apart: alone, and as one with the networks' mean, at the same weight.
    Raises PredictionsError where they were judged on different records, EcgEdgeError where there are none.
    """
    found: dict[str, Any] = {}
    for path in sorted({p.name for folder in folders for p in folder.glob("test-*.npz")}):
        told = [load(folder / path) for folder in folders if (folder / path).is_file()]
        trees = [m for m in told if m.facts["fusion"] == TREES]
        members = [m for m in told if m.facts["fusion"] != TREES]
        if not members:
            continue
        rows = [_row(m, f"seed {m.facts['seed']}, {m.facts['epochs']} epochs", weights) for m in members]
        together = ensemble(members) if len(members) > 1 else members[0]
        if len(members) > 1:
            rows.append(_row(together, f"mean logits of the {len(members)}", weights))
        for tree in trees:
            rows.append(_row(tree, "trees over measurements", weights))
            rows.append(_row(ensemble([together, tree]), "mean logits of networks and trees", weights))
        first = members[0].facts
        found[first["task"]] = {
            "split": first["split"], "fusion": first["fusion"], "pretrained": first["pretrained"] is not None,
            "tutored": first.get("tutor") is not None,
            "training_records": first["training_records"], "rows": rows,
        }  # fmt: skip
    if not found:
        raise EcgEdgeError(f"no predictions in {', '.join(map(str, folders))}: run ecg-edge finetune --report-fold N")
    return found


def _row(predictions: Predictions, name: str, weights: Floats | None) -> dict[str, Any]:
    report: Report = evaluate_predictions(predictions, weights if is_challenge(predictions.classes) else None)
    return {
        "name": name, "records": report.records, "classes": report.classes_averaged,
        "macro_auroc": report.macro_auroc.to_json(),
        "macro_auprc": report.macro_auprc.to_json(),
        "macro_f1": report.macro_f1.to_json(),
        "challenge": None if report.challenge is None else report.challenge.to_json(),
    }  # fmt: skip


def crossval_facts(folder: Path) -> dict[str, Any]:
    """Return the figures that `ecg-edge crossval` left in `folder`, by task; raises EcgEdgeError without any."""
    paths = sorted(folder.glob(f"summary-*/{JSON}"))
    if not paths:
        raise EcgEdgeError(f"{folder} has no summary: run ecg-edge crossval --out {folder} to its end")
    found = {}
    for path in paths:
        task = path.parent.name.removeprefix("summary-")
        parts = [load(part).facts for part in sorted(folder.glob(f"*/test-{task}.npz"))]
        found[task] = {
            "figures": json.loads(path.read_text(encoding="utf-8"))["figures"],
            "epochs": sorted({part["epochs"] for part in parts}),
            "pretrained": any(part["pretrained"] is not None for part in parts),
            "tutored": any(part.get("tutor") is not None for part in parts),
        }
    return found


def render_teachers(facts: dict[str, Any]) -> list[str]:
    """Return the section on the teachers."""
    lines = ["", "## The edge preset, trained in full"]
    for name, part in facts.items():
        start = "self-distilled" if part["pretrained"] else "random"
        tutor = ", tutored by trees" if part.get("tutored") else ""
        first = part["rows"][0]
        lines += [
            "",
            f"{name}: `{part['fusion']}` from {start} branches{tutor}, {part['training_records']} records; "
            f"{part['split']}, {first['records']} records, {first['classes']} classes with at least "
            f"{MIN_POSITIVES} positives.",
            "",
            *markdown.table(
                ("network", "macro AUROC", "macro AUPRC", "macro F1", "Challenge metric"),
                [
                    (row["name"], *(_spanned(row[k]) for k in ("macro_auroc", "macro_auprc", "macro_f1", "challenge")))
                    for row in part["rows"]
                ],
            ),
        ]
    return lines


def render_crossval(facts: dict[str, Any]) -> list[str]:
    """Return the section on cross-validation."""
    lines = [
        "",
        "## Cross-validation of the edge preset",
        "",
        "Each fold is tested once by a network that was neither trained nor chosen on it; the fold after it chooses "
        "epoch and thresholds.",
    ]
    for name, part in facts.items():
        figures = part["figures"]
        start = "self-distilled branches, pretrained for each fold" if part["pretrained"] else "random branches"
        tutor = ", with a tutor fitted for each fold" if part.get("tutored") else ""
        lines += ["", f"{name}: {', '.join(map(str, part['epochs']))} epochs from {start}{tutor}."]
        count = len(next(iter(figures.values()))["folds"])
        head = (name, *(f"fold {k + 1}" for k in range(count)), "mean", "deviation", "pooled (95 %)")
        rows = [
            (
                figure,
                *(_number(v) for v in found["folds"]),
                _number(found["mean"]),
                _number(found["deviation"]),
                _spanned(found["pooled"]),
            )
            for figure, found in figures.items()
        ]
        lines += ["", *markdown.table(head, rows)]
    return lines


def _spanned(figure: dict[str, float | None] | None) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    return f"{_number(figure['value'])} ({_number(figure['low'])} - {_number(figure['high'])})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
