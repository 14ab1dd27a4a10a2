"""Which record is on which side: k stratified folds without a shared patient, and one source left out.

Folds are assigned by iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, doi
10.1007/978-3-642-23808-6_10) with patients in the place of examples: the rarest label that is still to be dealt out
goes first, each patient with it to the fold that lacks it most. Labels are the scored diagnoses, the superclasses
and the source. Folds that PTB-XL has published are kept where there are as many as are asked for, because its
publishers knew whose each ECG is, which a copy of the tables may not: a new assignment can only keep apart the
patients that the entries name (`unknown_patients` counts the ECGs that name none).

Validation and test are always two different folds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .records.entry import RecordEntry, ecg_key
from .records.index import Split, SplitError, check_disjoint

PTBXL_SOURCES = frozenset({"ptbxl", "ptbxl_z", "ptb-xl"})
"""Sources that are one database: left out together."""

NO_SIDE = 0
"""Number of a record that belongs to no fold: of PTB-XL, but not known which fold, where its folds are kept."""

_FEWEST_FOLDS = 3  # train, validation and test
_FOLDS_OF_THE_REST = 10  # as PTB-XL has: a tenth validates


@dataclass(frozen=True)
class Folds:
    """Every record and its fold."""

    entries: tuple[RecordEntry, ...]
    """The records, (N,)."""
    numbers: tuple[int, ...]
    """Fold of each, 1 to k, or NO_SIDE."""
    k: int
    """How many folds there are."""
    published: bool
    """Whether PTB-XL's records are in the folds it published (in their order, where some are not there)."""

    @property
    def unknown_patients(self) -> int:
        """ECGs of PTB-XL without a known patient, which are kept apart only where the published folds are kept."""
        return sum(e.ecg_id is not None and e.patient == ecg_key(e.ecg_id) for e in self.entries)

    def sides(self, test_fold: int, valid_fold: int | None = None) -> Split:
        """Return the records by side; validation is the fold after the test fold unless named.

        Z-scored records of the two folds are on no side: their voltages are not the patient's. Raises SplitError
        where a fold is not there, or validation and test are one fold.
        """
        valid_fold = test_fold % self.k + 1 if valid_fold is None else valid_fold
        if not (1 <= test_fold <= self.k and 1 <= valid_fold <= self.k):
            raise SplitError(f"there is no fold {test_fold} or {valid_fold}: these folds are 1 to {self.k}")
        if valid_fold == test_fold:
            raise SplitError(f"fold {test_fold} cannot both choose and report: name another validation fold")
        return _split(self, {valid_fold: "valid", test_fold: "test"})

    def pretraining(self, *withheld: int) -> tuple[RecordEntry, ...]:
        """Return the records outside the withheld folds, for pretraining; the test fold is to be among these.

        Unlike the sides it leaves the withheld folds out whole, z-scored records too, and never holds a record of
        unknown fold.
        """
        out = {NO_SIDE, *withheld}
        return tuple(e for e, number in zip(self.entries, self.numbers, strict=True) if number not in out)


def assign(entries: Sequence[RecordEntry], k: int, seed: int = 0) -> Folds:
    """Return k patient-disjoint stratified folds; the order of the entries does not matter, the seed breaks ties.

    Where the entries have k of PTB-XL's published folds, PTB-XL's records stay in them and the other sources are
    dealt out around them. Raises SplitError for fewer than three folds or fewer patients than folds, or where a
    published fold shares a patient with another.
    """
    if k < _FEWEST_FOLDS:
        raise SplitError(f"{k} folds are too few: training, validation and test take at least {_FEWEST_FOLDS}")
    there = sorted({entry.fold for entry in entries if entry.fold is not None})
    published = len(there) == k
    fixed: dict[str, int] = {}
    unknown: set[str] = set()
    if published:
        for entry in entries:
            if entry.fold is not None:
                number = there.index(entry.fold) + 1
                if fixed.setdefault(entry.patient, number) != number:
                    raise SplitError(f"{entry.patient} is in two published folds (seen at {entry.path}): mend its fold")
        unknown = {e.patient for e in entries if e.ecg_id is not None and e.fold is None} - set(fixed)
    known = [entry for entry in entries if entry.patient not in unknown]
    patients = sorted({entry.patient for entry in known})
    if len(patients) < k:
        raise SplitError(f"{len(patients)} patients do not fill {k} folds: ask for fewer")
    place = {patient: i for i, patient in enumerate(patients)}
    labels, _ = stratification_labels(known)
    rows = np.array([place[entry.patient] for entry in known])
    held = np.zeros((len(patients), labels.shape[1] + 1), dtype=np.int64)
    np.add.at(held, rows, np.column_stack((labels, np.ones(len(known), dtype=np.bool_))))
    given = np.array([fixed.get(patient, NO_SIDE) for patient in patients])
    dealt = stratify(held[:, :-1], held[:, -1], k, seed, given)
    numbers = tuple(NO_SIDE if e.patient in unknown else int(dealt[place[e.patient]]) for e in entries)
    return Folds(tuple(entries), numbers, k, published)


def stratification_labels(entries: Sequence[RecordEntry]) -> tuple[npt.NDArray[np.bool_], tuple[str, ...]]:
    """Return what folds are balanced by, bool (N, labels), and its names: diagnoses, superclasses, sources.

    Sources enter so that every fold has its share of each, and z-scored records, which no test counts, do not stand
    in for raw ones.
    """
    has = [
        {*entry.codes, *(f"superclass {s}" for s in entry.superclasses or ()), f"source {entry.source}"}
        for entry in entries
    ]
    names = tuple(sorted(set().union(*has)))
    return np.array([[name in labels for name in names] for labels in has], dtype=np.bool_), names


def stratify(
    labels: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    k: int,
    seed: int = 0,
    given: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int64]:
    """Return the fold, 1 to k, of each group by iterative stratification.

    labels: (groups, labels), records of each group with each label; sizes: (groups,), records of each group; given:
    (groups,), folds that are settled, 0 for those to be dealt. Of one label's groups those with most records of it
    are dealt first, since they are the hardest to make up for. Ties between folds go to the one that lacks most
    records, then to chance, which is the seed's alone.
    """
    rng = np.random.default_rng(seed)
    folds = np.zeros(len(labels), dtype=np.int64) if given is None else given.astype(np.int64)
    lacks = np.repeat(labels.sum(axis=0)[np.newaxis] / k, k, axis=0)  # (folds, labels)
    room = np.full(k, sizes.sum() / k)
    np.subtract.at(lacks, folds[folds > 0] - 1, labels[folds > 0])
    np.subtract.at(room, folds[folds > 0] - 1, sizes[folds > 0])
    chance = rng.permutation(len(labels))

    def deal(group: int, wanted: npt.NDArray[np.float64]) -> None:
        best = np.lexsort((rng.random(k), -room, -wanted))[0]
        folds[group] = best + 1
        lacks[best] -= labels[group]
        room[best] -= sizes[group]

    while True:
        open_groups = folds == 0
        left = labels[open_groups].sum(axis=0)
        if not left.any():
            break
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        members = np.flatnonzero(open_groups & (labels[:, label] > 0))
        for group in sorted(members, key=lambda g: (-labels[g, label], chance[g])):
            deal(int(group), lacks[:, label])
    for group in sorted(np.flatnonzero(folds == 0), key=lambda g: (-sizes[g], chance[g])):
        deal(int(group), room)
    return folds


def cross_validation_sides(
    entries: Sequence[RecordEntry], k: int, test_fold: int, valid_fold: int | None = None, seed: int = 0
) -> Split:
    """Return the sides of one of k folds: see `assign` and `Folds.sides`, which say what raises SplitError."""
    return assign(entries, k, seed).sides(test_fold, valid_fold)


def pretraining_entries(
    entries: Iterable[RecordEntry], test: Iterable[RecordEntry], test_folds: Iterable[int] = ()
) -> tuple[RecordEntry, ...]:
    """Return the entries that pretraining may see where `test` is reported on: none of its patients or ECGs.

    test_folds: published folds that the test side was made of; their other records, such as the z-scored, stay out
    as well, since the patient of an ECG is not always known. For folds of `assign` use `Folds.pretraining`.
    """
    out_folds = set(test_folds)
    keys = {key for entry in test for key in _keys(entry)}
    return tuple(e for e in entries if keys.isdisjoint(_keys(e)) and (e.fold is None or e.fold not in out_folds))


def leave_one_source_out(entries: Sequence[RecordEntry], source: str, k: int | None = None, seed: int = 0) -> Split:
    """Return sides whose test is one source whole, as a hospital never seen; the rest is training and validation.

    PTB-XL's three forms are one source. Validation is the last of k folds of the rest, by default as many as PTB-XL
    has published folds among them, else ten. Z-scored records are on no side but training. Raises SplitError where
    the source is not there or nothing else is.
    """
    family = PTBXL_SOURCES if source in PTBXL_SOURCES else {source}
    test = [entry for entry in entries if entry.source in family]
    rest = [entry for entry in entries if entry.source not in family]
    if not test or not rest:
        names = ", ".join(sorted({entry.source for entry in entries})) or "none"
        raise SplitError(f"cannot leave {source} out and train on others: the sources are {names}")
    if k is None:
        published = len({entry.fold for entry in rest if entry.fold is not None})
        k = published if published >= _FEWEST_FOLDS else _FOLDS_OF_THE_REST
    sides = _split(assign(rest, k, seed), {k: "valid"})
    scaled = tuple(entry for entry in test if entry.scaled)
    left_out = dict(sides.left_out)
    if len(scaled) < len(test):
        left_out["z-scored record of the test source"] = len(test) - len(scaled)
    check_disjoint({"train": list(sides.train), "valid": list(sides.valid), "test": test})
    return Split(sides.train, sides.valid, scaled, left_out)


def _split(folds: Folds, names: Mapping[int, str]) -> Split:
    records: dict[str, list[RecordEntry]] = {"train": [], "valid": [], "test": []}
    left_out: Counter[str] = Counter()
    for entry, number in zip(folds.entries, folds.numbers, strict=True):
        side = names.get(number, "train")
        if number == NO_SIDE:
            left_out["PTB-XL record of unknown fold"] += 1
        elif side != "train" and not entry.scaled:
            left_out[f"z-scored record of a {side} fold"] += 1
        else:
            records[side].append(entry)
    check_disjoint(records)
    return Split(tuple(records["train"]), tuple(records["valid"]), tuple(records["test"]), dict(left_out))


def _keys(entry: RecordEntry) -> set[str]:
    return {entry.patient} if entry.ecg_id is None else {entry.patient, ecg_key(entry.ecg_id)}
