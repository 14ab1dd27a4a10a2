"""The Challenge's output files: format, merging, alignment with records."""

from pathlib import Path

import pytest

from ecg_edge.train import labels
from ecg_edge.train.challenge_output import OutputError, align, read_folder, read_output
from ecg_edge.train.records.entry import RecordEntry

AT = labels.ABBREVIATIONS.index


def entry(name: str, ecg_id: int | None = None, scaled: bool = True) -> RecordEntry:
    return RecordEntry(Path("db") / name, "ptbxl", f"p/{name}", ecg_id, None, frozenset(), scaled=scaled)


def write(folder: Path, name: str, codes: str = "164889003", decided: str = "1", scores: str = "0.9") -> Path:
    path = folder / f"{name}.csv"
    path.write_text(f"#{name}\n{codes}\n{decided}\n{scores}\n")
    return path


def test_equivalents_are_any_decided_and_mean_scored(tmp_path: Path) -> None:
    # Codes out of order, one not scored, blanks after commas, one pair of equivalents.
    path = write(tmp_path, "A1", "59118001, 164884008, 426783006, 713427006", "0, 1, 1, 1", "0.2, 0.9, 0.7, 0.6")
    name, decisions, scores = read_output(path)
    assert name == "A1"
    assert {labels.ABBREVIATIONS[k] for k in decisions.nonzero()[0]} == {"NSR", "CRBBB"}
    assert scores[AT("CRBBB")] == pytest.approx(0.4)
    assert scores[AT("NSR")] == 0.7
    assert scores.sum() == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "format"),
        ("A1\n164889003\n1\n0.5\n", "format"),
        ("#A1\n164889003\n1\n", "format"),
        ("#A1\n164889003,426783006\n1\n0.5,0.5\n", "2 codes, 1 decisions"),
        ("#A1\n164889003\n2\n0.5\n", "no decision"),
        ("#A1\n164889003\n1\nhigh\n", "no decision or score"),
        ("#A1\n164889003\n1\nnan\n", "NaN"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "A1.csv"
    path.write_text(text)
    with pytest.raises(OutputError, match=reason) as caught:
        read_output(path)
    assert str(path) in str(caught.value)


def test_folder_without_files_and_file_of_another_record(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no output files"):
        read_folder(tmp_path)
    write(tmp_path, "A1").rename(tmp_path / "A2.csv")
    with pytest.raises(OutputError, match="name the file after its record"):
        read_folder(tmp_path)


def test_outputs_follow_the_entries(tmp_path: Path) -> None:
    for name, score in (("A1", "0.1"), ("A2", "0.2"), ("00007_hr", "0.7"), ("unasked", "0.5")):
        write(tmp_path, name, scores=score)
    got = align(read_folder(tmp_path), [entry("A2"), entry("00007_lr", 7), entry("A1")])
    assert got.records == ("A2", "00007_lr", "A1")
    assert got.scores[:, AT("AF")].tolist() == [0.2, 0.7, 0.1]
    assert got.decisions[:, AT("AF")].all()


def test_missing_outputs_are_named(tmp_path: Path) -> None:
    write(tmp_path, "A1")
    write(tmp_path, "00007_lr")
    with pytest.raises(OutputError, match="no output for 1 of 2 records: A3;"):
        align(read_folder(tmp_path), [entry("A1"), entry("A3")])
    with pytest.raises(OutputError, match=r"no output for 12 of 12 records: B0, .* and 2 more"):
        align(read_folder(tmp_path), [entry(f"B{k}") for k in range(12)])
    # The z-scored copy is another signal than the record that was predicted.
    with pytest.raises(OutputError, match="00007_z"):
        align(read_folder(tmp_path), [entry("00007_z", 7, scaled=False)])
