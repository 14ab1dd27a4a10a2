"""`ecg-edge pretrain`: self-distillation of the network's branches on records without their labels.

Leaves in --out: pretrained.pt (what `ecg-edge finetune --init` takes), last.pt (what --resume goes on from), log.csv.
Several processes: torchrun --nproc-per-node N -m ecg_edge.train pretrain ...
"""

import argparse

from ecg_edge.runtime.contract import Contract

from ..data import noise_for, open_sides
from ..distributed import join, leave
from ..loop import run_job
from ..selfdistill.pretrain import prepare
from ..selfdistill.run import RESULT
from ..selfdistill.settings import PretrainSettings
from .runs import add_run_options, settings_of, shows_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_run_options(parser, "pretrain")


def run(args: argparse.Namespace) -> int:
    """Train and say where the branches are. Raises EcgEdgeError for settings, data or a run that cannot be used."""
    settings, contract = settings_of(PretrainSettings, "pretrain", args), Contract()
    settings.check()
    world = join(args.device)
    try:
        sides = open_sides(
            args.data, settings.sources, settings.folds, (), (), contract, args.cache, world, shows_progress()
        )
        noise = noise_for(args.data, contract, settings.global_views.augment, settings.local_views.augment)
        job = prepare(settings, contract, sides.train, noise, world)
        history = run_job(job, args.out, world, args.resume, shows_progress())
    finally:
        leave(world)
    if world.first:
        last = ", ".join(f"{k} {v:.3f}" for k, v in history[-1].items() if k != "epoch")
        print(f"{args.out / RESULT}: {len(history)} epochs on {len(sides.train.entries)} records; {last}")
    return 0
