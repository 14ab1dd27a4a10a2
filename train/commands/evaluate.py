"""`ecg-edge evaluate`: how good predictions are.

ecg-edge evaluate --predictions fold9.npz [--report out/]
ecg-edge evaluate --predictions seed0.npz seed1.npz seed2.npz      # the same records: their ensemble, and each alone
ecg-edge evaluate --predictions fold1.npz fold2.npz fold3.npz      # no shared patient: a cross-validation
ecg-edge evaluate --challenge-output out/ --data DATA --fold 9     # the Challenge's CSV files against their records
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .. import bootstrap, labels, predictions
from ..challenge_metric import read_weights
from ..challenge_output import ChallengeOutput, align, read_folder
from ..evaluation import MIN_POSITIVES, Report, evaluate, evaluate_predictions, is_challenge, table
from ..metrics import Floats
from ..predictions import Predictions
from ..records.entry import RecordEntry
from ..records.index import build_index
from ..report import cv_summary
from ..report.write import write_report
from . import selection

WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder

_Settings = tuple[Floats | None, int, int, int]

_CERTAIN = 1e-6  # from 0 or 1, where a score of the Challenge's files becomes a logit: they hold four digits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=".npz files of predictions with labels and thresholds; several of the same records are evaluated as an "
        "ensemble and each alone, several without a shared patient as the folds of a cross-validation",
    )
    given.add_argument(
        "--challenge-output",
        type=Path,
        metavar="DIR",
        help="folder that ecg-edge predict --challenge-output wrote; takes --data",
    )
    parser.add_argument("--data", type=Path, metavar="DATA", help="folder with ptbxl, ptbxl_z or cinc2020 in it")
    selection.add_selection(parser, default="ptbxl")
    parser.add_argument("--report", type=Path, metavar="DIR", help="also write tables and plots into this folder")
    parser.add_argument(
        "--min-positives",
        type=_positive,
        default=MIN_POSITIVES,
        metavar="N",
        help=f"positives that a class needs to enter the macro averages (default: {MIN_POSITIVES})",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help=f"reward matrix of the Challenge 2020 (default: DATA/{WEIGHTS})"
    )
    parser.add_argument(
        "--resamples",
        type=_positive,
        default=bootstrap.RESAMPLES,
        metavar="N",
        help=f"bootstrap resamples behind the 95 %% intervals (default: {bootstrap.RESAMPLES})",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the figures. Raises EcgEdgeError where predictions, records or a named reward matrix are missing."""
    if args.predictions is None:
        if args.data is None:
            print("ecg-edge: --challenge-output takes --data, the folder of the records' labels", file=sys.stderr)
            return 2
        return _challenge_output(args)
    if args.source or args.fold:
        print("ecg-edge: --source and --fold choose among DATA's records, not among predictions", file=sys.stderr)
        return 2
    members = [predictions.load(path) for path in args.predictions]
    if len(members) == 1:
        return _single(members[0], args)
    if len({member.records for member in members}) == 1:
        return _ensemble(members, args)
    return _cross_validation(members, args)


def _single(given: Predictions, args: argparse.Namespace) -> int:
    report = _reported(given, args, _settings(args, given))
    print(json.dumps(report.to_json()) if args.json else table(report))
    return 0


def _ensemble(members: Sequence[Predictions], args: argparse.Namespace) -> int:
    whole = predictions.ensemble(members)
    settings = _settings(args, whole)
    alone = {
        str(path): evaluate_predictions(member, *settings)
        for path, member in zip(args.predictions, members, strict=True)
    }
    report = _reported(whole, args, settings, {Path(name).name: each for name, each in alone.items()})
    if args.json:
        print(json.dumps({**report.to_json(), "alone": {name: each.to_json() for name, each in alone.items()}}))
        return 0
    print(table(report))
    print(f"\nthe ensemble of {len(members)}; each alone:")
    for name, each in alone.items():
        print(f"{name}: {_main_figures(each)}")
    return 0


def _cross_validation(parts: Sequence[Predictions], args: argparse.Namespace) -> int:
    settings = _settings(args, parts[0])
    if args.report:
        summary = cv_summary.write_cv_summary(args.report, parts, *settings)
    else:
        summary = cv_summary.summarize(parts, *settings)
    if args.json:
        print(json.dumps(summary.to_json()))
        return 0
    print(table(summary.pooled))
    print(f"\nthe {len(parts)} folds pooled; each alone:")
    for path, each in zip(args.predictions, summary.folds, strict=True):
        print(f"{path}: {_main_figures(each)}")
    for name, figures in summary.figures().items():
        mean, deviation = cv_summary.spread(figures[:-1])
        print(f"{name}: mean {mean:.3f}, standard deviation {deviation:.3f} over folds")
    return 0


def _challenge_output(args: argparse.Namespace) -> int:
    entries = selection.select(build_index(args.data, selection.sources(args)), args)
    output = align(read_folder(args.challenge_output), entries)
    truth = labels.multi_hot(entry.codes for entry in entries)
    patients = [entry.patient for entry in entries]
    settings = _settings(args)
    report = evaluate(labels.CLASSES, truth, output.decisions, output.scores, patients, *settings)
    if args.report:
        write_report(args.report, _as_predictions(output, entries, args), *settings, decisions=output.decisions)
    print(json.dumps(report.to_json()) if args.json else table(report))
    return 0


def _as_predictions(output: ChallengeOutput, entries: Sequence[RecordEntry], args: argparse.Namespace) -> Predictions:
    if not ((output.scores >= 0) & (output.scores <= 1)).all():
        raise EcgEdgeError(
            f"scores in {args.challenge_output} are no probabilities: --report takes those within [0, 1]"
        )
    p = np.clip(output.scores, _CERTAIN, 1 - _CERTAIN)
    folds = f"fold {', '.join(map(str, sorted(args.fold)))}" if args.fold else "all records"
    return Predictions(
        records=tuple(f"{entry.source}/{entry.path.name}" for entry in entries),
        patients=tuple(entry.patient for entry in entries),
        sources=tuple(entry.source for entry in entries),
        folds=tuple(entry.fold for entry in entries),
        classes=labels.CLASSES,
        truth=labels.multi_hot(entry.codes for entry in entries),
        logits=(np.log(p) - np.log1p(-p)).astype(np.float32),
        facts={
            "task": "arrhythmia",
            "model": f"output files in {args.challenge_output.name}",
            "seed": None,
            "split": folds,
            "thresholds": "those of whoever wrote the output files",
        },
    )


def _reported(
    given: Predictions, args: argparse.Namespace, settings: _Settings, members: dict[str, Report] | None = None
) -> Report:
    if args.report:
        return write_report(args.report, given, *settings, members=members)
    return evaluate_predictions(given, *settings)


def _settings(args: argparse.Namespace, given: Predictions | None = None) -> _Settings:
    """Return weights, min_positives, resamples and seed, as every function that evaluates takes them."""
    return _weights(args, given), args.min_positives, args.resamples, args.seed


def _weights(args: argparse.Namespace, given: Predictions | None) -> Floats | None:
    if given is not None and not is_challenge(given.classes):
        if args.weights:
            raise EcgEdgeError(f"--weights is for the Challenge's classes, not those of task {given.facts['task']}")
        return None
    path: Path | None = args.weights or (args.data / WEIGHTS if args.data else None)
    if path is not None and (args.weights or path.is_file()):
        return read_weights(path)
    why = f"{path} is not there; name" if path else "name --data, or"
    print(f"no Challenge metric: {why} the reward matrix with --weights", file=sys.stderr)
    return None


def _main_figures(report: Report) -> str:
    found = {"macro AUROC": report.macro_auroc, "macro F1": report.macro_f1, "Challenge metric": report.challenge}
    return ", ".join(f"{name} {figure.value:.3f}" for name, figure in found.items() if figure is not None)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
