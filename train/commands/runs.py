"""Options that every training run takes."""

import argparse
import sys
from pathlib import Path
from typing import TypeVar

from ..loop import Line
from ..settings import override, preset_names, read_preset

T = TypeVar("T")


def add_run_options(parser: argparse.ArgumentParser, command: str, preset: str = "edge") -> None:
    """Add the options of a run of `command`, whose presets lie under that name; `preset` is the default one."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with ptbxl, ptbxl_z, cinc2020, nstdb in it"
    )
    parser.add_argument(
        "--preset",
        default=preset,
        metavar="NAME|FILE",
        help=f"settings: {', '.join(preset_names(command))}, or a TOML file (default: {preset})",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="assignments",
        help="instead of the preset's, as epochs=20 or network.fusion=csca; may be repeated",
    )
    parser.add_argument("--seed", type=int, help="the same as --set seed=N")
    parser.add_argument("--epochs", type=int, help="the same as --set epochs=N")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of this run, as runs/NAME")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("cache"),
        metavar="DIR",
        help="folder of conditioned records (default: cache)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (default: a GPU if any)"
    )


def settings_of(kind: type[T], command: str, args: argparse.Namespace) -> T:
    """Return the settings that the options ask for; raises SettingsError."""
    where = "student." if command == "distill" else ""
    short = [f"{where}{name}={getattr(args, name)}" for name in ("seed", "epochs") if getattr(args, name) is not None]
    return override(read_preset(kind, command, args.preset), [*args.assignments, *short])


def kept_epoch(history: list[Line]) -> str:
    """Return which epoch's network a run has kept, in words."""
    if "valid_auroc" not in history[-1]:
        return f"epoch {history[-1]['epoch']:.0f}, the last one"
    best = max(history, key=lambda line: (line["valid_auroc"], line["epoch"]))
    return f"epoch {best['epoch']:.0f}, validation macro AUROC {best['valid_auroc']:.4f}"


def shows_progress() -> bool:
    """Return whether someone is watching."""
    return sys.stderr.isatty()
