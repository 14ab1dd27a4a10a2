"""What a bundle says of how it was made."""

import math
import shlex
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ecg_edge.train.command_lines import helping_commands, helping_options, preset_options, training_commands
from ecg_edge.train.finetune_settings import FinetuneSettings
from ecg_edge.train.settings import from_table, to_table
from ecg_edge.train.trained import Trained

from .card import ModelFacts
from .distill.settings import DistillSettings
from .gate import Limits, Verdict
from .quantize import Quantized

PACKAGES = ("torch", "onnx", "onnxruntime", "litert-torch", "ai-edge-quantizer", "numpy")
DECIMALS = 5  # of figures: the rest is not the same on the next machine


def check_repeatable(trained: Trained) -> None:
    """Raise SettingsError where another version's settings are behind the network, which no command here repeats."""
    _commands(trained)


def provenance(
    trained: Trained,
    facts: ModelFacts,
    quantized: Quantized,
    verdict: Verdict,
    limits: Limits,
    report_fold: int | None,
    teachers: int,
) -> dict[str, Any]:
    """Return the commands, settings, data and versions behind a bundle, as JSON types and without a path in them.

    teachers: how many it was compared with. Raises SettingsError where the network was pretrained with another
    version's settings.
    """
    export = ["ecg-edge", "export", "--checkpoint", "RUN/best.pt", "--data", "DIR", "--task", facts.task]
    export += ["--name", facts.name, "--thresholds", facts.thresholds, "--out", "BUNDLE"]
    for name, value in asdict(limits).items():
        if value != getattr(Limits(), name):
            export += [f"--{name.replace('_', '-')}", repr(value)]
    if report_fold is not None:
        export += ["--report-fold", str(report_fold)]
    for k in range(teachers):
        export += ["--teacher", f"TEACHER{k + 1}/best.pt"]
    if facts.like is not None:
        export += ["--like", "LIKE"]
    return {
        "commands": [*_commands(trained), shlex.join(export)],
        "task": facts.task,
        "settings": to_table(trained.settings),
        "init": trained.init,
        "tutor": trained.tutor,
        "distill": told_distillation(trained),
        "history": {
            "epochs": len(trained.history),
            "validation_macro_auroc": _rounded(trained.history[-1].get(f"valid_auroc_{facts.task}"), 4),
        },
        "training_records": facts.data,
        "like": None if facts.like is None else dict(facts.like),
        "parameters": facts.parameters,
        "multiply_accumulates": facts.multiply_accumulates,
        "quantization": _rounded(asdict(quantized), DECIMALS),
        "gate": {"limits": asdict(limits), "disagreement": _rounded(verdict.disagreement, DECIMALS)},
        "versions": {package: version(package) for package in PACKAGES},
    }


def told_distillation(trained: Trained) -> dict[str, Any] | None:
    """Return the weights of the distillation and the number of teachers; None for a network that learned by itself."""
    if trained.distill is None:
        return None
    return {k: v for k, v in trained.distill.items() if k != "student"} | {"teachers": len(trained.teachers)}


def _commands(trained: Trained) -> list[str]:
    """Return the shell lines that train the network: its teachers first, where it has any."""
    if trained.distill is None:
        return training_commands(trained.settings, trained.init, trained.tutor)
    lines: list[str] = []
    distill = ["ecg-edge", "distill", "--data", "DIR"]
    distill += preset_options("distill", from_table(DistillSettings, trained.distill))
    for k, teacher in enumerate(trained.teachers):
        settings = from_table(FinetuneSettings, teacher["settings"])
        folder = f"TEACHER{k + 1}"
        lines += training_commands(settings, teacher["init"], teacher.get("tutor"), folder)
        distill += ["--teacher", f"{folder}/best.pt"]
    lines += helping_commands(trained.init, trained.tutor)
    distill += helping_options(trained.init, trained.tutor)
    lines.append(shlex.join([*distill, "--out", "RUN"]))
    return list(dict.fromkeys(lines))


def _rounded(value: Any, decimals: int) -> Any:
    """Return JSON types: numbers rounded, NaN as None."""
    if isinstance(value, dict):
        return {k: _rounded(v, decimals) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v, decimals) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, decimals)
    return value
