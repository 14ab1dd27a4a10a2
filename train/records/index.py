"""All records below one folder, each ECG once, and their split by fold.

The folder holds what the user has of `ptbxl/`, `ptbxl_z/` and `cinc2020/<source>/`.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from . import challenge, ptbxl, ptbxl_z
from .entry import Broken, RecordEntry, ecg_key
from .tables import FOLDS


class IndexingError(EcgEdgeError):
    """A data folder without the records asked for."""


class SplitError(EcgEdgeError):
    """A split that would put one patient on two sides."""


@dataclass(frozen=True)
class RecordIndex:
    """What a data folder holds."""

    entries: tuple[RecordEntry, ...]
    """Usable records, no ECG twice."""
    broken: tuple[Broken, ...] = ()
    """Records that cannot be used, with reasons."""
    duplicates: tuple[RecordEntry, ...] = ()
    """Records left out because a better copy of the same ECG is among the entries."""
    absent: tuple[str, ...] = ()
    """Sources that were looked for and are not there."""

    def by_source(self) -> dict[str, int]:
        """Return the number of entries of each source."""
        return dict(Counter(entry.source for entry in self.entries))


@dataclass(frozen=True)
class Split:
    """Records by side."""

    train: tuple[RecordEntry, ...]
    """To fit on."""
    valid: tuple[RecordEntry, ...]
    """To stop, select and set thresholds on."""
    test: tuple[RecordEntry, ...]
    """To report on, once."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Records on no side, counted by reason."""


def build_index(root: Path, sources: Collection[str] | None = None, rate: int = 100) -> RecordIndex:
    """Return the index of the records below `root`.

    sources: names out of `ptbxl`, `ptbxl_z`, `cinc2020` (every source of the Challenge) and its sources' own names;
    None for all that are there. rate: which copy of a PTB-XL record is taken where there are two, 100 or 500 Hz.
    Where one ECG comes more than once, PTB-XL's own record is kept, else the Challenge's, else the z-scored one.
    Folds of PTB-XL's ECGs are known from the tables of `ptbxl` and `ptbxl_z`, asked for or not.
    Raises IndexingError where `root` is no folder or a named source is not there, TableError for a wrong table.
    """
    if not root.is_dir():
        raise IndexingError(f"{root} is not a folder: give the one that holds ptbxl, ptbxl_z or cinc2020")
    folder, z_folder, challenges = root / "ptbxl", root / "ptbxl_z", root / challenge.FOLDER
    there = [ptbxl.SOURCE] * ptbxl.present(folder) + challenge.sources(challenges)
    there += [ptbxl_z.SOURCE] * ptbxl_z.present(z_folder)
    wanted = _expand(sources, challenges)
    missing = [name for name in wanted if name not in there]
    if sources is not None and missing:
        raise IndexingError(
            f"{root} has no records of {', '.join(missing)}; it has {', '.join(there) or 'none at all'}"
        )

    identities = ptbxl_z.read_identities(z_folder) if ptbxl_z.SOURCE in there else {}
    identities |= ptbxl.read_identities(folder) if ptbxl.SOURCE in there else {}
    found: list[RecordEntry] = []
    broken: list[Broken] = []
    for source in there:  # in the order of preference among copies of one ECG
        if sources is not None and source not in wanted:
            continue
        if source == ptbxl.SOURCE:
            more, bad = ptbxl.read_entries(folder, rate)
        elif source == ptbxl_z.SOURCE:
            more, bad = ptbxl_z.read_entries(z_folder, identities, ptbxl.superclass_table(folder))
        else:
            more, bad = challenge.read_entries(challenges, source, identities)
        found += more
        broken += bad

    entries, duplicates, seen = [], [], set()
    for entry in found:
        if entry.ecg_id is not None and entry.ecg_id in seen:
            duplicates.append(entry)
            continue
        seen.add(entry.ecg_id)
        entries.append(entry)
    return RecordIndex(tuple(entries), tuple(broken), tuple(duplicates), tuple(missing))


def split(
    index: RecordIndex, train_folds: Iterable[int], valid_folds: Iterable[int], test_folds: Iterable[int] = ()
) -> Split:
    """Return the records of `index` by side; no patient and no ECG is on two sides.

    Records of sources without folds are for training only. On no side are PTB-XL's ECGs of unknown or unnamed
    folds, and the z-scored records of validation and test folds: their voltages are not the patient's.
    Raises SplitError where folds overlap or are none, or where the database has a patient in folds of two sides.
    """
    sides = {"train": frozenset(train_folds), "valid": frozenset(valid_folds), "test": frozenset(test_folds)}
    folds = [fold for side in sides.values() for fold in side]
    if len(set(folds)) != len(folds):
        doubled = sorted({fold for fold in folds if folds.count(fold) > 1})
        raise SplitError(f"fold {', '.join(map(str, doubled))} is on two sides: name each fold once")
    wrong = sorted(set(folds) - set(FOLDS))
    if wrong:
        raise SplitError(f"there is no fold {', '.join(map(str, wrong))}: folds are 1 to 10")

    records: dict[str, list[RecordEntry]] = {side: [] for side in sides}
    left_out: Counter[str] = Counter()
    for entry in index.entries:
        if entry.fold is None:
            if entry.ecg_id is not None:
                left_out["PTB-XL record of unknown fold"] += 1
            else:
                records["train"].append(entry)
            continue
        side = next((name for name, members in sides.items() if entry.fold in members), None)
        if side is None:
            left_out["fold on no side"] += 1
        elif side != "train" and not entry.scaled:
            left_out[f"z-scored record of a {side} fold"] += 1
        else:
            records[side].append(entry)
    check_disjoint(records)
    return Split(tuple(records["train"]), tuple(records["valid"]), tuple(records["test"]), dict(left_out))


def check_disjoint(sides: dict[str, list[RecordEntry]]) -> None:
    """Raise SplitError where a patient or an ECG stands on two sides (name to records)."""
    where: dict[str, str] = {}
    for side, entries in sides.items():
        for entry in entries:
            keys = [entry.patient] if entry.ecg_id is None else [entry.patient, ecg_key(entry.ecg_id)]
            for key in keys:
                other = where.setdefault(key, side)
                if other != side:
                    raise SplitError(f"{key} is in both {other} and {side} (seen at {entry.path}): mend its fold")


def _expand(sources: Collection[str] | None, challenges: Path) -> list[str]:
    if sources is None:
        return [ptbxl.SOURCE, *(challenge.sources(challenges) or [challenge.FOLDER]), ptbxl_z.SOURCE]
    wanted: list[str] = []
    for source in sources:
        wanted += (challenge.sources(challenges) or [source]) if source == challenge.FOLDER else [source]
    return wanted
