"""From a study's runs to docs/results.md: figures with intervals, and what each network costs.

The figures of every run are written beside the page as JSON, from which the page can be made again without the runs.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ecg_edge.runtime.contract import Contract

from . import bootstrap, metrics
from .networks import size
from .networks.model import FusionNet
from .predictions import Predictions, load
from .study import Cell, StudySettings, cells
from .tasks import task
from .teacher_results import render_crossval, render_teachers

MIN_POSITIVES = 5  # of a class, for its AUROC to enter the mean


@dataclass(frozen=True)
class Figure:
    """Macro AUROC of one setting, over its seeds."""

    start: str
    """Where the branches come from."""
    fusion: str
    """How they are fused."""
    fraction: float
    """Part of the training patients whose labels are used."""
    task: str
    """What is judged."""
    seeds: tuple[float, ...]
    """Of each seed's network."""
    low: float
    """2.5th percentile, over resampled patients, of the mean over seeds."""
    high: float
    """97.5th percentile."""
    training_records: int
    """Labelled records of the first seed."""

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.seeds))


def figure(cell: Cell, name: str, runs: Sequence[Predictions]) -> Figure:
    """Return the figure of a setting from the predictions of each of its seeds, which are of the same records."""
    first = runs[0]
    if any(run.records != first.records for run in runs):
        raise ValueError(f"{cell.name}: the seeds were judged on different records")
    positives = first.truth.sum(axis=0)
    drawn = bootstrap.resample(first.patients)
    each, resampled = [], []
    for run in runs:
        each.append(float(metrics.macro(metrics.auroc(run.truth, run.logits), positives, MIN_POSITIVES)))
        resampled.append(metrics.macro(metrics.auroc(run.truth, run.logits, drawn), positives, MIN_POSITIVES))
    low, high = bootstrap.interval(np.mean(resampled, axis=0))
    s = cell.settings
    return Figure(
        cell.start, s.network.fusion, s.label_fraction, name, tuple(round(v, 4) for v in each),
        round(float(low), 4), round(float(high), 4), int(first.facts["training_records"]),
    )  # fmt: skip


def collect(study: StudySettings, out: Path) -> dict[str, Any]:
    """Return everything that the page says, as JSON types, from the finished runs in `out`.

    Settings of which no seed is done are left out and counted.
    """
    groups: dict[tuple[str, str, float], list[Cell]] = {}
    for cell in cells(study):
        key = (cell.start, cell.settings.network.fusion, cell.settings.label_fraction)
        groups.setdefault(key, []).append(cell)
    figures, missing, judged = [], 0, {}
    first = next(iter(groups.values()))[0].settings
    for members in groups.values():
        for name in first.tasks:
            paths = [out / cell.name / f"test-{name}.npz" for cell in members]
            runs = [load(path) for path in paths if path.is_file()]
            missing += len(paths) - len(runs)
            if runs:
                figures.append(figure(members[0], name, runs))
                enough = int((runs[0].truth.sum(axis=0) >= MIN_POSITIVES).sum())
                judged[name] = {
                    "records": len(runs[0].records), "patients": len(set(runs[0].patients)),
                    "classes": enough, "split": runs[0].facts["split"],
                }  # fmt: skip
    return {
        "figures": [vars(f) | {"seeds": list(f.seeds)} for f in figures],
        "missing_runs": missing,
        "judged": judged,
        "sizes": sizes(study),
        "epochs": study.epochs,
        "train_folds": list(first.train_folds),
        "valid_folds": list(first.valid_folds),
        "sources": list(first.sources),
        "seeds": list(study.seeds),
    }


def sizes(study: StudySettings) -> dict[str, dict[str, int]]:
    """Return parameters and multiply-accumulates of a window, of each fusion."""
    contract = Contract()
    signal = torch.zeros((1, len(contract.leads), 1, contract.window), dtype=torch.int16)
    image = torch.zeros((1, len(contract.leads), contract.stft_bins, contract.frames), dtype=torch.uint8)
    found = {}
    for cell in cells(study):
        name = cell.settings.network.fusion
        if name not in found:
            outputs = sum(len(task(t).classes) for t in cell.settings.tasks)
            network = FusionNet(cell.settings.network, len(contract.leads), outputs).eval()
            found[name] = {
                "parameters": size.parameters(network),
                "multiply_accumulates": size.multiply_accumulates(network, signal, image),
            }
    return found


def render(facts: dict[str, Any], command: str) -> str:
    """Return the tables as Markdown."""
    figures = [Figure(**{**f, "seeds": tuple(f["seeds"])}) for f in facts["figures"]]
    lines = [
        f"<!-- Written by `{command}`; edit the text around it in train/results.py. -->",
        "",
        "Macro AUROC, the mean over seeds "
        f"{', '.join(map(str, facts['seeds']))}, with the 95 % interval of that mean over resampled patients (it "
        "says how far the figure would move with other patients, not with other seeds; those follow in brackets). "
        f"Trained on folds {_list(facts['train_folds'])} of {_list(facts['sources'])} for {facts['epochs']} epochs, "
        f"epoch chosen on fold {_list(facts['valid_folds'])}.",
    ]
    if facts["missing_runs"]:
        lines += ["", f"**{facts['missing_runs']} of the planned runs are not done yet; their cells are empty.**"]
    for name, judged in facts["judged"].items():
        lines += [
            "",
            f"## {name}",
            "",
            f"{judged['split']}: {judged['records']} records of {judged['patients']} patients, the {judged['classes']} "
            f"classes with at least {MIN_POSITIVES} positives.",
            *_tables([f for f in figures if f.task == name], facts["sizes"]),
        ]
    if facts.get("teachers"):
        lines += render_teachers(facts["teachers"])
    if facts.get("crossval"):
        lines += render_crossval(facts["crossval"])
    return "\n".join(lines) + "\n"


def _tables(figures: Sequence[Figure], costs: dict[str, dict[str, int]]) -> list[str]:
    starts = list(dict.fromkeys(f.start for f in figures))
    lines: list[str] = []
    for fraction in sorted({f.fraction for f in figures}, reverse=True):
        part = [f for f in figures if f.fraction == fraction]
        records = part[0].training_records
        lines += ["", f"### {fraction:.0%} of the labels ({records} records)", ""]
        lines.append("| network | parameters | MMAC | " + " | ".join(starts) + " |")
        lines.append("| --- | ---: | ---: | " + " | ".join("---" for _ in starts) + " |")
        for fusion, cost in costs.items():
            row = [next((f for f in part if f.fusion == fusion and f.start == start), None) for start in starts]
            cells_ = " | ".join("" if f is None else _cell(f) for f in row)
            millions = cost["multiply_accumulates"] / 1e6
            lines.append(f"| {fusion} | {cost['parameters']:,} | {millions:.1f} | {cells_} |")
    return lines


def _cell(f: Figure) -> str:
    seeds = ", ".join(f"{v:.3f}" for v in f.seeds)
    return f"**{f.mean:.3f}** {f.low:.3f}–{f.high:.3f} [{seeds}]"


def _list(items: Sequence[Any]) -> str:
    return ", ".join(map(str, items))


def write(path: Path, facts: dict[str, Any], text: str) -> None:
    """Write the page, and the facts beside it with the suffix `.json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, content in ((path, text), (path.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")):
        working = target.with_name(f".{target.name}")
        working.write_text(content, encoding="utf-8")
        working.replace(target)
