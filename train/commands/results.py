"""`ecg-edge results`: write docs/results.md from the runs of a study, or again from the figures beside it."""

import argparse
import json
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..challenge_metric import read_weights
from ..results import collect, render, write
from ..teacher_results import crossval_facts, teacher_facts
from .study import add_preset_options, study_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--study", type=Path, metavar="DIR", help="--out of ecg-edge study")
    source.add_argument("--figures", type=Path, metavar="FILE", help="results.json of an earlier call")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="--out of ecg-edge finetune --report-fold N, to add its figures; repeat for other seeds",
    )
    parser.add_argument("--crossval", type=Path, metavar="DIR", help="--out of ecg-edge crossval, to add its figures")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="reward matrix of the Challenge metric of teachers"
    )
    add_preset_options(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/results.md"),
        metavar="FILE",
        help="page to write (default: docs/results.md)",
    )


def run(args: argparse.Namespace) -> int:
    """Write page and figures. Raises EcgEdgeError where there are none."""
    if args.study is not None:
        facts = collect(study_of(args), args.study)
    else:
        try:
            facts = json.loads(args.figures.read_text(encoding="utf-8"))
        except ValueError as error:
            raise EcgEdgeError(f"{args.figures} is not a results.json ({error}): make one with --study") from error
    if args.teacher:
        path = args.weights
        facts["teachers"] = teacher_facts(args.teacher, read_weights(path) if path is not None else None)
    if args.crossval is not None:
        facts["crossval"] = crossval_facts(args.crossval)
    if not facts.get("figures"):
        raise EcgEdgeError(f"no run of the study is finished in {args.study}: run ecg-edge study first")
    write(args.out, facts, render(facts, "ecg-edge results"))
    print(f"{args.out}: {len(facts['figures'])} figures, {facts['missing_runs']} runs missing")
    return 0
