"""`ecg-edge distill`: teach a small network what trained ones know, with labels and without.

Leaves in --out what `ecg-edge finetune` leaves: best.pt (what `ecg-edge export` takes), last.pt, log.csv, and
predictions. Several --teacher are one: the mean of their logits.
Several processes: torchrun --nproc-per-node N -m ecg_edge.train distill ...
"""

import argparse
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract
from ecg_edge.train.challenge_metric import read_weights
from ecg_edge.train.commands.runs import add_run_options, kept_epoch, settings_of, shows_progress
from ecg_edge.train.data import noise_for, open_sides
from ecg_edge.train.distributed import join, leave
from ecg_edge.train.finetune import BEST
from ecg_edge.train.judge import write_predictions
from ecg_edge.train.loop import run_job
from ecg_edge.train.pretrained import read_pretrained
from ecg_edge.train.records.tables import FOLDS

from ..distill.run import DistillRun
from ..distill.settings import DistillSettings
from ..distill.teachers import read_teachers

WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_run_options(parser, "distill", "small")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="best.pt of a trained network to learn from; may be repeated",
    )
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
    """Train the student and name the best epoch. Raises EcgEdgeError for what cannot be used."""
    settings, contract = settings_of(DistillSettings, "distill", args), Contract()
    settings.check()
    student = settings.student
    world = join(args.device)
    try:
        teachers, facts = read_teachers(args.teacher, student, contract, args.report_fold)
        init = None if args.init is None else read_pretrained(args.init, contract)
        sides = open_sides(
            args.data,
            student.sources,
            student.train_folds,
            student.valid_folds,
            args.report_fold,
            contract,
            args.cache,
            world,
            shows_progress(),
        )
        if sides.valid is None and student.valid_folds:
            raise EcgEdgeError("no record of the validation folds is there: set student.valid_folds to others")
        if init is not None and sides.test is not None:
            init.check_unseen(sides.test.entries)
        noise = noise_for(args.data, contract, student.augment)
        job = DistillRun(settings, contract, sides.train, sides.valid, noise, teachers, facts, world, init)
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
