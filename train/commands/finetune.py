"""`ecg-edge finetune`: train a network on labelled records, from random or pretrained branches.

Leaves in --out: best.pt (what `ecg-edge export` takes), last.pt (what --resume goes on from), log.csv, and the
predictions on the validation folds and, with --report-fold, on that fold, for `ecg-edge evaluate --predictions`.
Several processes: torchrun --nproc-per-node N -m ecg_edge.train finetune ...
"""

import argparse

from ecg_edge.runtime.contract import Contract

from ..finetune import FinetuneRun
from ..finetune_settings import FinetuneSettings
from .runs import add_run_options, settings_of
from .supervised import add_supervised_options, train_and_judge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_run_options(parser, "finetune")
    add_supervised_options(parser)


def run(args: argparse.Namespace) -> int:
    """Train and name the best epoch. Raises EcgEdgeError for settings, data or a run that cannot be used."""
    settings, contract = settings_of(FinetuneSettings, "finetune", args), Contract()
    settings.check()
    return train_and_judge(
        args,
        settings,
        contract,
        lambda sides, noise, world, init, tutor: FinetuneRun(
            settings, contract, sides.train, sides.valid, noise, world, init, tutor=tutor
        ),
    )
