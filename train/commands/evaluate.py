"""`ecg-edge evaluate`: Challenge output files against the labels of the records they are for."""

import argparse
import json
import sys
from pathlib import Path

from .. import bootstrap, labels
from ..challenge_metric import read_weights
from ..challenge_output import align, read_folder
from ..evaluation import evaluate, table
from ..records.index import build_index
from . import selection

WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument(
        "--challenge-output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder that ecg-edge predict --challenge-output wrote",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DATA", help="folder with ptbxl, ptbxl_z or cinc2020 in it"
    )
    selection.add_selection(parser, default="ptbxl")
    parser.add_argument(
        "--min-positives",
        type=_positive,
        default=5,
        metavar="N",
        help="positives that a class needs to enter the macro averages (default: 5)",
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
    """Print the report. Raises EcgEdgeError where outputs, records or a named reward matrix are missing."""
    entries = selection.select(build_index(args.data, selection.sources(args)), args)
    output = align(read_folder(args.challenge_output), entries)
    path = args.weights or args.data / WEIGHTS
    weights = None
    if args.weights or path.is_file():
        weights = read_weights(path)
    else:
        print(f"no Challenge metric: {path} is not there; name the reward matrix with --weights", file=sys.stderr)
    report = evaluate(
        labels.CLASSES,
        labels.multi_hot(entry.codes for entry in entries),
        output.decisions,
        output.scores,
        [entry.patient for entry in entries],
        weights,
        args.min_positives,
        args.resamples,
        args.seed,
    )
    print(json.dumps(report.to_json()) if args.json else table(report))
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
