"""`ecg-edge crossval`: train and judge once a fold, or once a source left out, and summarize.

The folds are PTB-XL's published ones, which no patient crosses, where as many are there as --folds asks for; else new
ones, stratified by diagnosis and source. Leaves in --out: a folder of each part (see finetune), and for each task a
summary with the macro AUROC and the Challenge metric of each part. A run that was interrupted goes on with --resume.
"""

import argparse
import sys
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract

from ..challenge_metric import read_weights
from ..crossval import Bench, Part, by_task, run_part
from ..data import noise_for
from ..distributed import join, leave
from ..finetune_settings import FinetuneSettings
from ..folds import PTBXL_SOURCES, assign, leave_one_source_out, pretraining_entries
from ..loop import ResumeError
from ..metrics import Floats
from ..notices import tell_index
from ..predictions import Predictions
from ..records.index import RecordIndex, build_index
from ..report.cv_summary import write_cv_summary
from ..selfdistill.settings import PretrainSettings
from ..settings import read_preset
from ..trees import TreeSettings
from .runs import add_run_options, settings_of, shows_progress
from .supervised import WEIGHTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add_run_options(parser, "finetune")
    parser.add_argument(
        "--folds", type=int, metavar="K", help="number of folds (default: as many as PTB-XL's that are there, else 10)"
    )
    parser.add_argument("--only", type=int, action="append", metavar="N", help="only this fold; may be repeated")
    parser.add_argument(
        "--leave-out",
        action="append",
        metavar="SOURCE",
        help="instead of folds: test on this source whole, train on the others; `all` for each in turn",
    )
    parser.add_argument(
        "--pretrain", metavar="NAME|FILE", help="pretrain for each part with these settings (default: random branches)"
    )
    parser.add_argument(
        "--trees", metavar="NAME|FILE", help="fit a tutor for each part with these settings (default: labels alone)"
    )


def run(args: argparse.Namespace) -> int:
    """Run all parts and print the summaries' paths. Raises EcgEdgeError for settings or data that cannot be used."""
    settings, contract = settings_of(FinetuneSettings, "finetune", args), Contract()
    settings.check()
    pretrain = None if args.pretrain is None else read_preset(PretrainSettings, "pretrain", args.pretrain)
    trees = None if args.trees is None else read_preset(TreeSettings, "trees", args.trees)
    if args.out.is_dir() and any(args.out.iterdir()) and not args.resume:
        raise ResumeError(f"{args.out} holds a run already: add --resume to go on with it, or name another --out")
    world = join(args.device)
    try:
        index = build_index(args.data, settings.sources)
        if world.first:
            tell_index(index)
        parts = _sources(index, args) if args.leave_out else _folds(index, args, settings.seed)
        augments = [settings.augment]
        if pretrain is not None:
            augments += [pretrain.global_views.augment, pretrain.local_views.augment]
        weights = read_weights(args.data / WEIGHTS) if (args.data / WEIGHTS).is_file() else None
        noise = noise_for(args.data, contract, *augments)
        bench = Bench(settings, pretrain, trees, contract, noise, weights, args.cache)
        found = []
        for number, part in enumerate(parts, 1):
            if world.first:
                print(f"{number} of {len(parts)}: {part.described}", file=sys.stderr)
            found.append(run_part(bench, part, args.out, world, shows_progress()))
    finally:
        leave(world)
    if world.first:
        for name, predictions in by_task(found, settings.tasks).items():
            if predictions:
                _summarize(args.out, name, predictions, weights if name == "arrhythmia" else None)
    return 0


def _summarize(out: Path, name: str, predictions: list[Predictions], weights: Floats | None) -> None:
    folder = out / f"summary-{name}"
    write_cv_summary(folder, predictions, weights)
    print(folder / "crossval.md")


def _folds(index: RecordIndex, args: argparse.Namespace, seed: int) -> list[Part]:
    published = len({entry.fold for entry in index.entries if entry.fold is not None})
    k = args.folds or (published if published > 2 else 10)
    folds = assign(index.entries, k, seed)
    if not folds.published and folds.unknown_patients:
        print(
            f"{folds.unknown_patients} ECGs name no patient, and these are not PTB-XL's published folds: two ECGs of "
            f"one patient may be on two sides. --folds {published} keeps them apart",
            file=sys.stderr,
        )
    wanted = args.only or range(1, k + 1)
    parts = []
    for number in wanted:
        split = folds.sides(number)
        withheld = (number, number % k + 1)
        parts.append(Part(f"fold-{number:02d}", split, folds.pretraining(*withheld), f"fold {number} of {k}"))
    return parts


def _sources(index: RecordIndex, args: argparse.Namespace) -> list[Part]:
    names = list(dict.fromkeys("ptbxl" if name in PTBXL_SOURCES else name for name in index.by_source()))
    wanted = names if "all" in args.leave_out else args.leave_out
    parts = []
    for name in wanted:
        split = leave_one_source_out(index.entries, name)
        if not split.train or not split.valid:
            raise EcgEdgeError(f"without {name} no records are left to train and validate on")
        seen = pretraining_entries(index.entries, (*split.valid, *split.test))
        parts.append(Part(f"without-{name}", split, seen, f"all of {name}, trained on the other sources"))
    return parts
