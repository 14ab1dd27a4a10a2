"""What the commands that train on labels share: their options, and the way from a data folder to predictions."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract

from ..challenge_metric import read_weights
from ..data import Sides, noise_for, open_sides
from ..distributed import World, join, leave
from ..finetune import BEST, FinetuneRun
from ..finetune_settings import FinetuneSettings
from ..judge import write_predictions
from ..loop import run_job
from ..pretrained import Pretrained, read_pretrained
from ..records.tables import FOLDS
from .runs import kept_epoch, shows_progress

WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder

MakeJob = Callable[[Sides, dict[str, Any], World, Pretrained | None], FinetuneRun]
"""From records, noise, ranks and pretrained branches to the job."""


def add_supervised_options(parser: argparse.ArgumentParser) -> None:
    """Add `--init` and `--report-fold`."""
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


def train_and_judge(args: argparse.Namespace, settings: FinetuneSettings, contract: Contract, make_job: MakeJob) -> int:
    """Train as the options say, write predictions, and name the epoch that was kept; return the exit status.

    Raises EcgEdgeError for data, weights or a run that cannot be used.
    """
    world = join(args.device)
    try:
        init = None if args.init is None else read_pretrained(args.init, contract)
        folds = (settings.train_folds, settings.valid_folds, args.report_fold)
        sides = open_sides(args.data, settings.sources, *folds, contract, args.cache, world, shows_progress())
        if sides.valid is None and settings.valid_folds:
            raise EcgEdgeError("no record of the validation folds is there: name others in valid_folds")
        if init is not None and sides.test is not None:
            init.check_unseen(sides.test.entries)
        job = make_job(sides, noise_for(args.data, contract, settings.augment), world, init)
        history = run_job(job, args.out, world, args.resume, shows_progress())
    finally:
        leave(world)
    if not world.first:
        return 0
    weights = read_weights(args.data / WEIGHTS) if (args.data / WEIGHTS).is_file() else None
    described = f"fold {', '.join(map(str, args.report_fold))} of PTB-XL, patients apart"
    written = write_predictions(args.out, sides.valid, sides.test, weights, described)
    print(f"{args.out / BEST}: {kept_epoch(history)}")
    for path in written:
        print(path)
    return 0
