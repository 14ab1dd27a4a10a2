"""What a bundle says of how it was made."""

import math
import shlex
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ecg_edge.train.command_lines import training_commands
from ecg_edge.train.settings import to_table
from ecg_edge.train.trained import Trained

from .card import ModelFacts
from .quantize import Quantized

PACKAGES = ("torch", "onnx", "onnxruntime", "numpy")
DECIMALS = 5  # of figures: the rest is not the same on the next machine


def provenance(trained: Trained, facts: ModelFacts, quantized: Quantized, report_fold: int | None) -> dict[str, Any]:
    """Return the commands, settings, data and versions behind a bundle, as JSON types and without a path in them.

    Raises SettingsError where the network was pretrained with another version's settings.
    """
    export = ["ecg-edge", "export", "--checkpoint", "RUN/best.pt", "--data", "DIR", "--task", facts.task]
    export += ["--name", facts.name, "--thresholds", facts.thresholds, "--out", "BUNDLE"]
    if report_fold is not None:
        export += ["--report-fold", str(report_fold)]
    return {
        "commands": [*training_commands(trained), shlex.join(export)],
        "task": facts.task,
        "settings": to_table(trained.settings),
        "init": trained.init,
        "history": {
            "epochs": len(trained.history),
            "validation_macro_auroc": _rounded(trained.history[-1][f"valid_auroc_{facts.task}"], 4),
        },
        "training_records": facts.data,
        "parameters": facts.parameters,
        "multiply_accumulates": facts.multiply_accumulates,
        "quantization": _rounded(asdict(quantized), DECIMALS),
        "versions": {package: version(package) for package in PACKAGES},
    }


def _rounded(value: Any, decimals: int) -> Any:
    """Return JSON types: numbers rounded, NaN as None."""
    if isinstance(value, dict):
        return {k: _rounded(v, decimals) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v, decimals) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, decimals)
    return value
