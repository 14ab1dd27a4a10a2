"""`ecg-edge export`: quantize a trained network to INT8 and write its bundle.

The float graph is left beside the checkpoint as float.onnx. Validation records choose the layers that stay in float
and the thresholds; with --report-fold, INT8 and float are measured on that fold, which nothing was chosen on.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends import probabilities
from ecg_edge.runtime.bundle import Metric
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.contract import Contract
from ecg_edge.train import checkpoint
from ecg_edge.train.challenge_metric import read_weights
from ecg_edge.train.commands.finetune import tell_broken
from ecg_edge.train.evaluation import Report, evaluate
from ecg_edge.train.finetune import Windows, macro_auroc, trained_network, training_labels, whole_windows
from ecg_edge.train.labels import CLASSES, CODES
from ecg_edge.train.records.index import build_index, split
from ecg_edge.train.records.tables import FOLDS
from ecg_edge.train.settings import FinetuneSettings, preset_options
from ecg_edge.train.store import RecordStore, open_store
from ecg_edge.train.thresholds import fit_challenge, fit_f1

from ..bundle_writer import BundleParts, write_bundle
from ..card import ModelFacts, render
from ..onnx import export_float, multiply_accumulates
from ..quantize import Quantized, choose_calibration, graph_logits, quantize_selectively

FLOAT_GRAPH, INT8_GRAPH = "float.onnx", "int8.onnx"
WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="best.pt of a training run")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with ptbxl, ptbxl_z or cinc2020 in it"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the bundle")
    parser.add_argument("--name", default="arrhythmia", help="name of the bundle (default: arrhythmia)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("cache"),
        metavar="DIR",
        help="folder of conditioned records (default: cache)",
    )
    parser.add_argument(
        "--thresholds",
        choices=("challenge", "f1"),
        default="challenge",
        help=f"what the thresholds make best on the validation folds: the F1 of each class, or the Challenge metric "
        f"with the reward matrix in DATA/{WEIGHTS} (default: challenge)",
    )
    parser.add_argument(
        "--report-fold",
        type=int,
        choices=FOLDS,
        metavar="N",
        help="fold to measure on, trained on and chosen on by nobody (default: report on the validation folds)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the bundle and print its figures. Raises EcgEdgeError where inputs cannot be used."""
    trained = checkpoint.load(args.checkpoint)
    settings, contract = FinetuneSettings.from_dict(trained["settings"]), Contract.from_dict(trained["contract"])
    if trained["codes"] != list(CODES):
        raise EcgEdgeError(f"{args.checkpoint} was trained on other classes than this version knows: train again")
    network = trained_network(trained)

    weights_path = args.data / WEIGHTS
    weights = read_weights(weights_path) if weights_path.is_file() else None
    if weights is None and args.thresholds == "challenge":
        raise EcgEdgeError(f"no reward matrix {weights_path}: fetch it, or use --thresholds f1")

    report_folds = () if args.report_fold is None else (args.report_fold,)
    index = build_index(args.data, settings.sources)
    sides = split(index, settings.train_folds, settings.valid_folds, report_folds)
    progress = sys.stderr.isatty()
    train = open_store(sides.train, contract, args.cache, progress)
    valid = open_store(sides.valid, contract, args.cache, progress)
    tell_broken((*index.broken, *train.broken, *valid.broken))
    calibration, validation = _calibration(train, contract), whole_windows(valid, contract)

    folder = args.checkpoint.parent
    float_graph, int8_graph = folder / FLOAT_GRAPH, folder / INT8_GRAPH
    export_float(network, contract, float_graph)
    quantized = quantize_selectively(
        float_graph, int8_graph, calibration, validation, lambda logits: macro_auroc(validation.labels, logits)
    )

    p = probabilities(graph_logits(int8_graph, validation))
    fitted = (
        fit_f1(validation.labels, p)
        if args.thresholds == "f1" or weights is None
        else fit_challenge(validation.labels, p, weights)
    )
    classes = [replace(info, threshold=round(float(t), 4)) for info, t in zip(CLASSES, fitted.values, strict=True)]

    measured = [_Measured(valid, validation, "ptbxl", f"fold {_list(settings.valid_folds)}, thresholds fitted here")]
    if report_folds:
        report_store = open_store(sides.test, contract, args.cache, progress)
        tell_broken(report_store.broken)
        windows = whole_windows(report_store, contract)
        measured.append(_Measured(report_store, windows, "ptbxl", f"fold {args.report_fold}, patients apart"))
    reports = [
        (m, kind, m.report(graph, classes, weights))
        for m in measured
        for kind, graph in (("int8", int8_graph), ("float", float_graph))
    ]
    metrics = [figure for m, kind, report in reports for figure in _figures(m, kind, report)]
    facts = ModelFacts(
        name=args.name,
        parameters=network.parameters_count(),
        multiply_accumulates=multiply_accumulates(float_graph),
        model_bytes=int8_graph.stat().st_size,
        data=dict(sorted(_by_source(train).items())),
        train_folds=settings.train_folds,
        valid_folds=settings.valid_folds,
        float_nodes=quantized.float_nodes,
    )
    final, _, card_report = reports[-2]  # the INT8 graph on the last set measured
    written = write_bundle(
        BundleParts(
            name=args.name,
            version=version("ecg-edge"),
            classes=classes,
            contract=contract,
            model=int8_graph.read_bytes(),
            card=render(facts, classes, metrics, card_report, f"{final.data}, {final.split}"),
            metrics=metrics,
            provenance=_provenance(args, trained, facts, quantized),
        ),
        args.out,
    )
    for figure in metrics:
        print(f"{figure.data}, {figure.split}: {figure.metric} {figure.value:.4f}{_interval(figure)}")
    sizes = sum(info.bytes for info in written.manifest.files.values())
    print(f"{args.out}: {sizes} bytes; in float: {', '.join(quantized.float_groups) or 'no block'}")
    return 0


class _Measured:
    """A set of records to measure on."""

    def __init__(self, store: RecordStore, windows: Windows, data: str, split: str) -> None:
        self.store, self.windows, self.data, self.split = store, windows, data, split

    def report(self, graph: Path, classes: Sequence[ClassInfo], weights: npt.NDArray[np.float64] | None) -> Report:
        """Return the report of a graph with the classes' thresholds."""
        p = probabilities(graph_logits(graph, self.windows))
        decisions = p > np.array([info.threshold for info in classes])
        return evaluate(classes, self.windows.labels, decisions, p, [e.patient for e in self.store.entries], weights)


def _figures(measured: _Measured, kind: str, report: Report) -> list[Metric]:
    least = f"at least {report.min_positives} positives: {report.classes_averaged} classes"
    found = [(f"macro_auroc ({kind}; {least})", report.macro_auroc)]
    if report.challenge is not None:
        found.append((f"challenge_metric ({kind})", report.challenge))
    where = f"{measured.split}, {report.records} records"
    return [
        Metric(measured.data, where, name, *(round(v, 4) for v in (f.value, f.low, f.high)))
        for name, f in found
        if not math.isnan(f.value)  # no class has enough positives
    ]


def _calibration(train: RecordStore, contract: Contract) -> Windows:
    labels, _ = training_labels(train.entries)
    chosen = choose_calibration(labels, [entry.source for entry in train.entries])
    return whole_windows(train, contract, [int(k) for k in chosen])


def _by_source(store: RecordStore) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in store.entries:
        counts[entry.source] = counts.get(entry.source, 0) + 1
    return counts


def _provenance(
    args: argparse.Namespace, trained: dict[str, Any], facts: ModelFacts, quantized: Quantized
) -> dict[str, Any]:
    options = preset_options(FinetuneSettings.from_dict(trained["settings"])) or ["--preset", "SETTINGS.toml"]
    packages = ("torch", "onnx", "onnxruntime", "numpy")
    return {
        "commands": [
            shlex.join(["ecg-edge", "finetune", "--data", "DIR", *options, "--out", "RUN"]),
            shlex.join(["ecg-edge", "export", "--checkpoint", "RUN/best.pt", "--data", "DIR", *_export_options(args)]),
        ],
        "settings": trained["settings"],
        "history": {
            "epochs": len(trained["history"]),
            "validation_macro_auroc": round(trained["history"][-1]["valid_macro_auroc"], 4),
        },
        "training_records": facts.data,
        "parameters": facts.parameters,
        "multiply_accumulates": facts.multiply_accumulates,
        "quantization": {k: _rounded(v) for k, v in asdict(quantized).items()},
        "versions": {package: version(package) for package in packages},
    }


def _export_options(args: argparse.Namespace) -> list[str]:
    options = ["--name", args.name, "--thresholds", args.thresholds, "--out", "BUNDLE"]
    return options if args.report_fold is None else [*options, "--report-fold", str(args.report_fold)]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return round(value, 5) if isinstance(value, float) else value


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _interval(metric: Metric) -> str:
    return "" if metric.low is None else f" ({metric.low:.4f} to {metric.high:.4f})"
