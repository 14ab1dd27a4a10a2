"""The summary of a data folder, and `ecg-edge records` that prints it."""

import json
from pathlib import Path

import pytest

from ecg_edge.runtime.cli.main import main
from ecg_edge.train import labels
from ecg_edge.train.records.entry import Broken, RecordEntry
from ecg_edge.train.records.index import RecordIndex
from ecg_edge.train.summary import summarize, table
from ecg_edge.train.tasks import task


def entry(k: int, source: str, fold: int | None, statements: set[str] | None, gain_error: float = 1.0) -> RecordEntry:
    known = None if statements is None else frozenset(statements)
    return RecordEntry(Path(f"r{k}"), source, f"p{k}", None, fold, frozenset(), statements=known, gain_error=gain_error)


@pytest.fixture
def index() -> RecordIndex:
    entries = (
        entry(0, "ptbxl", 10, {"IMI", "SR"}),
        entry(1, "ptbxl", 2, {"NORM"}),
        entry(2, "ptbxl", 2, {"SR"}),
        entry(3, "georgia", None, None, 4.88),
    )
    return RecordIndex(entries, (Broken(Path("x"), "no Dx line"),) * 2, (entries[0],), ("ptbxl_z",))


def test_counts(index: RecordIndex) -> None:
    report = summarize(index, index.entries, task("superclass"))
    assert report.to_json() == {
        "task": "superclass",
        "records": {"ptbxl": {"2": 2, "10": 1}, "georgia": {"none": 1}},
        "labelled": {"ptbxl": 2, "georgia": 0},
        "positives": {
            name: {"ptbxl": int(name in ("NORM", "MI")), "georgia": 0} for name in labels.SUPERCLASS_ABBREVIATIONS
        },
        "broken": {"no Dx line": 2},
        "duplicates": {"ptbxl": 1},
        "mended": {"georgia": 1},
        "absent": ["ptbxl_z"],
    }


def test_table_is_aligned_and_whole(index: RecordIndex) -> None:
    lines = table(summarize(index, index.entries, task("superclass"))).splitlines()
    assert [line.split() for line in lines[:5]] == [
        ["fold", "ptbxl", "georgia", "all"],
        ["2", "2", "-", "2"],
        ["10", "1", "-", "1"],
        ["none", "-", "1", "1"],
        ["all", "3", "1", "4"],
    ]
    assert lines[5].split() == ["labelled", "for", "superclass", "2", "-", "2"]
    assert len({len(line) for line in lines[:6]}) == 1
    assert "  2 no Dx line" in lines
    assert lines[-1] == "  ptbxl_z"
    assert "fold" in table(summarize(index, [], task("superclass")))


def test_command_prints_labels_of_the_task(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["records", str(data_dir), "--source", "ptbxl", "--fold", "9"]
    assert main([*arguments, "--task", "superclass", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert f"left out {246 - len(rows)} records that are not labelled for superclass" in err
    assert all(sorted(row["labels"]) == row["superclasses"] for row in rows)
    assert main([*arguments, "--task", "superclass", "--summary", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["records"] == {"ptbxl": {"9": 246}}
    assert report["labelled"] == {"ptbxl": len(rows)}
    assert report["positives"]["MI"]["ptbxl"] == sum("MI" in row["labels"] for row in rows)
    assert main([*arguments, "--summary"]) == 0
    assert "labelled for arrhythmia" in capsys.readouterr().out
