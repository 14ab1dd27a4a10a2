"""The Challenge's output files: four lines, read back by the scorer's own reader."""

import csv
from pathlib import Path

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.challenge_files import write_prediction
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.prediction import Prediction
from ecg_edge.train import labels
from ecg_edge.train.challenge_output import read_folder, read_output

CLASSES = (
    ClassInfo("164889003", "AF", "atrial fibrillation", 0.3),
    ClassInfo("713427006", "CRBBB", "complete right bundle branch block", 0.5, ("59118001",)),
    ClassInfo("426783006", "NSR", "sinus rhythm", 0.5),
)


def prediction(name: str = "A0001", probabilities: dict[str, float] | None = None) -> Prediction:
    p = {"AF": 0.25, "CRBBB": 0.875, "NSR": 1 / 3} if probabilities is None else probabilities
    return Prediction(f"data/{name}", name, p, ("CRBBB",), 1.0, ("I", "II"), 3, ())


def test_file_is_the_challenge_s_four_lines(tmp_path: Path) -> None:
    path = write_prediction(tmp_path / "new" / "folder", prediction(), CLASSES)
    assert path == tmp_path / "new" / "folder" / "A0001.csv"
    assert path.read_text() == (
        "#A0001\n"
        "164889003,713427006,59118001,426783006\n"
        "0,1,1,0\n"
        "0.250000,0.875000,0.875000,0.333333\n"
    )  # fmt: skip
    assert {len(row) for row in list(csv.reader(path.open()))[1:]} == {4}


def test_scorer_reads_what_was_written(tmp_path: Path) -> None:
    name, decisions, scores = read_output(write_prediction(tmp_path, prediction(), CLASSES))
    assert name == "A0001"
    by_code = dict(zip(labels.CODES, zip(decisions.tolist(), scores.tolist(), strict=True), strict=True))
    assert by_code.pop("164889003") == (False, 0.25)
    (merged,) = labels.scored(["59118001"])
    assert merged in labels.scored(["713427006"])
    assert by_code.pop(merged) == (True, 0.875)
    assert by_code.pop("426783006") == (False, pytest.approx(1 / 3, abs=1e-6))
    assert set(by_code.values()) == {(False, 0.0)}


def test_folder_of_several_records(tmp_path: Path) -> None:
    for name in ("B2", "A1"):
        write_prediction(tmp_path, prediction(name), CLASSES)
    write_prediction(tmp_path, prediction("A1", {"AF": 0.5, "CRBBB": 0.5, "NSR": 0.5}), CLASSES)  # written again
    output = read_folder(tmp_path)
    assert output.records == ("A1", "B2")
    assert output.scores[0].max() == 0.5


def test_classes_without_codes_have_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(EcgEdgeError, match="SNOMED CT"):
        write_prediction(tmp_path, prediction(), (*CLASSES, ClassInfo("", "HYP", "hypertrophy", 0.5)))
    assert not list(tmp_path.iterdir())


def test_record_without_probabilities_has_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no probabilities"):
        write_prediction(tmp_path, Prediction("x", "x", None, (), 0.0, (), 0, ()), CLASSES)


def test_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EcgEdgeError, match="name another folder"):
        write_prediction(tmp_path / "file", prediction(), CLASSES)
