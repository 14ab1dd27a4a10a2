"""`ecg-edge records DATA`: the records of a data folder, one path a line, ready for xargs."""

import argparse
import json
from pathlib import Path

from ..records.index import build_index
from . import selection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with ptbxl, ptbxl_z or cinc2020 in it")
    selection.add_selection(parser, default=None)
    parser.add_argument(
        "--rate", type=int, choices=(100, 500), default=100, help="copy of PTB-XL records to name where both exist"
    )
    parser.add_argument("--json", action="store_true", help="print each record as a JSON object, with its labels")


def run(args: argparse.Namespace) -> int:
    """Print the records; what cannot be used is told on stderr. Raises EcgEdgeError where there is none."""
    index = build_index(args.data, selection.sources(args), args.rate)
    for entry in selection.select(index, args):
        print(json.dumps(entry.to_dict()) if args.json else entry.path)
    return 0
