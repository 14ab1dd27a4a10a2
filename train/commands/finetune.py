"""`ecg-edge finetune`: train a network on labelled records, from random or pretrained branches.

Leaves in --out: best.pt (what `ecg-edge export` takes), last.pt (what --resume goes on from), log.csv, and the
predictions on the validation folds and, with --report-fold, on that fold, for `ecg-edge evaluate --predictions`.
Several processes: torchrun --nproc-per-node N -m ecg_edge.train finetune ...
"""

import argparse
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract

from ..challenge_metric import read_weights
from ..data import noise_for, open_sides
from ..distributed import join, leave
from ..finetune import BEST, FinetuneRun
from ..finetune_settings import FinetuneSettings
from ..judge import write_predictions
from ..loop import run_job
from ..pretrained import read_pretrained
from ..records.tables import FOLDS
from .runs import add_run_options, kept_epoch, settings_of, shows_progress

WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_run_options(parser, "finetune")
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="pretrained.pt whose branches to start from (default: random ones)"
    )
    parser.add_argument(
        "--report-fold",
        type=int,
        action="append",
        default=[],
        choices=FOLDS,
        metavar="N",
        help="fold to write predictions of when done, which nothing was trained or chosen on; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Train and name the best epoch. Raises EcgEdgeError for settings, data or a run that cannot be used."""
    settings, contract = settings_of(FinetuneSettings, "finetune", args), Contract()
    settings.check()
    world = join(args.device)
    try:
        init = None if args.init is None else read_pretrained(args.init, contract)
        sides = open_sides(
            args.data,
            settings.sources,
            settings.train_folds,
            settings.valid_folds,
            args.report_fold,
            contract,
            args.cache,
            world,
            shows_progress(),
        )
        if sides.valid is None and settings.valid_folds:
            raise EcgEdgeError("no record of the validation folds is there: name others with --set valid_folds=[...]")
        if init is not None and sides.test is not None:
            init.check_unseen(sides.test.entries)
        noise = noise_for(args.data, contract, settings.augment)
        job = FinetuneRun(settings, contract, sides.train, sides.valid, noise, world, init)
        history = run_job(job, args.out, world, args.resume, shows_progress())
    finally:
        leave(world)
    if not world.first:
        return 0
    weights = read_weights(args.data / WEIGHTS) if (args.data / WEIGHTS).is_file() else None
    written = write_predictions(args.out, sides.valid, sides.test, weights, _split(args.report_fold))
    print(f"{args.out / BEST}: {kept_epoch(history)}")
    for path in written:
        print(path)
    return 0


def _split(folds: list[int]) -> str:
    return f"fold {', '.join(map(str, folds))} of PTB-XL, patients apart"
