"""The model card: what the model is, what it was made from and how well it does, from measurements alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecg_edge.runtime.bundle import Metric
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.machine import Machine
from ecg_edge.train.evaluation import Report
from ecg_edge.train.finetune_settings import FinetuneSettings

CARD = "MODEL_CARD.md"

_ALONE = "A network of one branch, over {}. It"
_BOTH = "A network with two branches, one over {signal} and one over {spectrogram}, fused by {how}. It"
_FUSION = {
    "gate": ("a learned gate", "the gate, "),
    "concat": ("putting both side by side", ""),
    "csca": ("cross-attention between their maps", "the cross-attention, "),
}
"""How each fusion is told, and what of it stays in float besides the last layer."""

_PTBXL_SOURCES = ("ptbxl", "ptbxl_z")
_PTBXL = "PTB-XL (Wagner et al. 2020, doi 10.1038/s41597-020-0495-6)"
_CHALLENGE = "the PhysioNet/CinC Challenges' data (Perez Alday et al. 2020, doi 10.1088/1361-6579/abc960)"


@dataclass(frozen=True)
class ModelFacts:
    """What the card tells besides measurements."""

    name: str
    """Of the bundle."""
    task: str
    """Name of the task that it answers."""
    settings: FinetuneSettings
    """Of the training."""
    pretrained: bool
    """Whether its branches started from self-distillation."""
    tutored: bool
    """Whether it learned from trees over measurements as well."""
    teachers: int
    """How many networks it was distilled from; 0 for none."""
    thresholds: str
    """What the thresholds were fitted for: `challenge` or `f1`."""
    parameters: int
    """Trained ones."""
    multiply_accumulates: int
    """Of one window."""
    model_bytes: Mapping[str, int]
    """Size of each backend's INT8 model."""
    like: Mapping[str, str] | None
    """Name and hash of the bundle whose thresholds these are, where the network was trained on every fold but the
    reported one; None where validation folds chose."""
    latency_ms: Mapping[str, float]
    """Median time of a call of each format on this machine; empty where it was not asked for."""
    data: dict[str, int]
    """Records learned from, by source."""
    float_nodes: Sequence[str]
    """Nodes of the ONNX graph left in float because INT8 hurt there."""


@dataclass(frozen=True)
class GroupFigures:
    """Figures of a part of the measured records, or of all of them with fewer leads."""

    kind: str
    """`records` or `leads`."""
    name: str
    """Which part, or which leads."""
    report: Report
    """Of the INT8 ONNX model."""


def render(
    facts: ModelFacts,
    classes: Sequence[ClassInfo],
    metrics: Sequence[Metric],
    report: Report,
    measured_on: str,
    parts: Sequence[GroupFigures],
) -> str:
    """Return the card's Markdown.

    report: of the INT8 ONNX model on the records that `measured_on` names; parts: of the same records.
    """
    trained = ", ".join(f"{source} {count}" for source, count in sorted(facts.data.items()))
    goal = {"challenge": "the Challenge metric", "f1": "the F1 of each class"}[facts.thresholds]
    fusion = _FUSION.get(facts.settings.network.fusion, ("", ""))[1]
    start = " Its branches were pretrained by self-distillation, without labels." if facts.pretrained else ""
    if facts.tutored:
        start += " Besides labels it learned from gradient-boosted trees over measurements of each record."
    if facts.teachers:
        start += f" It was distilled from {'a larger network' if facts.teachers == 1 else _several(facts.teachers)}."
    sizes = " and ".join(f"{size:,} bytes ({kind})" for kind, size in facts.model_bytes.items())
    lines = [
        f"# Model card: {facts.name}",
        "",
        "Research software, not a medical device. Its output is no diagnosis and must not guide treatment.",
        "",
        "## What it is",
        "",
        f"{_shape(facts.settings)} gives a probability for each of the {len(classes)} classes of the task "
        f"`{facts.task}`; several can be present at once. Missing leads are zero in its inputs{_leads(facts.settings)}."
        f"{start}",
        "",
        f"- {facts.parameters:,} parameters, {facts.multiply_accumulates / 1e6:.1f} million multiply-accumulates "
        "per window",
        f"- INT8 (8-bit activations, 8-bit weights with a scale for each channel): {sizes}",
        f"- in float, in the ONNX model: {fusion}the last layer{_also(facts.float_nodes)}",
        "",
        "## Data",
        "",
        f"Trained on {sum(facts.data.values())} records ({trained}){_parts(facts)}. {_choice(facts, goal)}",
        f"{_sources(facts)} licensed CC BY 4.0.",
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
            info.code or "-",
            f"{info.threshold:.3f}",
            str(report.positives[k]),
            _number(figure.value),
            span,
            _number(report.sensitivity[k]),
            _number(report.ppv[k]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += _parts_table(parts, measured_on)
    lines += _latency(facts)
    return "\n".join([*lines, *_limits(facts, classes, report)]) + "\n"


def _parts_table(parts: Sequence[GroupFigures], measured_on: str) -> list[str]:
    """Return the tables of parts of the records and of fewer leads."""
    heads = {
        "records": ("By group", "group", "the same model and records, group by group; small groups have few classes"),
        "leads": ("With fewer leads", "leads", "the same records with all other leads taken away"),
    }
    lines = []
    for kind, (title, column, told) in heads.items():
        rows = [part for part in parts if part.kind == kind]
        if not rows:
            continue
        lines += [
            "",
            f"## {title}",
            "",
            f"INT8 (onnx), {measured_on}: {told}. Macro AUROC over the classes with at least "
            f"{rows[0].report.min_positives} positives in that group.",
            "",
            f"| {column} | records | classes | macro AUROC | 95 % interval |",
            "| --- | ---: | ---: | --- | --- |",
        ]
        for part in rows:
            figure = part.report.macro_auroc
            span = f"{_number(figure.low)} to {_number(figure.high)}" if not np.isnan(figure.low) else "-"
            cells = (part.name, str(part.report.records), str(part.report.classes_averaged), _number(figure.value))
            lines.append(f"| {' | '.join(cells)} | {span} |")
    return lines


def _latency(facts: ModelFacts) -> list[str]:
    if not facts.latency_ms:
        return []
    cells = "; ".join(f"{kind} {ms:.3f} ms" for kind, ms in facts.latency_ms.items())
    return [
        "",
        "## Latency",
        "",
        f"Median of one call on one thread, the formats in turns, on {Machine().cpu}: {cells}. "
        "`ecg-edge bench` measures it on yours.",
    ]


def _choice(facts: ModelFacts, goal: str) -> str:
    """Return what chose, in words."""
    if facts.like is None:
        return (
            f"Fold {_list(facts.settings.valid_folds)} of PTB-XL chose the epoch, the blocks kept in float and the "
            f"thresholds, which were fitted for {goal}."
        )
    return (
        "Nothing was chosen on these records: settings and thresholds are those of the same recipe trained with "
        f"validation folds (bundle `{facts.like['name']}` with the manifest {facts.like['sha256'][:16]}), where they "
        f"were fitted for {goal}."
    )


def _several(count: int) -> str:
    return f"{count} larger networks (the mean of their logits)"


def _shape(settings: FinetuneSettings) -> str:
    network = settings.network
    signal = f"{settings.window_seconds:g} s of 12-lead ECG at 100 Hz"
    if network.fusion == "time":
        return _ALONE.format(signal)
    if network.fusion == "spectrogram":
        return _ALONE.format(f"the log-power spectrogram of {signal}")
    return _BOTH.format(signal=signal, spectrogram="its log-power spectrogram", how=_FUSION[network.fusion][0])


def _leads(settings: FinetuneSettings) -> str:
    fewer = settings.augment.lead_set_probability > 0 or settings.augment.lead_drop_probability > 0
    return ", and training included windows with fewer leads" if fewer else ""


def _parts(facts: ModelFacts) -> str:
    parts = []
    if any(source in _PTBXL_SOURCES for source in facts.data):
        parts.append(f"PTB-XL's patients of folds {_list(facts.settings.train_folds)}")
    if any(source not in _PTBXL_SOURCES for source in facts.data):
        parts.append("the other sources, without PTB-XL's ECGs of other folds")
    part = f", {facts.settings.label_fraction:g} of the patients" if facts.settings.label_fraction < 1 else ""
    return f": {', and '.join(parts)}{part}"


def _sources(facts: ModelFacts) -> str:
    """Return the data with their citations, and the verb: PTB-XL is always there, since its folds validate."""
    others = any(source not in _PTBXL_SOURCES for source in facts.data)
    return f"{_PTBXL} and {_CHALLENGE} are" if others else f"{_PTBXL} is"


def _limits(facts: ModelFacts, classes: Sequence[ClassInfo], report: Report) -> list[str]:
    rare = [c.abbreviation for c, n in zip(classes, report.positives, strict=True) if n < report.min_positives]
    return [
        "",
        "## Not to be used",
        "",
        "- for diagnosis, treatment or triage of a person, or as the only watch over one;",
        "- to rule anything out: a class below its threshold, or one that the model does not have, may be present;",
        "- on other signals than the front end's own (`ecg-edge bundle show` tells the contract), or through a front "
        "end that filters otherwise;",
        "- for children, exercise, or paced rhythms without figures of one's own.",
        "",
        "## Limits",
        "",
        *(
            ["- Figures of other sources than PTB-XL are not here, since all that is at hand of them was trained on."]
            if any(source not in _PTBXL_SOURCES for source in facts.data)
            else []
        ),
        f"- Classes with fewer than {report.min_positives} positives here are not in the macro averages, and nothing "
        f"can be said of how well they are found: {', '.join(rare) or 'none'}.",
        "- Labels are those of the databases: one or two readers, and classes that a source does not use at all.",
        "- New hospitals cost accuracy: figures on one database do not carry over to another.",
        "- Training records of the source ptbxl_z, where there are any, had lost their millivolts and were given "
        "typical amplitudes, so findings defined by voltage (low QRS voltages, hypertrophy) were learned in part "
        "from guessed voltages.",
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
