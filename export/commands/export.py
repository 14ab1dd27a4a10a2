"""`ecg-edge export`: from a trained network, or from teachers, to a verified INT8 bundle in ONNX and TFLite.

With --checkpoint that network is exported; with --teacher alone, a student of --preset is distilled from the teachers
first, below --work. Validation records choose the blocks that stay in float and the thresholds, and the gate judges
by them: where INT8 loses more than it may, nothing is written and the status is 1. With --report-fold everything is
measured on that fold, which nothing was chosen on. Records that are not labelled for the task count in no figure.
The graphs stay in --work as TASK.float.onnx, TASK.int8.onnx, TASK.float.tflite and TASK.int8.tflite.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends import probabilities
from ecg_edge.runtime.bundle import Metric, load
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.contract import Contract
from ecg_edge.train.challenge_metric import read_weights
from ecg_edge.train.data import open_sides
from ecg_edge.train.distributed import World
from ecg_edge.train.finetune import BEST, learned_records, macro_auroc
from ecg_edge.train.records.tables import FOLDS
from ecg_edge.train.settings import preset_names, to_table
from ecg_edge.train.store import RecordStore
from ecg_edge.train.tasks import ARRHYTHMIA, TASKS, Task, task
from ecg_edge.train.thresholds import fit_challenge, fit_f1
from ecg_edge.train.trained import Trained, read_trained
from ecg_edge.train.windows import predict_logits, whole_windows

from ..bundle_writer import BundleParts, write_bundle
from ..card import GroupFigures, ModelFacts, render
from ..formats import Formats, make_formats
from ..gate import Candidate, Limits, judge, require_pass
from ..groups import LEAD_SETS, groups, with_leads
from ..measure import Measured, decisions, measured
from ..provenance import check_repeatable, provenance, told_distillation
from ..quantize import SEARCHES, choose_calibration
from . import distill

WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="best.pt of the network to export")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="best.pt to distil from, and to be compared with; may be repeated",
    )
    parser.add_argument(
        "--preset",
        default="small",
        metavar="NAME|FILE",
        help=f"student to distil where there is no --checkpoint: {', '.join(preset_names('distill'))}, or a TOML file "
        "(default: small)",
    )
    parser.add_argument(
        "--tutor", type=Path, metavar="FILE", help="tutor.pt of ecg-edge trees, that the student learns from as well"
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="folder of the student's run and of the graphs (default: the checkpoint's, or OUT.work)",
    )
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
    parser.add_argument(
        "--search",
        choices=SEARCHES,
        default=SEARCHES[0],
        help="what looks for blocks that have to stay in float (default: %(default)s)",
    )
    parser.add_argument(
        "--like",
        metavar="NAME|DIR",
        help="bundle of the same recipe that was trained with validation folds: its thresholds are taken, for a "
        "network that was trained on all folds but the reported one",
    )
    parser.add_argument(
        "--latency",
        action="store_true",
        help="time the formats on this machine for the card; a bundle is then not the same each time it is made",
    )
    default = Limits()
    gate = parser.add_argument_group("the gate, on the validation folds")
    for name, value, what in (
        ("macro-drop", default.macro_drop, "macro AUROC that INT8 may lose"),
        ("class-drop", default.class_drop, "AUROC that a class with enough positives may lose"),
        ("challenge-drop", default.challenge_drop, "Challenge metric that INT8 may lose"),
        ("disagreement", default.disagreement, "part of the decisions in which ONNX, TFLite and float may differ"),
        ("logit-error", default.logit_error, "part of their standard deviation by which logits may miss float's"),
    ):
        gate.add_argument(f"--{name}", type=float, default=value, metavar="X", help=f"{what} (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the bundle and print its figures. Raises EcgEdgeError where inputs cannot be used or the gate refuses."""
    checkpoint, work = _network(args)
    trained = read_trained(checkpoint)
    teachers = [read_trained(path) for path in args.teacher]
    settings, contract = trained.settings, trained.contract
    answered = task(args.task or settings.tasks[0])
    network = trained.for_task(answered.name)
    _check(trained, teachers, args.report_fold)
    weights_path = args.data / WEIGHTS
    weights = read_weights(weights_path) if answered is ARRHYTHMIA and weights_path.is_file() else None
    goal = _goal(args.thresholds, answered, weights is not None, weights_path)

    like = None if args.like is None else _like(args.like, trained, answered, contract, args.report_fold)
    gate_folds = settings.valid_folds if like is None else like.valid_folds
    if not gate_folds:
        raise EcgEdgeError("the network was trained without validation folds: name a bundle of its recipe with --like")
    train_folds = [fold for fold in settings.train_folds if fold not in gate_folds]
    folds = (train_folds, gate_folds, () if args.report_fold is None else (args.report_fold,))
    progress = sys.stderr.isatty()
    sides = open_sides(args.data, settings.sources, *folds, contract, args.cache, World(), progress)
    told = "thresholds fitted here" if like is None else "trained on"
    valid = measured(sides.valid, answered, f"fold {_list(gate_folds)}, {told}")
    if (valid.labels.all(axis=0) | ~valid.labels.any(axis=0)).all():
        raise EcgEdgeError("no class has records with and without it in the validation folds: add records to --data")
    shown = [valid] if like is None else []
    if args.report_fold is not None:
        shown.append(measured(sides.test, answered, f"fold {args.report_fold}, patients apart"))

    store = sides.train
    if like is not None:  # the gate's folds were trained on as well
        everything = (settings.train_folds, (), ())
        store = open_sides(
            args.data, settings.sources, *everything, contract, args.cache, World(), progress, True
        ).train
    learned = _learned(trained, store)
    calibration = whole_windows(store, contract, _calibration(answered, store, learned))
    work.mkdir(parents=True, exist_ok=True)
    formats = make_formats(
        network,
        contract,
        work,
        answered.name,
        calibration,
        valid.windows,
        lambda logits: macro_auroc(valid.labels, logits),
        args.search,
    )
    int8 = formats.int8_logits(valid.windows)
    classes = (
        _classes(answered, valid, int8["onnx"], weights if goal == "challenge" else None)
        if like is None
        else like.classes
    )
    limits = Limits(args.macro_drop, args.class_drop, args.challenge_drop, args.disagreement, args.logit_error)
    exact, *candidates = (
        Candidate(valid.report(logits, classes, weights), decisions(probabilities(logits), classes), logits)
        for logits in (formats.float_logits(valid.windows), *int8.values())
    )
    verdict = judge(exact, dict(zip(int8, candidates, strict=True)), limits)
    print(verdict.table, file=sys.stderr if verdict.faults else sys.stdout)
    require_pass(verdict)

    metrics = [figure for one in shown for figure in _figures(one, formats, teachers, answered, classes, weights)]
    final = shown[-1]
    facts = ModelFacts(
        name=args.name or answered.name,
        task=answered.name,
        settings=settings,
        pretrained=trained.init is not None,
        tutored=trained.tutor is not None,
        teachers=len(trained.teachers),
        thresholds=goal,
        parameters=network.parameters_count(),
        multiply_accumulates=formats.multiply_accumulates,
        model_bytes={kind: len(model) for kind, model in formats.models.items()},
        latency_ms=formats.latency_ms(final.windows) if args.latency else {},
        like=None if like is None else like.facts,
        data=dict(sorted(Counter(store.entries[k].source for k in learned).items())),
        float_nodes=formats.quantized.float_nodes,
    )
    card_report = final.report(formats.int8_logits(final.windows)["onnx"], classes, weights)
    parts = _group_figures(final, formats, classes, weights)
    written = write_bundle(
        BundleParts(
            name=facts.name,
            version=version("ecg-edge"),
            classes=classes,
            contract=contract,
            models=formats.models,
            card=render(facts, classes, metrics, card_report, f"{final.data}, {final.split}", parts),
            metrics=metrics,
            provenance=provenance(trained, facts, formats.quantized, verdict, limits, args.report_fold, len(teachers)),
        ),
        args.out,
    )
    for figure in metrics:
        print(f"{figure.data}, {figure.split}: {figure.metric} {figure.value:.4f}{_interval(figure)}")
    sizes = sum(info.bytes for info in written.manifest.files.values())
    kept = ", ".join(formats.quantized.float_groups) or "no block"
    print(f"{args.out}: {sizes} bytes, passed the gate; in float besides fusion and head: {kept}")
    return 0


@dataclass(frozen=True)
class _Like:
    """What is taken from a bundle of the same recipe."""

    classes: tuple[ClassInfo, ...]
    """With its thresholds."""
    valid_folds: tuple[int, ...]
    """Where they were fitted."""
    facts: dict[str, str]
    """Name and hash, for the record."""


def _like(name: str, trained: Trained, answered: Task, contract: Contract, report_fold: int | None) -> _Like:
    """Return what a bundle gives to a network of its recipe; raises EcgEdgeError for one of another."""
    found = load(name)
    manifest = found.manifest
    theirs, mine = manifest.provenance.get("settings", {}), to_table(trained.settings)
    folds = ("train_folds", "valid_folds")
    other = [key for key in mine if key not in folds and theirs.get(key) != mine[key]]
    if told_distillation(trained) != manifest.provenance.get("distill"):
        other.append("distill")
    if (trained.tutor is None) != (manifest.provenance.get("tutor") is None):
        other.append("the tutor")
    same_classes = [(c.code, c.abbreviation) for c in manifest.classes] == [
        (c.code, c.abbreviation) for c in answered.classes
    ]
    if other or not same_classes or manifest.contract.sha256 != contract.sha256:
        what = other[0] if other else "the classes or the signal contract"
        raise EcgEdgeError(f"{name} is not of the same recipe ({what} differs): train both with the same settings")
    if trained.settings.valid_folds:
        raise EcgEdgeError("the network has validation folds of its own: leave out --like")
    if report_fold is None:
        raise EcgEdgeError("--like needs --report-fold, since the folds that chose were trained on")
    return _Like(manifest.classes, tuple(theirs["valid_folds"]), {"name": manifest.name, "sha256": found.sha256})


def _network(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return the checkpoint to export and the folder to work in; distils the student where that is asked for."""
    if args.checkpoint is not None:
        if args.tutor is not None:
            raise EcgEdgeError("--tutor teaches a student that is distilled here: leave it out beside --checkpoint")
        return args.checkpoint, args.work or args.checkpoint.parent
    if not args.teacher:
        raise EcgEdgeError("name what to export: --checkpoint, or --teacher to distil a student from")
    work: Path = args.work or args.out.with_name(f"{args.out.name}.work")
    parser = argparse.ArgumentParser()
    distill.add_arguments(parser)
    options = ["--data", args.data, "--cache", args.cache, "--preset", args.preset, "--out", work, "--resume"]
    for teacher in args.teacher:
        options += ["--teacher", teacher]
    if args.tutor is not None:
        options += ["--tutor", args.tutor]
    if args.report_fold is not None:  # a teacher that has seen it is refused before hours of work
        options += ["--report-fold", args.report_fold]
    distill.run(parser.parse_args(list(map(str, options))))
    return work / BEST, work


def _figures(
    one: Measured,
    formats: Formats,
    teachers: Sequence[Trained],
    answered: Task,
    classes: Sequence[ClassInfo],
    weights: npt.NDArray[np.float64] | None,
) -> list[Metric]:
    """Return what a bundle tells of records: every format's figures, and what each loses."""
    exact = formats.float_logits(one.windows)
    int8 = formats.int8_logits(one.windows)
    found = [
        f for kind, logits in int8.items() for f in one.figures(f"int8 {kind}", one.report(logits, classes, weights))
    ]
    found += one.figures("float", one.report(exact, classes, weights))
    losses = [one.drop(f"int8 {kind}", logits, "float", exact) for kind, logits in int8.items()]
    if teachers:
        said = [predict_logits(t.for_task(answered.name), one.windows) for t in teachers]
        mean: npt.NDArray[np.float32] = np.stack(said).mean(axis=0, dtype=np.float32)
        name = "teacher" if len(teachers) == 1 else f"{len(teachers)} teachers as one"
        found += one.figures(name, one.report(mean, classes, weights))
        losses += [one.drop(f"int8 {kind}", logits, name, mean) for kind, logits in int8.items()]
    return found + [loss for loss in losses if loss is not None]


def _group_figures(
    one: Measured, formats: Formats, classes: Sequence[ClassInfo], weights: npt.NDArray[np.float64] | None
) -> list[GroupFigures]:
    """Return the INT8 ONNX network's figures by group of records and by the leads that are there."""
    logits = formats.int8_logits(one.windows)["onnx"]
    found = []
    for name, rows in groups(one.entries):
        if rows.any():
            chosen = np.flatnonzero(rows)
            entries = tuple(one.entries[k] for k in chosen)
            part = replace(one, entries=entries, labels=one.labels[rows])
            found.append(GroupFigures("records", name, part.report(logits[rows], classes, weights)))
    for name, leads in LEAD_SETS.items():
        said = formats.int8_logits(with_leads(one.windows, leads))["onnx"]
        found.append(GroupFigures("leads", name, one.report(said, classes, weights)))
    return found


def _check(trained: Trained, teachers: Sequence[Trained], report_fold: int | None) -> None:
    """Raise EcgEdgeError for what would fail, or lead astray, after minutes of work."""
    check_repeatable(trained)
    seconds = trained.settings.window_seconds
    if trained.settings.network.backbone == "edge" and seconds != trained.contract.window_seconds:
        raise EcgEdgeError(
            f"the network was trained on windows of {seconds:g} s, and devices give it "
            f"{trained.contract.window_seconds} s: train with --set window_seconds={trained.contract.window_seconds}"
        )
    seen = {
        "the network": _folds_seen(trained.init, trained.tutor, ()),
        "one of its teachers": {
            fold
            for one in trained.teachers
            for fold in _folds_seen(one["init"], one.get("tutor"), one["settings"]["train_folds"])
        },
        "a --teacher": {
            fold for one in teachers for fold in _folds_seen(one.init, one.tutor, one.settings.train_folds)
        },
    }
    for who, folds in seen.items():
        if report_fold in folds:
            raise EcgEdgeError(f"{who} has seen fold {report_fold}: report on another one, or train without it")


def _folds_seen(init: dict[str, Any] | None, tutor: dict[str, Any] | None, trained_on: Sequence[int]) -> set[int]:
    fitted = tutor["settings"]["train_folds"] if tutor else ()
    return {*trained_on, *fitted, *(init["settings"]["folds"] if init else ())}


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
    answered: Task, valid: Measured, logits: npt.NDArray[np.float32], weights: npt.NDArray[np.float64] | None
) -> tuple[ClassInfo, ...]:
    """Return the task's classes with thresholds for logits, for the Challenge metric or without weights for F1."""
    p = probabilities(logits)
    fitted = fit_f1(valid.labels, p) if weights is None else fit_challenge(valid.labels, p, weights)
    return tuple(
        replace(info, threshold=round(float(t), 4)) for info, t in zip(answered.classes, fitted.values, strict=True)
    )


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _interval(metric: Metric) -> str:
    return "" if metric.low is None else f" ({metric.low:.4f} to {metric.high:.4f})"
