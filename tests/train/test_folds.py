"""Folds: no patient on two sides, balance against chance, and what the published code got wrong."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.train import folds, labels
from ecg_edge.train.folds import assign, cross_validation_sides, leave_one_source_out, pretraining_entries
from ecg_edge.train.records.entry import RecordEntry, ecg_key
from ecg_edge.train.records.index import RecordIndex, Split, SplitError, build_index, split


def entry(number: int, patient: str = "", source: str = "georgia", **more: object) -> RecordEntry:
    given = {"codes": frozenset(), "ecg_id": None, "fold": None} | more
    return RecordEntry(Path(source) / f"E{number}", source, patient or f"{source}/{number}", **given)  # type: ignore[arg-type]


def database(records: int = 1500, seed: int = 0) -> list[RecordEntry]:
    """Records of patients with up to four each, in classes from common to very rare."""
    rng = np.random.default_rng(seed)
    rates = 0.4 * 0.75 ** np.arange(24)
    made = []
    for k in range(records):
        codes = frozenset(np.array(labels.CODES)[rng.random(24) < rates].tolist())
        source = "ptbxl" if k % 3 else "ptbxl_z"
        made.append(entry(k, f"p{rng.integers(records // 2)}", source, codes=codes, scaled=source == "ptbxl"))
    return made


def patients(entries: tuple[RecordEntry, ...]) -> set[str]:
    return {e.patient for e in entries}


def unevenness(numbers: np.ndarray, entries: list[RecordEntry], k: int) -> float:
    """Mean absolute deviation from an even share, in records, over labels and folds (Sechidis' LD, unweighted)."""
    held, _ = folds.stratification_labels(entries)
    counts = np.stack([held[numbers == fold].sum(axis=0) for fold in range(1, k + 1)])
    return float(np.abs(counts - held.sum(axis=0) / k).mean())


def check_partition(entries: list[RecordEntry], k: int, seed: int = 0) -> None:
    number = dict(zip((e.path for e in entries), assign(entries, k, seed).numbers, strict=True))
    tested: Counter[Path] = Counter()
    for fold in range(1, k + 1):
        sides = cross_validation_sides(entries, k, fold, seed=seed)
        assert patients(sides.train).isdisjoint(patients(sides.valid) | patients(sides.test))
        assert patients(sides.valid).isdisjoint(patients(sides.test))
        assert sides.valid
        assert all(e.scaled for e in (*sides.valid, *sides.test))
        on_a_side = len(sides.train) + len(sides.valid) + len(sides.test)
        assert on_a_side + sum(sides.left_out.values()) == len(entries)
        tested.update(e.path for e in sides.test)
    assert tested == Counter(e.path for e in entries if e.scaled and number[e.path] != folds.NO_SIDE), (
        "each record in exactly one test fold"
    )


def test_every_record_is_tested_once_and_no_patient_crosses() -> None:
    check_partition(database(), 5)


def test_stratified_folds_are_far_more_even_than_random_ones() -> None:
    entries = database()
    names = sorted({e.patient for e in entries})
    random = []
    for seed in range(10):
        drawn = dict(zip(names, np.random.default_rng(seed).integers(1, 11, len(names)), strict=True))
        random.append(unevenness(np.array([drawn[e.patient] for e in entries]), entries, 10))
    ours = unevenness(np.array(assign(entries, 10).numbers), entries, 10)
    assert ours < 0.5 * min(random)
    sizes = Counter(assign(entries, 10).numbers)
    assert max(sizes.values()) - min(sizes.values()) <= 25  # of 150 records, dealt in patients of up to six


def test_a_label_with_as_many_records_as_folds_is_in_each() -> None:
    entries = [entry(k, codes=frozenset({labels.CODES[2]} if k < 5 else {labels.CODES[0]})) for k in range(100)]
    for fold in range(1, 6):
        test = cross_validation_sides(entries, 5, fold).test
        assert sum(labels.CODES[2] in e.codes for e in test) == 1
        assert len(test) == 20


def test_by_hand() -> None:
    # Two folds want half a record of the rare label 1 and one of label 0 each. Group 0 has the rare label and goes
    # first, to either; groups 1 and 2 have label 0: as group 0 has it too, its fold lacks 1.5 - 1 = .5 of it and the
    # other 1.5, so group 1 or 2 goes there, and then the two folds lack the same again, .5: the one with more room
    # (2 - 1 = 1 against 2 - 1 = 1) is chance. Group 3 has no label and goes where there is room left.
    held = np.array([[1, 1], [1, 0], [1, 0], [0, 0]])
    for seed in range(20):
        dealt = folds.stratify(held, np.ones(4, dtype=np.int64), 2, seed)
        assert sorted(Counter(dealt.tolist()).values()) == [2, 2]
        assert len({dealt[1], dealt[2]} - {dealt[0]}) == 1, "not all of label 0 in one fold"


def test_the_same_seed_gives_the_same_folds_in_any_order() -> None:
    entries = database(400)
    first = dict(zip((e.path for e in entries), assign(entries, 5, seed=3).numbers, strict=True))
    again = dict(zip((e.path for e in entries[::-1]), assign(entries[::-1], 5, seed=3).numbers, strict=True))
    assert first == again
    assert assign(entries, 5, seed=4).numbers != assign(entries, 5, seed=3).numbers


def test_validation_is_never_the_test_fold() -> None:
    made = assign(database(300), 3)
    for test_fold in (1, 2, 3):
        sides = made.sides(test_fold)
        assert {e.path for e in sides.valid}.isdisjoint(e.path for e in sides.test)
    with pytest.raises(SplitError, match="cannot both choose and report"):
        made.sides(2, valid_fold=2)
    with pytest.raises(SplitError, match="folds are 1 to 3"):
        made.sides(4)


def published(ten: int = 10) -> list[RecordEntry]:
    known = [entry(k, ecg_key(k), "ptbxl", ecg_id=k, fold=k % ten + 1, scaled=k // 10 % 4 > 0) for k in range(200)]
    return [*known, *(entry(k) for k in range(50)), entry(999, ecg_key(999), "ptb-xl", ecg_id=999)]


def test_published_folds_are_kept_where_all_are_there() -> None:
    made = assign(published(), 10)
    assert made.published
    ptbxl = [(e.fold, n) for e, n in zip(made.entries, made.numbers, strict=True) if e.source == "ptbxl"]
    assert all(fold == number for fold, number in ptbxl)
    others = Counter(n for e, n in zip(made.entries, made.numbers, strict=True) if e.source == "georgia")
    assert sorted(others.values()) == [5] * 10
    sides = made.sides(2)
    assert sides.left_out == {
        "PTB-XL record of unknown fold": 1,
        "z-scored record of a test fold": 5,
        "z-scored record of a valid fold": 5,
    }
    nine = assign(published(9), 10)
    assert not nine.published
    assert set(nine.numbers) == set(range(1, 11))
    assert nine.unknown_patients == 201


def test_a_patient_in_two_published_folds_is_refused() -> None:
    entries = [*published(), entry(1000, ecg_key(7), "ptbxl", ecg_id=1000, fold=1)]
    with pytest.raises(SplitError, match="ptbxl/ecg/7 is in two published folds"):
        assign(entries, 10)


def test_pretraining_sees_nobody_of_the_test_side() -> None:
    entries = database()
    made = assign(entries, 5)
    sides = made.sides(2)
    seen = made.pretraining(2)
    assert patients(seen).isdisjoint(patients(sides.test))
    assert {e.path for e in sides.train} <= {e.path for e in seen}
    assert patients(seen) == patients(tuple(entries)) - {
        e.patient for e, n in zip(entries, made.numbers, strict=True) if n == 2
    }
    also = made.pretraining(2, 3)
    assert patients(also).isdisjoint(patients(sides.valid) | patients(sides.test))


def test_pretraining_on_published_folds_leaves_the_whole_test_fold_out() -> None:
    entries = published()
    sides = split(RecordIndex(tuple(entries)), range(1, 8), [8], [9])
    seen = pretraining_entries(entries, sides.test, [9])
    assert not any(e.fold == 9 for e in seen), "nor its z-scored records, whose patients are not known"
    assert patients(seen).isdisjoint(patients(sides.test))
    same_ecg = entry(1, "somebody", "ptb-xl", ecg_id=sides.test[0].ecg_id)
    assert pretraining_entries([same_ecg], sides.test) == ()


def test_a_source_left_out_is_the_test_whole() -> None:
    entries = [*published(), *(entry(k, source="cpsc_2018") for k in range(30))]
    sides = leave_one_source_out(entries, "cpsc_2018")
    assert [e.source for e in sides.test] == ["cpsc_2018"] * 30
    assert {e.fold for e in sides.valid} == {10, None}
    assert "cpsc_2018" not in {e.source for e in (*sides.train, *sides.valid)}
    assert any(not e.scaled for e in sides.train)
    ptbxl = leave_one_source_out(entries, "ptb-xl")
    assert {e.source for e in ptbxl.test} == {"ptbxl", "ptb-xl"}
    assert ptbxl.left_out == {"z-scored record of the test source": 50}
    assert {e.source for e in (*ptbxl.train, *ptbxl.valid)} == {"georgia", "cpsc_2018"}
    assert len(ptbxl.valid) == 8  # a tenth
    with pytest.raises(SplitError, match=r"cannot leave ningbo out .* cpsc_2018, georgia"):
        leave_one_source_out(entries, "ningbo")


def test_impossible_folds_are_refused() -> None:
    with pytest.raises(SplitError, match="2 folds are too few"):
        assign(database(50), 2)
    with pytest.raises(SplitError, match="1 patients do not fill 3"):
        assign([entry(k, "same") for k in range(9)], 3)


def all_patients(sides: Split) -> list[set[str]]:
    return [patients(side) for side in (sides.train, sides.valid, sides.test)]


def test_real_index(data_dir: Path) -> None:
    entries = list(build_index(data_dir).entries)
    check_partition(entries, 10)
    assert not assign(entries, 10).published, "ten of the nine folds that are there"
    assert assign(entries, 9).published
    check_partition(entries, 9)
    assert assign(entries, 10).numbers.count(folds.NO_SIDE) == 0
    left_out = [e for e, n in zip(entries, assign(entries, 9).numbers, strict=True) if n == folds.NO_SIDE]
    assert left_out == [e for e in entries if e.ecg_id is not None and e.fold is None]
    random = np.random.default_rng(0).integers(1, 11, len(entries))
    ours = np.array(assign(entries, 10).numbers)
    assert unevenness(ours, entries, 10) < 0.3 * unevenness(random, entries, 10)
    for source in ("cpsc_2018", "chapman_shaoxing", "ptbxl"):
        sides = leave_one_source_out(entries, source)
        train, valid, test = all_patients(sides)
        assert train.isdisjoint(valid | test)
        assert valid.isdisjoint(test)
    assert {e.source for e in sides.test} == {"ptbxl", "ptb-xl"}
