"""PTB-XL records that are left only band-passed (0.5-40 Hz) and z-scored per lead, and their way back to microvolts.

Layout below the folder: `database.csv` (`ecg_id`, `age`, `sex`, `scp_codes`, `dx`, `strat_fold`, `filename_z`,
`amp_I_to_II`, `amp_III_to_II`) and WFDB records in format 16 with the unit `z`. Einthoven's law gives back how the
limb leads relate; the precordial leads and all millivolts are typical values. So these records serve rhythm,
conduction and pretraining, and nothing that voltage defines. Train on them; do not report on them.
"""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT, Recording
from ecg_edge.runtime.sources.wfdb_header import read_header
from ecg_edge.runtime.sources.wfdb_signal import read_frames

from .. import labels
from .entry import Broken, Identity, RecordEntry, ecg_key, has_files, parse_age, parse_sex
from .tables import TableError, fold_of, number, parse_statements, read_table

SOURCE = "ptbxl_z"

TYPICAL_STD_MV = {
    "I": 0.127, "II": 0.127, "III": 0.092, "aVR": 0.119, "aVL": 0.091, "aVF": 0.091,
    "V1": 0.145, "V2": 0.239, "V3": 0.232, "V4": 0.223, "V5": 0.203, "V6": 0.169,
}  # fmt: skip
"""Median over raw PTB-XL records of each lead's standard deviation, band-passed 0.5-40 Hz."""

# How the logarithms of those standard deviations spread over the 1,331 raw records of folds 1 to 7, as variances of
# independent parts: one common to all leads (mean covariance of II with V1..V6), one more for the limb leads
# (variance of II), one more common to the precordial leads (their mean covariance), one for each of them.
COMMON_VARIANCE = 0.065
LIMB_VARIANCE = 0.084
PRECORDIAL_VARIANCE = 0.020
LEAD_VARIANCE = 0.103

_PV_PER_MICROVOLT = 1_000_000
EINTHOVEN_LIMIT = 0.05  # of lead II's std; all records but one (its leads contradict each other) stay below 0.005


class ScaleError(EcgEdgeError):
    """A record whose scale cannot be restored."""


def present(folder: Path) -> bool:
    """Return whether `folder` holds the database's table."""
    return (folder / "database.csv").is_file()


def read_identities(folder: Path) -> dict[int, Identity]:
    """Return key and fold of every ECG number in the table; raises TableError."""
    path = folder / "database.csv"
    return {
        number(row, "ecg_id", path): Identity(ecg_key(number(row, "ecg_id", path)), fold_of(row, path))
        for row in read_table(path, ("ecg_id", "strat_fold"))
    }


def read_entries(folder: Path, identities: dict[int, Identity]) -> tuple[list[RecordEntry], list[Broken]]:
    """Return every record of the table, and those whose signal is missing or contradicts Einthoven's law.

    identities: patient and fold by ECG number. Reads every signal. Raises TableError where the table is another one.
    """
    path = folder / "database.csv"
    needed = ("ecg_id", "scp_codes", "dx", "strat_fold", "filename_z", "amp_I_to_II", "amp_III_to_II")
    entries, broken = [], []
    for row in read_table(path, needed):
        ecg_id = number(row, "ecg_id", path)
        record = folder / row["filename_z"]
        statements = parse_statements(row["scp_codes"], path)
        codes = frozenset(row["dx"].split())
        entry = RecordEntry(
            path=record,
            source=SOURCE,
            patient=identities[ecg_id].patient,
            ecg_id=ecg_id,
            fold=identities[ecg_id].fold,
            codes=labels.scored(codes),
            unscored=labels.unscored(codes | labels.codes_of_statements(statements)),
            statements=statements,
            age=parse_age(row.get("age") or ""),
            sex=parse_sex(row.get("sex") or ""),
            scaled=False,
            limb_ratios=(_ratio(row, "amp_I_to_II", path), _ratio(row, "amp_III_to_II", path)),
        )
        if not has_files(record):
            broken.append(Broken(record, "header or signal file missing"))
            continue
        try:
            _limb_leads(entry, read_z(record))
        except EcgEdgeError as error:
            broken.append(Broken(record, str(error)))
            continue
        entries.append(entry)
    return entries, broken


def read_z(record: Path) -> npt.NDArray[np.float64]:
    """Return the z-scored signal (samples, 12), rows in time, columns in LEADS' order.

    Raises ScaleError for another kind of record, HeaderError or SignalFileError for a damaged one.
    """
    header = read_header(record)
    units = {signal.units for signal in header.signals}
    formats = {signal.format for signal in header.signals}
    files = {signal.file for signal in header.signals}
    names = tuple(signal.name for signal in header.signals)
    if names != LEADS or units != {"z"} or formats != {16} or len(files) != 1 or header.rate != 100:
        raise ScaleError(f"{record} is no z-scored 12-lead record at 100 Hz in format 16")
    counts = read_frames(record.parent / files.pop(), 16, len(LEADS), 0, 0, header.samples or 0)
    gains = np.array([signal.gain for signal in header.signals])
    z: npt.NDArray[np.float64] = counts / gains
    return z


def amplitude_factors(seed: int | None, ecg_id: int) -> npt.NDArray[np.float64]:
    """Return what multiplies the typical amplitude of the limb leads and of V1..V6, float64 (7,).

    Ones for `seed` None. Otherwise log-normal with the spread of raw records, the same for the same seed and ECG
    number, in whatever order records are read.
    """
    if seed is None:
        return np.ones(7)
    rng = np.random.default_rng([seed, ecg_id])
    common = rng.normal(0, math.sqrt(COMMON_VARIANCE))
    limb = rng.normal(0, math.sqrt(LIMB_VARIANCE))
    precordial = rng.normal(0, math.sqrt(PRECORDIAL_VARIANCE))
    leads = rng.normal(0, math.sqrt(LEAD_VARIANCE), 6)
    factors: npt.NDArray[np.float64] = np.exp(common + np.concatenate(([limb], precordial + leads)))
    return factors


def read_scaled(entry: RecordEntry, seed: int | None = None) -> Recording:
    """Return the record in counts of 1 microvolt, with the eight leads that a 12-lead front end measures.

    I and II get the ratio that Einthoven's law fixes and lead II its typical standard deviation times a factor;
    V1..V6 get their typical ones times theirs (`amplitude_factors(seed, ecg_id)`). The other limb leads are not
    among the channels: whoever needs them derives them from I and II, and so they agree exactly.
    Raises ScaleError, and what read_z raises.
    """
    if entry.scaled or entry.ecg_id is None:
        raise ScaleError(f"{entry.path} is in millivolts already: read it as a record")
    z = read_z(entry.path)
    factors = amplitude_factors(seed, entry.ecg_id)
    lead_i, lead_ii = _limb_leads(entry, z)
    precordial = np.array([TYPICAL_STD_MV[lead] for lead in LEADS[6:]]) * factors[1:]
    millivolts = np.column_stack(
        (np.stack((lead_i, lead_ii), axis=1) * TYPICAL_STD_MV["II"] * factors[0], z[:, 6:] * precordial)
    )
    counts = np.clip(np.rint(millivolts * 1000), -COUNT_LIMIT, COUNT_LIMIT).astype(np.int32)
    return Recording(entry.path.name, 100, MEASURED_LEADS, counts, _PV_PER_MICROVOLT)


def _limb_leads(
    entry: RecordEntry, z: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return leads I and II in units of lead II's standard deviation; raises ScaleError if III contradicts them."""
    if entry.limb_ratios is None:
        raise ScaleError(f"{entry.path} has no ratios of its limb leads")
    lead_i = entry.limb_ratios[0] * z[:, 0]
    lead_iii = entry.limb_ratios[1] * z[:, 2]
    residual = float(np.std(lead_i + lead_iii - z[:, 1]))
    if not residual <= EINTHOVEN_LIMIT:
        raise ScaleError(f"limb leads contradict each other: I + III differs from II by {residual:.2f} of its std")
    return lead_i, z[:, 1]


def _ratio(row: dict[str, str], column: str, path: Path) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise TableError(f"{path}: {column} is {row[column]!r}, not a positive number")
    return value
