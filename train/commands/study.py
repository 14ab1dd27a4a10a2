"""`ecg-edge study`: run the grid of trainings behind docs/results.md, as many side by side as there are cores."""

import argparse
import os
from pathlib import Path

from ..settings import override, preset_names, read_preset
from ..study import Place, StudySettings, run_study
from .runs import shows_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with ptbxl, ptbxl_z, cinc2020")
    add_preset_options(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the runs; goes on if it exists"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("cache"),
        metavar="DIR",
        help="folder of conditioned records (default: cache)",
    )
    parser.add_argument("--init", type=Path, metavar="FILE", help="pretrained.pt that distilled cells start from")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--jobs", type=int, default=cores, metavar="N", help=f"runs side by side, one core each (default: {cores})"
    )


def add_preset_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a study."""
    names = ", ".join(preset_names("study"))
    parser.add_argument(
        "--preset", default="edge", metavar="NAME|FILE", help=f"{names}, or a TOML file (default: edge)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="assignments", help="instead of the preset's"
    )


def study_of(args: argparse.Namespace) -> StudySettings:
    """Return the study that the options name; raises SettingsError."""
    return override(read_preset(StudySettings, "study", args.preset), args.assignments)


def run(args: argparse.Namespace) -> int:
    """Run all cells. Raises EcgEdgeError for settings or data that cannot be used."""
    place = Place(args.data, args.cache.resolve(), args.out, args.init)
    count = run_study(study_of(args), place, max(1, args.jobs), shows_progress())
    print(f"{args.out}: {count} runs; ecg-edge results --study {args.out} writes the tables")
    return 0
