"""What is known of one record before its signal is read."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..statements import superclasses

HIDDEN_AGE = 90.0  # PTB-XL writes 300 for every patient older than 89


@dataclass(frozen=True)
class RecordEntry:
    """One record of a database: where it lies, whose it is, what it shows."""

    path: Path
    """Path without suffix, as in WFDB."""
    source: str
    """Database: `ptbxl`, `ptbxl_z`, `cpsc2018`, or the name of a source of the Challenges."""
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
    statements: frozenset[str] | None = None
    """PTB-XL's SCP-ECG statements, whatever their likelihoods; None where the source has none."""
    age: float | None = None
    """Years; HIDDEN_AGE stands for 90 and older."""
    sex: str | None = None
    """`male`, `female` or None."""
    scaled: bool = True
    """False where the signal has lost its millivolts: `ptbxl_z` has to restore a scale."""
    limb_ratios: tuple[float, float] | None = None
    """Where not `scaled`: standard deviations of leads I and III in units of lead II's."""
    gain_error: float = 1.0
    """What millivolts by the header have to be multiplied by: not 1 where its gain is known to be wrong."""

    @property
    def name(self) -> str:
        """Source and file name, as predictions name the record."""
        return f"{self.source}/{self.path.name}"

    @property
    def superclasses(self) -> frozenset[str] | None:
        """PTB-XL superclasses out of `labels.SUPERCLASS_ABBREVIATIONS`; None where statements are not known."""
        return None if self.statements is None else superclasses(self.statements)

    @property
    def ecg(self) -> str:
        """Key of the ECG, the same for every copy of it in any source.

        Only PTB-XL tells patients from ECGs; elsewhere each ECG is its own group.
        """
        return self.patient if self.ecg_id is None else ecg_key(self.ecg_id)

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
            "statements": None if self.statements is None else sorted(self.statements),
            "superclasses": None if self.superclasses is None else sorted(self.superclasses),
            "age": self.age,
            "sex": self.sex,
            "scaled": self.scaled,
            "gain_error": self.gain_error,
        }


@dataclass(frozen=True)
class Broken:
    """A record that is listed by its database and cannot be used."""

    path: Path
    """Path without suffix."""
    reason: str
    """What is wrong with it."""


def by_reason(broken: Iterable[Broken]) -> dict[str, int]:
    """Return how many records are broken for each reason, the most common first.

    Reasons that differ only in the record's name or in numbers are one: these are then written as `...`.
    """
    groups: dict[str, list[str]] = {}
    for item in broken:
        bare = item.reason.replace(str(item.path), "...").replace(item.path.name, "...")
        groups.setdefault(re.sub(r"\d+(\.\d+)?", "...", bare), []).append(item.reason)
    counts = Counter({key if len(set(each)) > 1 else each[0]: len(each) for key, each in groups.items()})
    return dict(counts.most_common())


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
