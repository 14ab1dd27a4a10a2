"""The class table, code merging and statement rules."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.train import labels


def test_the_27_scored_codes_merge_to_24_classes() -> None:
    codes = [code for info in labels.CLASSES for code in (info.code, *info.equivalents)]
    assert len(labels.CLASSES) == 24
    assert len(set(codes)) == len(codes) == 27
    assert len(set(labels.ABBREVIATIONS)) == 24
    pairs = {(info.code, *info.equivalents) for info in labels.CLASSES if info.equivalents}
    assert pairs == {("713427006", "59118001"), ("284470004", "63593006"), ("427172004", "17338001")}


def test_classes_are_the_challenge_table_in_its_order(data_dir: Path) -> None:
    with (data_dir / "scoring" / "dx_mapping_scored.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    merged = {code for info in labels.CLASSES for code in info.equivalents}
    kept = [row for row in rows if row["SNOMED CT Code"] not in merged]
    assert [row["SNOMED CT Code"] for row in kept] == list(labels.CODES)
    assert [row["Abbreviation"] for row in kept] == list(labels.ABBREVIATIONS)


def test_scored_merges_equivalents_and_drops_the_rest() -> None:
    codes = ["59118001", "713427006", "17338001", "164884008", "733534002"]
    assert labels.scored(codes) == {"713427006", "427172004", "164909002"}
    assert labels.unscored(codes) == {"164884008"}


def test_multi_hot_has_one_row_a_record_in_class_order() -> None:
    got = labels.multi_hot([["63593006"], [], ["164884008"], ["270492004", "59931005"]])
    assert got.shape == (4, 24)
    assert got.dtype == np.bool_
    assert [np.flatnonzero(row).tolist() for row in got] == [[labels.ABBREVIATIONS.index("PAC")], [], [], [0, 23]]
    assert labels.multi_hot([]).shape == (0, 24)


def test_indicator_refuses_a_name_that_is_no_class() -> None:
    assert labels.indicator([{"HYP", "MI"}, frozenset()], ("MI", "CD", "HYP")).tolist() == [
        [True, False, True],
        [False] * 3,
    ]
    with pytest.raises(KeyError):
        labels.indicator([["OTHER"]], ("MI",))


def test_ectopics_count_as_pvc_only_when_asked() -> None:
    codes, unscored = frozenset({"426783006"}), frozenset({"164884008"})
    assert labels.with_ectopics(codes, unscored) == {"426783006", labels.PVC}
    assert labels.with_ectopics(codes, frozenset({"55827005"})) == codes


def test_codes_of_statements_with_axis() -> None:
    got = labels.codes_of_statements({"NORM": 0.0, "PVC": 100.0, "SEHYP": 100.0}, "ALAD")
    assert got == {"426783006", "164884008", "39732003"}
    assert labels.codes_of_statements([], "MID") == frozenset()
