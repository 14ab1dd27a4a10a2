"""`ecg-edge trees`: fit boosted trees to measurements of labelled records, to tutor networks.

Leaves in --out: tutor.pt (what `ecg-edge finetune --tutor` takes), and predictions on the validation folds and, with
--report-fold, on that fold, for `ecg-edge evaluate --predictions`.
"""

import argparse
from pathlib import Path

from ecg_edge.runtime.contract import Contract

from ..challenge_metric import read_weights
from ..data import open_sides
from ..distributed import World
from ..judge import write_judgement
from ..records.tables import FOLDS
from ..settings import override, preset_names, read_preset
from ..tasks import task
from ..trees import TREES, TreeSettings
from ..tutor import RESULT, fit_tutor, measured
from .runs import shows_progress
from .supervised import WEIGHTS, described


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with ptbxl, ptbxl_z, cinc2020")
    parser.add_argument(
        "--preset",
        default="edge",
        metavar="NAME|FILE",
        help=f"settings: {', '.join(preset_names('trees'))}, or a TOML file (default: edge)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="assignments",
        help="instead of the preset's, as boost.rounds=100; may be repeated",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the result, as runs/trees")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("cache"),
        metavar="DIR",
        help="folder of conditioned records (default: cache)",
    )
    parser.add_argument(
        "--report-fold",
        type=int,
        action="append",
        default=[],
        choices=FOLDS,
        metavar="N",
        help="fold to write predictions of, which nothing was fitted to; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Fit, and say what is where. Raises EcgEdgeError for settings or data that cannot be used."""
    settings = override(read_preset(TreeSettings, "trees", args.preset), args.assignments)
    settings.check()
    folds = (settings.train_folds, settings.valid_folds, args.report_fold)
    progress = shows_progress()
    sides = open_sides(args.data, settings.sources, *folds, Contract(), args.cache, World(), progress)
    tutor = fit_tutor(settings, sides.train, progress)
    args.out.mkdir(parents=True, exist_ok=True)
    tutor.save(args.out / RESULT)
    stores = {"valid": sides.valid, "test": sides.test}
    said = {
        side: (store, tutor.trees.logits(measured(store, progress)))
        for side, store in stores.items()
        if store is not None
    }
    weights = read_weights(args.data / WEIGHTS) if (args.data / WEIGHTS).is_file() else None
    facts = {
        "seed": settings.seed,
        "fusion": TREES,
        "pretrained": None,
        "tutor": None,
        "epochs": 0,
        "training_records": len(tutor.records),
    }
    tasks = [task(name) for name in settings.tasks]
    written = write_judgement(args.out, tasks, said, weights, described(args.report_fold), facts)
    print(f"{args.out / RESULT}: {len(tutor.records)} records, {tutor.measurements.shape[1]} measurements of each")
    for path in written:
        print(path)
    return 0
