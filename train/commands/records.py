"""`ecg-edge records DATA`: the records of a data folder, one path a line, ready for xargs; or a summary of them."""

import argparse
import json
import sys
from pathlib import Path

from .. import summary
from ..records.index import build_index
from ..tasks import TASKS, task
from . import selection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder with ptbxl, ptbxl_z, cpsc2018 or cinc2020 in it"
    )
    selection.add_selection(parser, default=None)
    parser.add_argument(
        "--rate", type=int, choices=(100, 500), default=100, help="copy of PTB-XL records to name where both exist"
    )
    parser.add_argument(
        "--task", choices=TASKS, metavar="NAME", help=f"only records labelled for this task: {', '.join(TASKS)}"
    )
    parser.add_argument(
        "--summary",
        action="store_true",
        help="records by source and fold, positives of each class of the task (default: arrhythmia), what is left out",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: an object a record with its labels, or one")


def run(args: argparse.Namespace) -> int:
    """Print the records; what cannot be used is told on stderr. Raises EcgEdgeError where there is none."""
    index = build_index(args.data, selection.sources(args), args.rate)
    if args.summary:
        report = summary.summarize(index, selection.chosen(index, args), task(args.task or "arrhythmia"))
        print(json.dumps(report.to_json()) if args.json else summary.table(report))
        return 0
    entries = selection.select(index, args)
    if args.task is None:
        for entry in entries:
            print(json.dumps(entry.to_dict()) if args.json else entry.path)
        return 0
    asked = task(args.task)
    labelled = asked.known(entries)
    if not labelled.all():
        print(f"left out {(~labelled).sum()} records that are not labelled for {asked.name}", file=sys.stderr)
    for entry, known, row in zip(entries, labelled, asked.labels(entries), strict=True):
        if known:
            names = [name for name, has in zip(asked.abbreviations, row, strict=True) if has]
            print(json.dumps(entry.to_dict() | {"task": asked.name, "labels": names}) if args.json else entry.path)
    return 0
