"""All records below one folder, each ECG once, and their split by fold.

The folder holds what the user has of `ptbxl/`, `ptbxl_z/`, `cpsc2018/` and `cinc2020/<source>/` (or `cinc2021`).
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from . import challenge, cpsc2018, ptbxl, ptbxl_z
from .entry import Broken, RecordEntry
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

    def mended(self) -> dict[str, int]:
        """Return the number of entries of each source whose header's gain is known to be wrong, and put right."""
        return dict(Counter(entry.source for entry in self.entries if entry.gain_error != 1))


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

    sources: names out of `ptbxl`, `ptbxl_z`, `cpsc2018`, `cinc2020` or `cinc2021` (either is every source of the
    Challenges, of both years) and the Challenges' sources' own names; None for all that are there.
    rate: which copy of a PTB-XL record is taken where there are two, 100 or 500 Hz.
    Where one ECG comes more than once, PTB-XL's own record is kept, else the Challenge's, else the original of
    CPSC 2018 or the z-scored one.
    Folds of PTB-XL's ECGs are known from the tables of `ptbxl` and `ptbxl_z`, asked for or not.
    Raises IndexingError where `root` is no folder or a named source is not there, TableError for a wrong table.
    """
    if not root.is_dir():
        raise IndexingError(f"{root} is not a folder: give the one that holds ptbxl, ptbxl_z or cinc2020")
    folder, z_folder, cpsc_folder = root / ptbxl.SOURCE, root / ptbxl_z.SOURCE, root / cpsc2018.SOURCE
    there = [ptbxl.SOURCE] * ptbxl.present(folder) + challenge.sources(root)
    there += [cpsc2018.SOURCE] * cpsc2018.present(cpsc_folder) + [ptbxl_z.SOURCE] * ptbxl_z.present(z_folder)
    wanted = _expand(sources, challenge.sources(root))
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
            more, bad = ptbxl_z.read_entries(z_folder, identities)
        elif source == cpsc2018.SOURCE:
            more, bad = cpsc2018.read_entries(cpsc_folder)
        else:
            more, bad = challenge.read_entries(root, source, identities)
        found += more
        broken += bad

    first: dict[str, RecordEntry] = {}
    for entry in found:
        first.setdefault(entry.ecg, entry)
    entries = list(first.values())
    duplicates = [entry for entry in found if first[entry.ecg] is not entry]
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
            for key in {entry.patient: None, entry.ecg: None}:
                other = where.setdefault(key, side)
                if other != side:
                    raise SplitError(f"{key} is in both {other} and {side} (seen at {entry.path}): mend its fold")


def _expand(sources: Collection[str] | None, challenges: list[str]) -> list[str]:
    if sources is None:
        return [ptbxl.SOURCE, *(challenges or challenge.FOLDERS[-1:]), cpsc2018.SOURCE, ptbxl_z.SOURCE]
    wanted: list[str] = []
    for source in sources:
        wanted += (challenges or [source]) if source in challenge.FOLDERS else [source]
    return wanted
