"""What the commands that train on labels share: their options, and the way from a data folder to predictions."""

import argparse
from collections.abc import Callable, Sequence
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
from ..tutor import Tutor, read_tutor
from .runs import kept_epoch, shows_progress

WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder

MakeJob = Callable[[Sides, dict[str, Any], World, Pretrained | None, Tutor | None], FinetuneRun]
"""From records, noise, ranks, pretrained branches and tutor to the job."""


def add_supervised_options(parser: argparse.ArgumentParser) -> None:
    """Add `--init`, `--tutor` and `--report-fold`."""
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="pretrained.pt whose branches to start from (default: random ones)"
    )
    parser.add_argument(
        "--tutor", type=Path, metavar="FILE", help="tutor.pt of ecg-edge trees, to learn from besides labels"
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


def described(report_folds: Sequence[int]) -> str:
    """Return what the side of these folds is, in words."""
    return f"fold {', '.join(map(str, report_folds))} of PTB-XL, patients apart"


def train_and_judge(args: argparse.Namespace, settings: FinetuneSettings, contract: Contract, make_job: MakeJob) -> int:
    """Train as the options say, write predictions, and name the epoch that was kept; return the exit status.

    Raises EcgEdgeError for data, weights or a run that cannot be used.
    """
    world = join(args.device)
    try:
        init = None if args.init is None else read_pretrained(args.init, contract)
        tutor = None if args.tutor is None else read_tutor(args.tutor, contract)
        folds = (settings.train_folds, settings.valid_folds, args.report_fold)
        sides = open_sides(args.data, settings.sources, *folds, contract, args.cache, world, shows_progress())
        if sides.valid is None and settings.valid_folds:
            raise EcgEdgeError("no record of the validation folds is there: name others in valid_folds")
        if init is not None and sides.test is not None:
            init.check_unseen(sides.test.entries)
        if tutor is not None and sides.test is not None:
            tutor.check_unseen(sides.test.entries)
        job = make_job(sides, noise_for(args.data, contract, settings.augment), world, init, tutor)
        history = run_job(job, args.out, world, args.resume, shows_progress())
    finally:
        leave(world)
    if not world.first:
        return 0
    weights = read_weights(args.data / WEIGHTS) if (args.data / WEIGHTS).is_file() else None
    written = write_predictions(args.out, sides.valid, sides.test, weights, described(args.report_fold))
    print(f"{args.out / BEST}: {kept_epoch(history)}")
    for path in written:
        print(path)
    return 0
