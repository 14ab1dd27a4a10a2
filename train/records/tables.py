"""Cells of the PTB-XL tables, read with errors that name the file."""

import ast
import csv
from collections.abc import Mapping
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

FOLDS = range(1, 11)
"""PTB-XL's folds (`strat_fold`); no patient is in two of them."""


class TableError(EcgEdgeError):
    """A table of a database that is not what that database publishes."""


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a CSV file; raises TableError where it cannot be read or lacks one of `columns`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            missing = [c for c in columns if c not in (reader.fieldnames or ())]
            if missing:
                raise TableError(f"{path} has no column {', '.join(missing)}: use the published file")
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"cannot read {path}: {error}") from error


def number(row: Mapping[str, str], column: str, path: Path) -> int:
    """Return the whole number in a column (`7` or `7.0`); raises TableError."""
    try:
        value = float(row[column])
        if value != int(value):
            raise ValueError
        return int(value)
    except (ValueError, TypeError, OverflowError):
        raise TableError(f"{path}: {column} is {row[column]!r}, not a whole number") from None


def fold_of(row: Mapping[str, str], path: Path) -> int:
    """Return `strat_fold` of a row; raises TableError where it is not 1 to 10."""
    fold = number(row, "strat_fold", path)
    if fold not in FOLDS:
        raise TableError(f"{path}: strat_fold is {fold}, not 1 to 10")
    return fold


def parse_statements(text: str, path: Path) -> frozenset[str]:
    """Return the statements in a `scp_codes` cell, whatever their likelihoods; raises TableError."""
    try:
        statements = ast.literal_eval(text)
        if isinstance(statements, dict):
            return frozenset(map(str, statements))
    except (ValueError, SyntaxError):
        pass
    raise TableError(f"{path}: scp_codes is {text[:60]!r}, not a mapping of statements to likelihoods")
