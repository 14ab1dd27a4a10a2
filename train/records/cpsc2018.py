"""CPSC 2018 as its organisers released it: MATLAB files and a reference table of digits.

Layout below the folder, at any depth (`TrainingSet1/` ...): `A0001.mat`, and `REFERENCE.csv` or a corrected
`REFERENCE-v3.csv`, whose rows replace those of lower versions. The Challenge's source `cpsc_2018` is a copy of the
same 6,877 recordings under the same names. Source: Liu et al. 2018, doi 10.1166/jmihi.2018.2442.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT, Recording

from .. import labels
from .entry import Broken, RecordEntry
from .matlab import MatlabFileError, read_matrix
from .tables import TableError, read_table

SOURCE = "cpsc2018"
CHALLENGE_SOURCE = "cpsc_2018"  # the same recordings, which share keys with these

RATE = 500  # Hz; the files do not say it, the release does

_PV_PER_MICROVOLT = 1_000_000  # as the Challenge's copy has it: 1000 ADC units per mV
_COLUMNS = ("First_label", "Second_label", "Third_label")
_CODE_OF_DIGIT = dict(enumerate(labels.CPSC2018_CODES.values(), start=1))


def present(folder: Path) -> bool:
    """Return whether a reference table lies anywhere below `folder`."""
    return bool(_tables(folder))


def read_entries(folder: Path) -> tuple[list[RecordEntry], list[Broken]]:
    """Return every record of the reference tables, and those without a file or a label, with the reason.

    Signals are not read, so age and sex, which lie in the same files, stay None. Raises TableError for a table with
    other columns or labels.
    """
    digits: dict[str, frozenset[int]] = {}
    for table in _tables(folder):
        for row in read_table(table, ("Recording", *_COLUMNS)):
            digits[row["Recording"].strip().removesuffix(".mat")] = _digits(row, table)
    files = {path.stem: path for path in sorted(folder.rglob("*.mat"), reverse=True)}
    entries, broken = [], []
    for name in sorted(digits.keys() | files.keys()):
        record = files[name].with_suffix("") if name in files else folder / name
        if name not in files:
            broken.append(Broken(record, "signal file missing"))
        elif not digits.get(name):
            broken.append(Broken(record, "no label in the reference table"))
        else:
            codes = {_CODE_OF_DIGIT[digit] for digit in digits[name]}
            entries.append(
                RecordEntry(
                    path=record,
                    source=SOURCE,
                    patient=f"{CHALLENGE_SOURCE}/{name}",
                    ecg_id=None,
                    fold=None,
                    codes=labels.scored(codes),
                    unscored=labels.unscored(codes),
                )
            )
    return entries, broken


def read(record: Path) -> Recording:
    """Return the recording in `record`.mat, in counts of 1 microvolt; samples that are no numbers are `invalid`.

    Raises MatlabFileError, and nothing else, whatever the file holds.
    """
    path = record.with_name(f"{record.name}.mat")
    millivolts = read_matrix(path, "ECG", "data")
    if len(millivolts) != len(LEADS) or not millivolts.size:
        raise MatlabFileError(f"{path} holds no 12 leads but a matrix of {millivolts.shape}: fetch it again")
    return _recording(record.name, millivolts.T)


def _recording(name: str, millivolts: npt.NDArray[np.float64]) -> Recording:
    invalid = ~np.isfinite(millivolts)
    microvolts = np.rint(np.where(invalid, 0, millivolts) * 1000)
    counts = microvolts.clip(-COUNT_LIMIT, COUNT_LIMIT).astype(np.int32)
    return Recording(name, RATE, LEADS, counts, _PV_PER_MICROVOLT, invalid if invalid.any() else None)


def _tables(folder: Path) -> list[Path]:
    """Return the reference tables, those of higher version last."""

    def version(path: Path) -> tuple[int, Path]:
        match = re.search(r"v(\d+)", path.stem, re.IGNORECASE)
        return (int(match[1]) if match else 1), path

    return sorted(folder.rglob("REFERENCE*.csv"), key=version)


def _digits(row: dict[str, str], table: Path) -> frozenset[int]:
    cells = [row[column].strip() for column in _COLUMNS]
    try:
        digits = frozenset(int(float(cell)) for cell in cells if cell and cell.lower() != "nan")
    except (ValueError, OverflowError):
        digits = frozenset({0})
    if not digits <= _CODE_OF_DIGIT.keys():
        raise TableError(f"{table}: labels of {row['Recording']} are {', '.join(cells)}, not digits 1 to 9")
    return digits
