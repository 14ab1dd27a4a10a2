"""Output files of the Challenge 2020 format: a folder of them into decisions and scores, aligned with records.

One CSV file a record, named after it: `#RECORD`, a row of SNOMED CT codes, a row of 0 or 1, a row of scores. Codes
of one merged class are joined as the Challenge does it: decided if any is, scored by their mean. Codes that are
not scored are left out; a class that a file does not name is not decided and scores zero.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from . import labels
from .metrics import Bools, Floats
from .records.entry import RecordEntry

_NAMED_IN_ERRORS = 10  # records; more would bury the message
_DECISIONS = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}


class OutputError(EcgEdgeError):
    """Output files that are missing or not in the Challenge's format."""


@dataclass(frozen=True)
class ChallengeOutput:
    """Decisions and scores of records, in the order of `labels.CODES`."""

    records: tuple[str, ...]
    """Record names."""
    decisions: Bools
    """(records, 24)."""
    scores: Floats
    """(records, 24)."""


def read_output(path: Path) -> tuple[str, Bools, Floats]:
    """Return record name, decisions (24,) and scores (24,) of one file; raises OutputError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"cannot read {path}: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != 4 or not lines[0].startswith("#"):
        raise OutputError(f"{path} is not in the Challenge's format: it takes #RECORD, codes, 0 or 1, scores")
    name = lines[0].lstrip("#").strip(" ,")
    codes, decided, scored = ([cell.strip() for cell in row] for row in csv.reader(lines[1:]))
    if not len(codes) == len(decided) == len(scored):
        raise OutputError(f"{path} has {len(codes)} codes, {len(decided)} decisions and {len(scored)} scores")
    try:
        decisions = np.array([_DECISIONS[cell.lower()] for cell in decided], dtype=np.bool_)
        scores = np.array(scored, dtype=np.float64)
    except (KeyError, ValueError) as error:
        raise OutputError(f"{path}: {error} is no decision or score") from error
    if np.isnan(scores).any():
        raise OutputError(f"{path}: a score is NaN")
    merged = [labels.scored([code]) for code in codes]
    any_decided = np.zeros(len(labels.CODES), dtype=np.bool_)
    mean_score = np.zeros(len(labels.CODES))
    for k, code in enumerate(labels.CODES):
        members = [i for i, classes in enumerate(merged) if code in classes]
        if members:
            any_decided[k] = decisions[members].any()
            mean_score[k] = scores[members].mean()
    return name, any_decided, mean_score


def read_folder(folder: Path) -> ChallengeOutput:
    """Return all output files (`*.csv`) of `folder`, sorted by name.

    Raises OutputError where there is none, where one is malformed, or where its `#RECORD` is not its name.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise OutputError(f"{folder} has no output files: write them with ecg-edge predict --challenge-output {folder}")
    rows = []
    for file in files:
        name, decisions, scores = read_output(file)
        if Path(name).name != file.stem:
            raise OutputError(f"{file} is the output of record {name!r}: name the file after its record")
        rows.append((decisions, scores))
    return ChallengeOutput(
        tuple(file.stem for file in files), np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    )


def align(output: ChallengeOutput, entries: Sequence[RecordEntry]) -> ChallengeOutput:
    """Return the outputs of `entries`, in their order; outputs of other records are left out.

    A PTB-XL record is also found under the names of its copies (`00007_lr`, `00007_hr`, `HR00007`).
    Raises OutputError naming the records without an output.
    """
    row = {name: i for i, name in enumerate(output.records)}
    found = [next((row[name] for name in _names(entry) if name in row), None) for entry in entries]
    missing = [entry.path.name for entry, i in zip(entries, found, strict=True) if i is None]
    if missing:
        more = f" and {len(missing) - _NAMED_IN_ERRORS} more" if len(missing) > _NAMED_IN_ERRORS else ""
        raise OutputError(
            f"no output for {len(missing)} of {len(entries)} records: {', '.join(missing[:_NAMED_IN_ERRORS])}{more}; "
            "predict them too, or choose fewer records"
        )
    rows = [i for i in found if i is not None]
    return ChallengeOutput(tuple(entry.path.name for entry in entries), output.decisions[rows], output.scores[rows])


def _names(entry: RecordEntry) -> tuple[str, ...]:
    if entry.ecg_id is None or not entry.scaled:
        return (entry.path.name,)
    return entry.path.name, f"{entry.ecg_id:05d}_lr", f"{entry.ecg_id:05d}_hr", f"HR{entry.ecg_id:05d}"
