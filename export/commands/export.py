"""`ecg-edge export`: quantize a trained network to INT8 and write its bundle, of one of the tasks it was trained for.

The float graph is left beside the checkpoint as float.onnx, the INT8 one as int8.onnx. Validation records choose the
layers that stay in float and the thresholds; with --report-fold, INT8 and float are measured on that fold, which
nothing was chosen on. Records that are not labelled for the task count in no figure.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends import probabilities
from ecg_edge.runtime.bundle import Metric
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.train.challenge_metric import read_weights
from ecg_edge.train.command_lines import training_commands
from ecg_edge.train.data import open_sides
from ecg_edge.train.distributed import World
from ecg_edge.train.finetune import learned_records, macro_auroc
from ecg_edge.train.records.tables import FOLDS
from ecg_edge.train.store import RecordStore
from ecg_edge.train.tasks import ARRHYTHMIA, TASKS, Task, task
from ecg_edge.train.thresholds import fit_challenge, fit_f1
from ecg_edge.train.trained import Trained, read_trained
from ecg_edge.train.windows import whole_windows

from ..bundle_writer import BundleParts, write_bundle
from ..card import ModelFacts, render
from ..measure import Measured, measured
from ..onnx import export_float, multiply_accumulates
from ..provenance import provenance
from ..quantize import choose_calibration, graph_logits, quantize_selectively

FLOAT_GRAPH, INT8_GRAPH = "float.onnx", "int8.onnx"
WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="best.pt of a training run")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with ptbxl, ptbxl_z or cinc2020 in it"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the bundle")
    parser.add_argument(
        "--task", choices=TASKS, help="whose classes the bundle has (default: the first that was trained)"
    )
    parser.add_argument("--name", help="name of the bundle (default: the task's)")
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
        help=f"what the thresholds make best on the validation folds: the F1 of each class, or the Challenge metric, "
        f"which {ARRHYTHMIA.name} has (default: challenge where its reward matrix DATA/{WEIGHTS} is there, else f1)",
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
    trained = read_trained(args.checkpoint)
    settings, contract = trained.settings, trained.contract
    answered = task(args.task or settings.tasks[0])
    network = trained.for_task(answered.name)
    _check(trained, args.report_fold)
    weights_path = args.data / WEIGHTS
    weights = read_weights(weights_path) if answered is ARRHYTHMIA and weights_path.is_file() else None
    goal = _goal(args.thresholds, answered, weights is not None, weights_path)

    folder = args.checkpoint.parent
    float_graph, int8_graph = folder / FLOAT_GRAPH, folder / INT8_GRAPH
    export_float(network, contract, float_graph)

    folds = (settings.train_folds, settings.valid_folds, () if args.report_fold is None else (args.report_fold,))
    progress = sys.stderr.isatty()
    sides = open_sides(args.data, settings.sources, *folds, contract, args.cache, World(), progress)
    valid = measured(sides.valid, answered, f"fold {_list(settings.valid_folds)}, thresholds fitted here")
    if (valid.labels.all(axis=0) | ~valid.labels.any(axis=0)).all():
        raise EcgEdgeError("no class has records with and without it in the validation folds: add records to --data")
    shown = [valid]
    if args.report_fold is not None:
        shown.append(measured(sides.test, answered, f"fold {args.report_fold}, patients apart"))

    learned = _learned(trained, sides.train)
    chosen = _calibration(answered, sides.train, learned)
    quantized = quantize_selectively(
        float_graph,
        int8_graph,
        whole_windows(sides.train, contract, chosen),
        valid.windows,
        lambda logits: macro_auroc(valid.labels, logits),
    )
    classes = _classes(answered, valid, int8_graph, weights if goal == "challenge" else None)
    reports = [
        (one, kind, one.report(graph, classes, weights))
        for one in shown
        for kind, graph in (("int8", int8_graph), ("float", float_graph))
    ]
    metrics = [figure for one, kind, report in reports for figure in one.figures(kind, report)]
    facts = ModelFacts(
        name=args.name or answered.name,
        task=answered.name,
        settings=settings,
        pretrained=trained.init is not None,
        thresholds=goal,
        parameters=network.parameters_count(),
        multiply_accumulates=multiply_accumulates(float_graph),
        model_bytes=int8_graph.stat().st_size,
        data=dict(sorted(Counter(sides.train.entries[k].source for k in learned).items())),
        float_nodes=quantized.float_nodes,
    )
    final, _, card_report = reports[-2]  # the INT8 graph on the last set measured
    written = write_bundle(
        BundleParts(
            name=facts.name,
            version=version("ecg-edge"),
            classes=classes,
            contract=contract,
            models={"onnx": int8_graph.read_bytes()},
            card=render(facts, classes, metrics, card_report, f"{final.data}, {final.split}"),
            metrics=metrics,
            provenance=provenance(trained, facts, quantized, args.report_fold),
        ),
        args.out,
    )
    for figure in metrics:
        print(f"{figure.data}, {figure.split}: {figure.metric} {figure.value:.4f}{_interval(figure)}")
    sizes = sum(info.bytes for info in written.manifest.files.values())
    print(f"{args.out}: {sizes} bytes; in float: {', '.join(quantized.float_groups) or 'no block'}")
    return 0


def _check(trained: Trained, report_fold: int | None) -> None:
    """Raise EcgEdgeError for what would fail, or lead astray, after minutes of work."""
    training_commands(trained)
    seconds = trained.settings.window_seconds
    if trained.settings.network.backbone == "edge" and seconds != trained.contract.window_seconds:
        raise EcgEdgeError(
            f"the network was trained on windows of {seconds:g} s, and devices give it "
            f"{trained.contract.window_seconds} s: train with --set window_seconds={trained.contract.window_seconds}"
        )
    if trained.init is not None and report_fold in trained.init["settings"]["folds"]:
        raise EcgEdgeError(f"fold {report_fold} was pretrained on: report on another one, or pretrain without it")


def _goal(asked: str | None, answered: Task, matrix: bool, path: Path) -> str:
    """Return what thresholds are fitted for; raises EcgEdgeError where that needs a reward matrix that is not there."""
    if matrix or asked == "f1":
        return asked or "challenge"
    if answered is not ARRHYTHMIA:
        if asked == "challenge":
            raise EcgEdgeError(f"the Challenge metric is not defined for {answered.name}: use --thresholds f1")
        return "f1"
    if asked == "challenge":
        raise EcgEdgeError(f"no reward matrix {path}: fetch it, or use --thresholds f1")
    print(f"no reward matrix {path}: thresholds are fitted for the F1 of each class", file=sys.stderr)
    return "f1"


def _learned(trained: Trained, store: RecordStore) -> list[int]:
    counted = np.concatenate([one.training_labels(store.entries)[1] for one in trained.tasks], axis=1)
    return learned_records(trained.settings, store.entries, counted).tolist()


def _calibration(answered: Task, store: RecordStore, learned: Sequence[int]) -> list[int]:
    """Return the records whose windows give the ranges of activations; labels that were not learned choose nothing."""
    labels, _ = answered.training_labels(store.entries)
    used = np.zeros_like(labels)
    used[learned] = labels[learned]
    return [int(k) for k in choose_calibration(used, [entry.source for entry in store.entries])]


def _classes(
    answered: Task, valid: Measured, graph: Path, weights: npt.NDArray[np.float64] | None
) -> tuple[ClassInfo, ...]:
    """Return the task's classes with thresholds for the graph, for the Challenge metric or without weights for F1."""
    p = probabilities(graph_logits(graph, valid.windows))
    fitted = fit_f1(valid.labels, p) if weights is None else fit_challenge(valid.labels, p, weights)
    return tuple(
        replace(info, threshold=round(float(t), 4)) for info, t in zip(answered.classes, fitted.values, strict=True)
    )


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _interval(metric: Metric) -> str:
    return "" if metric.low is None else f" ({metric.low:.4f} to {metric.high:.4f})"
