"""`ecg-edge finetune`: train the two-branch network on labelled records.

Leaves in --out: best.pt (what `ecg-edge export` takes), last.pt (what --resume goes on from), log.csv.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ecg_edge.runtime.contract import Contract

from ..finetune import BEST, finetune
from ..records.entry import Broken
from ..records.index import build_index, split
from ..settings import read_settings
from ..store import open_store
from .selection import tell_mended


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with ptbxl, ptbxl_z or cinc2020 in it"
    )
    parser.add_argument("--preset", default="edge", metavar="NAME|FILE", help="settings (default: edge)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of this run, as runs/NAME")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("cache"),
        metavar="DIR",
        help="folder of conditioned records (default: cache)",
    )
    parser.add_argument("--seed", type=int, help="instead of the preset's")
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    parser.add_argument("--resume", action="store_true", help="go on after the last finished epoch in --out")


def run(args: argparse.Namespace) -> int:
    """Train and name the best epoch. Raises EcgEdgeError for settings, data or a run that cannot be used."""
    settings = read_settings(args.preset)
    overrides = {name: getattr(args, name) for name in ("seed", "epochs") if getattr(args, name) is not None}
    settings = replace(settings, **overrides)
    settings.check()
    index = build_index(args.data, settings.sources)
    sides = split(index, settings.train_folds, settings.valid_folds)
    contract, progress = Contract(), sys.stderr.isatty()
    train = open_store(sides.train, contract, args.cache, progress)
    valid = open_store(sides.valid, contract, args.cache, progress)
    tell_broken((*index.broken, *train.broken, *valid.broken))
    tell_mended(index)
    for doubt in (*train.doubts, *valid.doubts):
        print(doubt, file=sys.stderr)
    done = finetune(settings, contract, train, valid, args.out, args.resume, progress)
    best = done.history[done.best]
    print(f"{args.out / BEST}: epoch {best['epoch']}, validation macro AUROC {best['valid_macro_auroc']:.4f}")
    return 0


def tell_broken(broken: Sequence[Broken]) -> None:
    """Tell stderr which records are left out, and how many."""
    for item in broken:
        print(f"left out {item.path}: {item.reason}", file=sys.stderr)
    if broken:
        print(f"left out {len(broken)} broken records", file=sys.stderr)
