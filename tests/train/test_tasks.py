"""Tasks: their classes against the published tables, and which records count for what."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.train import labels, tasks
from ecg_edge.train.records.entry import RecordEntry
from ecg_edge.train.records.index import build_index
from ecg_edge.train.statements import STATEMENTS, SUBCLASSES, superclasses
from ecg_edge.train.tasks import TASKS, Task, TaskError, task

NSR, AF, RBBB, STD = "426783006", "164889003", "713427006", "429622005"


def entry(
    source: str = "ptbxl", codes: tuple[str, ...] = (), statements: tuple[str, ...] | None = None, number: int = 0
) -> RecordEntry:
    return RecordEntry(
        path=Path(f"{source}{number}"),
        source=source,
        patient=f"{source}{number}",
        ecg_id=None,
        fold=None,
        codes=labels.scored(codes),
        unscored=labels.unscored(codes),
        statements=None if statements is None else frozenset(statements),
    )


def named(asked: Task, row: np.ndarray) -> set[str]:
    return {name for name, has in zip(asked.abbreviations, row, strict=True) if has}


def test_classes_of_every_task() -> None:
    counts = {"arrhythmia": 24, "superclass": 5, "subclass": 23, "statements": 71, "cpsc2018": 9}
    assert {name: len(each.classes) for name, each in TASKS.items()} == counts
    for name, each in TASKS.items():
        assert each is task(name)
        assert each.name == name
        assert len(set(each.abbreviations)) == len(each.classes)
    assert task("cpsc2018").abbreviations == tuple(labels.CPSC2018_CODES)


def test_unknown_task_names_those_there_are() -> None:
    with pytest.raises(TaskError, match=r"'rhythm'.*arrhythmia, superclass, subclass, statements, cpsc2018"):
        task("rhythm")


def test_statements_are_the_published_table(data_dir: Path) -> None:
    with (data_dir / "ptbxl" / "scp_statements.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    published = [(r[""], r["description"], r["diagnostic_class"], r["diagnostic_subclass"]) for r in rows]
    assert [(s.name, s.description, s.superclass, s.subclass) for s in STATEMENTS] == published
    assert [bool(s.superclass) for s in STATEMENTS] == [r["diagnostic"] == "1.0" for r in rows]
    assert set(SUBCLASSES) == {s.subclass for s in STATEMENTS} - {""}
    assert set(labels.SUPERCLASS_ABBREVIATIONS) == {s.superclass for s in STATEMENTS} - {""}


def test_statements_give_superclass_subclass_and_themselves() -> None:
    entries = [
        entry(statements=("IMI", "NDT", "SR")),
        entry(statements=("SR", "ABQRS")),
        entry(statements=()),
        entry(statements=("NORM", "WRITTEN WRONG")),
        entry("cpsc_2018", (AF,)),
    ]
    found = {}
    for name in ("superclass", "subclass", "statements"):
        asked = task(name)
        known = asked.known(entries)
        found[name] = [
            named(asked, row) if is_known else None for row, is_known in zip(asked.labels(entries), known, strict=True)
        ]
        assert not asked.labels(entries)[~known].any()
    assert found == {
        "superclass": [{"MI", "STTC"}, None, None, {"NORM"}, None],
        "subclass": [{"IMI", "STTC"}, None, None, {"NORM"}, None],
        "statements": [{"IMI", "NDT", "SR"}, {"SR", "ABQRS"}, None, {"NORM"}, None],
    }
    assert superclasses(["SR", "ABQRS"]) == frozenset()


def test_nine_classes_from_the_challenges_codes() -> None:
    entries = [
        entry("cpsc_2018", (NSR,)),
        entry("cpsc_2018", (RBBB, "164884008")),
        entry("cpsc_2018_extra", (NSR, "164867002")),  # sinus rhythm after an infarction is not normal
        entry("cpsc_2018_extra", ("17338001", "63593006", STD)),
        entry("cpsc2018", ("59118001", "164931005")),
        entry("georgia", (AF,)),
    ]
    asked = task("cpsc2018")
    assert asked.known(entries).tolist() == [True] * 5 + [False]
    assert [named(asked, row) for row in asked.labels(entries)] == [
        {"Normal"},
        {"RBBB", "PVC"},
        set(),
        {"PVC", "PAC", "STD"},
        {"RBBB", "STE"},
        set(),
    ]


def test_arrhythmia_counts_ectopics_in_training_only() -> None:
    entries = [entry(codes=("164884008",)), entry(codes=(AF,))]
    asked = task("arrhythmia")
    assert asked.known(entries).all()
    assert [named(asked, row) for row in asked.labels(entries)] == [set(), {"AF"}]
    targets, _ = asked.training_labels(entries)
    assert [named(asked, row) for row in targets] == [{"PVC"}, {"AF"}]


def test_nothing_counts_where_the_task_is_not_labelled() -> None:
    entries = [entry(statements=("IMI",)), entry("cpsc_2018", (AF,)), entry(statements=("SR",))]
    targets, counted = task("superclass").training_labels(entries)
    assert targets.dtype == counted.dtype == np.bool_
    assert targets.shape == counted.shape == (3, 5)
    assert not counted[1:].any()
    assert [named(task("superclass"), row) for row in counted] == [{"MI"}, set(), set()]


def test_absence_counts_in_a_large_source_only() -> None:
    def some(count: int) -> list[RecordEntry]:
        return [entry(statements=("IMI",), number=k) for k in range(count)]

    asked = task("superclass")
    assert asked.training_labels(some(tasks.ENOUGH_RECORDS))[1].all()
    assert asked.training_labels(some(tasks.ENOUGH_RECORDS - 1))[1].sum(axis=1).tolist() == [1] * 499
    # Records that are not labelled do not make a source large.
    padded = [*some(tasks.ENOUGH_RECORDS - 1), entry(statements=("SR",))]
    assert asked.training_labels(padded)[1].any(axis=0).sum() == 1


def test_no_records_give_empty_arrays() -> None:
    for asked in TASKS.values():
        shapes = [a.shape for a in (asked.labels([]), *asked.training_labels([]))]
        assert shapes == [(0, len(asked.classes))] * 3
        assert asked.known([]).shape == (0,)


def test_every_real_statement_is_one_of_the_71(data_dir: Path) -> None:
    entries = build_index(data_dir, ["ptbxl", "ptbxl_z"]).entries
    names = {statement.name for statement in STATEMENTS}
    assert all(e.statements is not None and e.statements <= names for e in entries)
    known = task("superclass").known(entries)
    assert (known == task("subclass").known(entries)).all()
    assert 0.9 < known.mean() < 1
    # The likelihood of a statement does not matter, so every record with one is labelled for `statements`.
    assert task("statements").labels(entries).any(axis=1).tolist() == task("statements").known(entries).tolist()
