"""`ecg-edge distill`: teach a small network what trained ones know, with labels and without.

Leaves in --out what `ecg-edge finetune` leaves: best.pt (what `ecg-edge export` takes), last.pt, log.csv, and
predictions. Several --teacher are one: the mean of their logits.
Several processes: torchrun --nproc-per-node N -m ecg_edge.train distill ...
"""

import argparse
from pathlib import Path

from ecg_edge.runtime.contract import Contract
from ecg_edge.train.commands.runs import add_run_options, settings_of
from ecg_edge.train.commands.supervised import add_supervised_options, train_and_judge

from ..distill.run import DistillRun
from ..distill.settings import DistillSettings
from ..distill.teachers import read_teachers


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
    add_supervised_options(parser)


def run(args: argparse.Namespace) -> int:
    """Train the student and name the best epoch. Raises EcgEdgeError for what cannot be used."""
    settings, contract = settings_of(DistillSettings, "distill", args), Contract()
    settings.check()
    teachers, facts = read_teachers(args.teacher, settings.student, contract, args.report_fold)
    return train_and_judge(
        args,
        settings.student,
        contract,
        lambda sides, noise, world, init, tutor: DistillRun(
            settings, contract, sides.train, sides.valid, noise, teachers, facts, world, init, tutor
        ),
    )
