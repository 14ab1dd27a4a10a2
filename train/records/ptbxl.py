"""PTB-XL: 12-lead ECGs of ten seconds with SCP statements and ten patient-disjoint folds.

Layout below the database's folder: `ptbxl_database.csv`, `records100/`, `records500/`; and, where the user has
it, `challenge_labels.csv` (`ecg_id`, `dx`) with the SNOMED CT codes that the Challenge 2020 gives the same records.
Where that is missing, the codes follow from the statements and the heart axis.
Source: Wagner et al. 2020, doi 10.1038/s41597-020-0495-6.
"""

from pathlib import Path

from .. import labels
from .entry import Broken, Identity, RecordEntry, ecg_key, has_files, parse_age, parse_sex
from .tables import fold_of, number, parse_statements, read_table

SOURCE = "ptbxl"


def present(folder: Path) -> bool:
    """Return whether `folder` holds the database's table."""
    return _database(folder).is_file()


def read_identities(folder: Path) -> dict[int, Identity]:
    """Return patient and fold of every ECG number in the table; raises TableError."""
    identities = {}
    for row in read_table(_database(folder), ("ecg_id", "strat_fold")):
        ecg_id = number(row, "ecg_id", _database(folder))
        patient = row.get("patient_id") or ""
        # Some releases write the number of a patient as a float; it stays the same patient.
        key = f"ptbxl/patient/{patient.removesuffix('.0')}" if patient else ecg_key(ecg_id)
        identities[ecg_id] = Identity(key, fold_of(row, _database(folder)))
    return identities


def read_entries(folder: Path, rate: int = 100) -> tuple[list[RecordEntry], list[Broken]]:
    """Return every record of the table, at the sampling rate asked for (100 or 500 Hz) or else at the other one.

    A record whose files are at neither place is broken. Raises TableError where a table is not PTB-XL's.
    """
    path = _database(folder)
    identities = read_identities(folder)
    dx = _read_challenge_labels(folder / "challenge_labels.csv")
    columns = ("filename_hr", "filename_lr") if rate == 500 else ("filename_lr", "filename_hr")
    entries, broken = [], []
    for row in read_table(path, ("ecg_id", "strat_fold", "scp_codes", "filename_lr")):
        ecg_id = number(row, "ecg_id", path)
        names = [row[column] for column in columns if row.get(column)]
        record = next((folder / name for name in names if has_files(folder / name)), None)
        if record is None:
            wanted = names[0] if names else f"{ecg_id:05d}"
            broken.append(Broken(folder / wanted, "header or signal file missing"))
            continue
        statements = parse_statements(row["scp_codes"], path)
        codes = dx.get(ecg_id, labels.codes_of_statements(statements, row.get("heart_axis") or ""))
        entries.append(
            RecordEntry(
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
            )
        )
    return entries, broken


def _database(folder: Path) -> Path:
    return folder / "ptbxl_database.csv"


def _read_challenge_labels(path: Path) -> dict[int, frozenset[str]]:
    if not path.is_file():
        return {}
    return {number(row, "ecg_id", path): frozenset(row["dx"].split()) for row in read_table(path, ("ecg_id", "dx"))}
