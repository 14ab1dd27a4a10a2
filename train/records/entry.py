"""What is known of one record before its signal is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

HIDDEN_AGE = 90.0  # PTB-XL writes 300 for every patient older than 89


@dataclass(frozen=True)
class RecordEntry:
    """One record of a database: where it lies, whose it is, what it shows."""

    path: Path
    """Path without suffix, as in WFDB."""
    source: str
    """Database: `ptbxl`, `ptbxl_z`, or the folder's name below `cinc2020`."""
    patient: str
    """Group key: records that share it never stand on two sides of a split."""
    ecg_id: int | None
    """PTB-XL's number of the ECG, for every source that PTB-XL is part of."""
    fold: int | None
    """PTB-XL's `strat_fold`, 1 to 10; None where the source has no folds or this ECG's is not known."""
    codes: frozenset[str]
    """Scored diagnoses: SNOMED CT codes out of `labels.CODES`, equivalents merged."""
    unscored: frozenset[str] = frozenset()
    """SNOMED CT codes that the Challenge does not score."""
    superclasses: frozenset[str] | None = None
    """PTB-XL superclasses out of `labels.SUPERCLASS_ABBREVIATIONS`; None where statements are not known."""
    age: float | None = None
    """Years; HIDDEN_AGE stands for 90 and older."""
    sex: str | None = None
    """`male`, `female` or None."""
    scaled: bool = True
    """False where the signal has lost its millivolts: `ptbxl_z` has to restore a scale."""
    limb_ratios: tuple[float, float] | None = None
    """Where not `scaled`: standard deviations of leads I and III in units of lead II's."""

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON types."""
        return {
            "path": str(self.path),
            "source": self.source,
            "patient": self.patient,
            "ecg_id": self.ecg_id,
            "fold": self.fold,
            "codes": sorted(self.codes),
            "unscored": sorted(self.unscored),
            "superclasses": None if self.superclasses is None else sorted(self.superclasses),
            "age": self.age,
            "sex": self.sex,
            "scaled": self.scaled,
        }


@dataclass(frozen=True)
class Broken:
    """A record that is listed by its database and cannot be used."""

    path: Path
    """Path without suffix."""
    reason: str
    """What is wrong with it."""


@dataclass(frozen=True)
class Identity:
    """Whose ECG a PTB-XL number is, and on which side of a split it belongs."""

    patient: str
    """Group key."""
    fold: int
    """`strat_fold`, 1 to 10."""


def parse_age(text: str) -> float | None:
    """Return the age in years in a header's or a table's words, None for an unknown one (`NaN`, `Unknown`, -1)."""
    try:
        age = float(text)
    except ValueError:
        return None
    if not 0 <= age < float("inf"):
        return None
    return min(age, HIDDEN_AGE)


def parse_sex(text: str) -> str | None:
    """Return `male` or `female` for the words, letters and PTB-XL digits (0 male, 1 female) in use, else None."""
    folded = text.strip().lower()
    if folded in {"male", "m", "0"}:
        return "male"
    return "female" if folded in {"female", "f", "1"} else None


def ecg_key(ecg_id: int) -> str:
    """Return the group key of an ECG whose patient is not known."""
    return f"ptbxl/ecg/{ecg_id}"


def has_files(record: Path) -> bool:
    """Return whether header and signal file of a record are there."""
    return all(record.with_name(f"{record.name}.{suffix}").is_file() for suffix in ("hea", "dat"))
