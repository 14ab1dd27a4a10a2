"""The model card: what the model is, what it was made from and how well it does, from measurements alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecg_edge.runtime.bundle import Metric
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.train.evaluation import Report

CARD = "MODEL_CARD.md"


@dataclass(frozen=True)
class ModelFacts:
    """What the card tells besides measurements."""

    name: str
    """Of the bundle."""
    parameters: int
    """Trained ones."""
    multiply_accumulates: int
    """Of one window."""
    model_bytes: int
    """Size of the INT8 graph."""
    data: dict[str, int]
    """Training records by source."""
    train_folds: Sequence[int]
    """Folds of PTB-XL trained on."""
    valid_folds: Sequence[int]
    """Folds that chose the epoch, the layers in float and the thresholds."""
    float_nodes: Sequence[str]
    """Nodes left in float because INT8 hurt there."""


def render(
    facts: ModelFacts, classes: Sequence[ClassInfo], metrics: Sequence[Metric], report: Report, measured_on: str
) -> str:
    """Return the card's Markdown. report: of the INT8 model on the records that `measured_on` names."""
    trained = ", ".join(f"{source} {count}" for source, count in sorted(facts.data.items()))
    lines = [
        f"# Model card: {facts.name}",
        "",
        "Research software, not a medical device. Its output is no diagnosis and must not guide treatment.",
        "",
        "## What it is",
        "",
        "A network with two branches, one over 10 s of 12-lead ECG at 100 Hz and one over its log-power spectrogram, "
        "fused by a learned gate. It gives a probability for each class; several can be present at once. Missing "
        "leads are zero in both inputs, and training included windows with one lead only.",
        "",
        f"- {facts.parameters:,} parameters, {facts.multiply_accumulates / 1e6:.1f} million multiply-accumulates "
        "per window",
        f"- INT8 (activations uint8, weights int8 per channel), {facts.model_bytes:,} bytes",
        f"- in float: the gate, the last layer{_also(facts.float_nodes)}",
        "",
        "## Data",
        "",
        f"Trained on {sum(facts.data.values())} records ({trained}): PTB-XL's patients of folds "
        f"{_list(facts.train_folds)}, and the other sources of the PhysioNet/CinC Challenge 2020 whole. Fold "
        f"{_list(facts.valid_folds)} chose the epoch, the blocks kept in float and the thresholds.",
        "PTB-XL (Wagner et al. 2020, doi 10.1038/s41597-020-0495-6) and the Challenge's data (Perez Alday et al. "
        "2020, doi 10.1088/1361-6579/abc960) are licensed CC BY 4.0.",
        "",
        "## Measured",
        "",
        "| data | split | figure | value | 95 % interval |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {m.data} | {m.split} | {m.metric} | {m.value:.4f} | {_interval(m)} |" for m in metrics),
        "",
        f"The INT8 model on {measured_on}, by class (AUROC with its interval; sensitivity and positive predictive "
        "value at the threshold that ships):",
        "",
        "| class | SNOMED CT | threshold | positives | AUROC | 95 % interval | sensitivity | PPV |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for k, info in enumerate(classes):
        figure = report.auroc[k]
        span = f"{_number(figure.low)} to {_number(figure.high)}" if report.positives[k] else "-"
        cells = (
            f"{info.name} ({info.abbreviation})",
            info.code,
            f"{info.threshold:.3f}",
            str(report.positives[k]),
            _number(figure.value),
            span,
            _number(report.sensitivity[k]),
            _number(report.ppv[k]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *_limits(classes, report)]) + "\n"


def _limits(classes: Sequence[ClassInfo], report: Report) -> list[str]:
    rare = [c.abbreviation for c, n in zip(classes, report.positives, strict=True) if n < report.min_positives]
    return [
        "",
        "## Limits",
        "",
        f"- Classes with fewer than {report.min_positives} positives here are not in the macro averages, and nothing "
        f"can be said of how well they are found: {', '.join(rare) or 'none'}.",
        "- Labels are those of the databases: one or two readers, and classes that a source does not use at all.",
        "- New hospitals cost accuracy: figures on one database do not carry over to another.",
        "- Training records of the source ptbxl_z, where there are any, had lost their millivolts and were given "
        "typical amplitudes, so findings defined by voltage (low QRS voltages) were learned in part from "
        "guessed voltages.",
        "- Adults, at rest. Not validated on children, on ambulatory or exercise recordings, or on paced rhythms "
        "beyond the few in the data.",
    ]


def _also(nodes: Sequence[str]) -> str:
    return f", and {', '.join(f'`{node}`' for node in nodes)}" if nodes else ""


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _interval(metric: Metric) -> str:
    return "-" if metric.low is None or metric.high is None else f"{metric.low:.4f} to {metric.high:.4f}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
