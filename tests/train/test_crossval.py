"""Cross-validation: what each part sees, that it goes on where it stopped, what it leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ecg_edge.runtime.cli.main import main  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train import checkpoint  # noqa: E402
from ecg_edge.train.predictions import load  # noqa: E402
from ecg_edge.train.settings import to_table  # noqa: E402
from ecg_edge.train.trees import BoostSettings, TreeSettings  # noqa: E402
from ecg_edge.train.tutor import read_tutor  # noqa: E402

Words = Callable[..., list[str]]


def test_every_record_is_tested_once_by_a_network_that_never_saw_its_patient(
    command_line: Words,
    tiny: Callable[..., Any],
    tiny_pretraining: Callable[..., Any],
    toml: Callable[[Any], str],
    tmp_path: Path,
) -> None:
    pretraining = tmp_path / "pretraining.toml"
    table = to_table(tiny_pretraining(epochs=1))
    pretraining.write_text(toml(table))
    out = tmp_path / "cv"
    words = command_line("crossval", tiny(epochs=1), out, "--pretrain", str(pretraining))
    assert main(words) == 0
    parts = [load(out / f"fold-{k:02d}" / "test-arrhythmia.npz") for k in range(1, 5)]
    tested = [record for part in parts for record in part.records]
    assert len(tested) == len(set(tested)) == 48
    for k, part in enumerate(parts, 1):
        valid = load(out / f"fold-{k:02d}" / "valid-arrhythmia.npz")
        seen = set(checkpoint.load(out / f"fold-{k:02d}" / "pretrain" / "pretrained.pt", "pretrained")["seen"])
        assert seen
        assert not seen & {*part.patients, *valid.patients}
        assert not set(valid.patients) & set(part.patients)
        assert set(part.folds) == {k}
        assert set(valid.folds) == {k % 4 + 1}
    summary = json.loads((out / "summary-arrhythmia" / "crossval.json").read_text())
    assert len(summary["folds"]) == 4


def test_each_part_has_a_tutor_that_never_saw_its_test_patients(
    command_line: Words, tiny: Callable[..., Any], toml: Callable[[Any], str], tmp_path: Path
) -> None:
    pytest.importorskip("lightgbm")
    trees = tmp_path / "trees.toml"
    boost = BoostSettings(rounds=5, least_records=3, ensembles=1)
    trees.write_text(toml(to_table(TreeSettings(0, ("superclass",), (), (), (), boost))))
    out = tmp_path / "cv"
    assert main(command_line("crossval", tiny(epochs=1), out, "--only", "2", "--trees", str(trees))) == 0
    tutor = read_tutor(out / "fold-02" / "tutor.pt", Contract())
    judged = [load(out / "fold-02" / f"{side}-arrhythmia.npz") for side in ("valid", "test")]
    assert len(tutor.patients) == 24
    assert not set(tutor.patients) & {patient for part in judged for patient in part.patients}
    assert judged[1].facts["tutor"] == tutor.sha256


def test_what_is_done_is_not_done_again(
    command_line: Words, tiny: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cv"
    words = command_line("crossval", tiny(epochs=1), out, "--only", "2")
    assert main(words) == 0
    assert main(words) == 1
    assert "add --resume" in capsys.readouterr().err
    done = (out / "fold-02" / "best.pt").stat().st_mtime_ns
    assert main([*words, "--only", "3", "--resume"]) == 0
    assert (out / "fold-02" / "best.pt").stat().st_mtime_ns == done
    assert (out / "fold-03" / "test-arrhythmia.npz").is_file()


def test_leaving_out_the_only_source_is_an_error(
    command_line: Words, tiny: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command_line("crossval", tiny(epochs=1), tmp_path / "cv", "--leave-out", "ptbxl")
    assert main(words) == 1
    assert "cannot leave ptbxl out" in capsys.readouterr().err
