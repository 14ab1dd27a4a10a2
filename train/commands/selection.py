"""Options that choose records of a data folder, shared by the commands that read one."""

import argparse

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..notices import tell_index
from ..records.entry import RecordEntry
from ..records.index import RecordIndex
from ..records.tables import FOLDS


def add_selection(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add `--source` and `--fold`; `default` is the source taken without `--source`, None for all of them."""
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME",
        help="ptbxl, ptbxl_z, cpsc2018, cinc2020 or one folder of it such as cpsc_2018; may be repeated "
        f"(default: {default or 'all that are there'})",
    )
    parser.add_argument(
        "--fold",
        action="append",
        type=int,
        choices=FOLDS,
        metavar="N",
        help="only records of this fold of PTB-XL, 1 to 10; may be repeated",
    )
    parser.set_defaults(default_source=default)


def sources(args: argparse.Namespace) -> list[str] | None:
    """Return the sources asked for, None for all."""
    return args.source or ([args.default_source] if args.default_source else None)


def select(index: RecordIndex, args: argparse.Namespace) -> list[RecordEntry]:
    """Return the entries asked for, after telling stderr what is left out; raises EcgEdgeError where none is left."""
    tell_index(index)
    entries = chosen(index, args)
    if not entries:
        raise EcgEdgeError("no record matches: see ecg-edge records DATA for those that are there")
    return entries


def chosen(index: RecordIndex, args: argparse.Namespace) -> list[RecordEntry]:
    """Return the entries asked for, maybe none."""
    return [entry for entry in index.entries if not args.fold or entry.fold in args.fold]
