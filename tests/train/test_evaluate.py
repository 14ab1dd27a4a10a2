"""The report on decisions and scores, and the two commands on a small database."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.train import evaluation, labels
from ecg_edge.train.challenge_output import OutputError
from ecg_edge.train.commands import evaluate, records

AT = labels.ABBREVIATIONS.index
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def call(module: ModuleType, *arguments: object) -> int:
    parser = argparse.ArgumentParser(exit_on_error=False)
    module.add_arguments(parser)
    return int(module.run(parser.parse_args([str(a) for a in arguments])))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty records of one source, every other one in atrial fibrillation, the rest in sinus rhythm."""
    folder = tmp_path / "data" / "cinc2020" / "georgia"
    folder.mkdir(parents=True)
    for k in range(40):
        lines = [f"E{k:05d} 12 100 10", *(f"E{k:05d}.dat 16 1000 16 0 0 0 0 {name}" for name in LEADS)]
        lines.append("#Dx: " + ("164889003" if k % 2 else "426783006"))
        (folder / f"E{k:05d}.hea").write_text("\n".join(lines) + "\n")
        (folder / f"E{k:05d}.dat").write_bytes(b"\0" * 240)
    return tmp_path / "data"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    for k in range(40):
        af = k % 2 if k else 1  # the first record is wrong
        (folder / f"E{k:05d}.csv").write_text(f"#E{k:05d}\n164889003,426783006\n{af},{1 - af}\n{af}.0,{1 - af}.0\n")
    return folder


def test_report_of_perfect_outputs() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((200, 24)) < 0.2
    report = evaluation.evaluate(labels.CLASSES, truth, truth, truth.astype(float), range(200), np.eye(24))
    assert (report.f1 == 1).all()
    assert (report.macro_auroc.value, report.macro_auroc.low, report.macro_auroc.high) == (1, 1, 1)
    assert report.challenge is not None
    assert report.challenge.value == pytest.approx(1)
    assert report.macro_f2.value == pytest.approx(1)
    assert report.classes_averaged == 24


def test_interval_holds_the_figure_and_narrows_with_records() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for n in (60, 2000):
        truth = rng.random((n, 24)) < 0.3
        scores = rng.normal(size=truth.shape) + truth
        report = evaluation.evaluate(labels.CLASSES, truth, scores > 0.5, scores, range(n), np.eye(24), resamples=200)
        figure = report.macro_auroc
        assert figure.low <= figure.value <= figure.high
        widths.append(figure.high - figure.low)
    assert widths[1] < widths[0] / 3


def test_evaluate_command_prints_the_report(data: Path, outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--challenge-output", outputs, "--data", data, "--source", "georgia", "--resamples", "50")
    assert call(evaluate, *arguments, "--json") == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert "no Challenge metric" in printed.err
    assert report["records"] == 40
    assert report["challenge_metric"] is None
    assert report["classes_averaged"] == 2
    # 20 in AF all found; one of 20 in sinus rhythm taken for AF: tied with the 20, it loses no pair but half of 20.
    assert report["classes"]["AF"]["positives"] == 20
    assert report["classes"]["AF"]["auroc"]["value"] == pytest.approx(1 - 20 * 0.5 / 400)
    assert report["classes"]["AF"]["ppv"] == pytest.approx(20 / 21, abs=1e-6)
    assert report["classes"]["AF"]["sensitivity"] == 1
    assert report["classes"]["AFL"] == {
        "code": "164890007",
        "positives": 0,
        "auroc": {"value": None, "low": None, "high": None},
        "auprc": None,
        "f1": None,
        "f2": None,
        "g2": None,
        "sensitivity": None,
        "specificity": 1.0,
        "ppv": None,
        "ece": 0.0,
    }
    assert call(evaluate, *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1 + AT("AF")].split()[:3] == ["AF", "20", "0.975"]
    assert "2 classes with at least 5 positives" in "\n".join(lines)


def test_evaluate_names_missing_outputs(data: Path, outputs: Path) -> None:
    (outputs / "E00007.csv").unlink()
    with pytest.raises(OutputError, match="no output for 1 of 40 records: E00007;"):
        call(evaluate, "--challenge-output", outputs, "--data", data, "--source", "georgia")


def test_a_named_reward_matrix_must_be_there(data: Path, outputs: Path) -> None:
    with pytest.raises(EcgEdgeError, match="no reward matrix"):
        call(
            evaluate, "--challenge-output", outputs, "--data", data, "--source", "georgia", "--weights", data / "w.csv"
        )


def test_challenge_output_with_a_report(data: Path, outputs: Path, tmp_path: Path) -> None:
    chosen = ("--challenge-output", outputs, "--data", data, "--source", "georgia", "--resamples", "20")
    assert call(evaluate, *chosen, "--report", tmp_path / "report") == 0
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["report"]["classes"]["AF"]["auroc"]["value"] == pytest.approx(0.975)
    assert content["report"]["classes"]["AF"]["ppv"] == pytest.approx(20 / 21, abs=1e-6)
    (outputs / "E00001.csv").write_text("#E00001\n164889003\n1\n-3.5\n")
    assert call(evaluate, *chosen) == 0
    with pytest.raises(EcgEdgeError, match="no probabilities"):
        call(evaluate, *chosen, "--report", tmp_path / "report")


def test_predictions_of_any_task(tmp_path: Path, made_up: Any, capsys: pytest.CaptureFixture[str]) -> None:
    given = made_up(80, labels.SUPERCLASSES)
    given.save(tmp_path / "x.npz")
    assert call(evaluate, "--predictions", tmp_path / "x.npz", "--resamples", "20", "--json") == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert list(report["classes"]) == ["NORM", "MI", "STTC", "CD", "HYP"]
    want = evaluation.evaluate_predictions(given, resamples=20)
    assert report == json.loads(json.dumps(want.to_json()))
    assert printed.err == "", "nothing is missing: superclasses have no Challenge metric"
    with pytest.raises(EcgEdgeError, match="--weights is for the Challenge's classes"):
        call(evaluate, "--predictions", tmp_path / "x.npz", "--weights", tmp_path / "w.csv")


def test_several_seeds_are_an_ensemble(tmp_path: Path, made_up: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one = made_up(200)
    rng = np.random.default_rng(5)
    paths = [tmp_path / f"{k}.npz" for k in range(3)]
    for path in paths:
        noisy = one.logits + rng.normal(size=one.logits.shape).astype(np.float32) * 2
        type(one)(**{**vars(one), "logits": noisy}).save(path)
    arguments = ("--predictions", *paths, "--resamples", "20", "--report", tmp_path / "report")
    assert call(evaluate, *arguments, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    alone = [each["macro_auroc"]["value"] for each in report["alone"].values()]
    assert len(alone) == 3
    assert report["macro_auroc"]["value"] > max(alone), "noise averages out"
    assert "| 2.npz |" in (tmp_path / "report" / "report.md").read_text()
    assert call(evaluate, *arguments) == 0
    assert "the ensemble of 3; each alone:" in capsys.readouterr().out


def test_several_folds_are_a_cross_validation(tmp_path: Path, made_up: Any, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{k}.npz" for k in range(3)]
    for k, path in enumerate(paths):
        made_up(60, seed=k, first=60 * k).save(path)
    arguments = ("--predictions", *paths, "--resamples", "20", "--report", tmp_path / "report")
    assert call(evaluate, *arguments) == 0
    assert "the 3 folds pooled; each alone:" in capsys.readouterr().out
    assert (tmp_path / "report" / "crossval.md").is_file()
    assert call(evaluate, *arguments[:-2], "--json") == 0
    assert json.loads(capsys.readouterr().out)["pooled"]["records"] == 180
    made_up(60, first=30).save(paths[1])
    with pytest.raises(EcgEdgeError, match="share no patient, and members of an ensemble have the same records"):
        call(evaluate, *arguments)


def test_options_that_do_not_go_together(tmp_path: Path, made_up: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made_up().save(tmp_path / "x.npz")
    assert call(evaluate, "--challenge-output", tmp_path) == 2
    assert "takes --data" in capsys.readouterr().err
    assert call(evaluate, "--predictions", tmp_path / "x.npz", "--fold", "9") == 2
    assert "--source and --fold" in capsys.readouterr().err


def test_no_plot_no_matplotlib() -> None:
    script = (
        "import sys, ecg_edge.train.commands.evaluate; "
        "assert not {'matplotlib', 'torch', 'scipy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_records_command_lists_paths(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "cinc2020" / "georgia" / "E00003.dat").unlink()
    assert call(records, data) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == 39
    assert lines[0] == str(data / "cinc2020" / "georgia" / "E00000")
    assert "E00003.dat is missing" in printed.err
    assert call(records, data, "--source", "georgia", "--json") == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["path"], first["codes"], first["fold"]) == (lines[0], ["426783006"], None)
    with pytest.raises(EcgEdgeError, match="no record matches"):
        call(records, data, "--fold", "9")


def test_fold_of_real_data(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(records, data_dir, "--source", "ptbxl", "--fold", "9") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 246
    assert all(Path(f"{line}.hea").is_file() for line in lines)


def test_always_sinus_rhythm_scores_zero_on_real_data(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(records, data_dir, "--source", "ptbxl", "--fold", "9")
    for line in capsys.readouterr().out.splitlines():
        name = Path(line).name
        (tmp_path / f"{name}.csv").write_text(f"#{name}\n426783006\n1\n0.5\n")
    call(evaluate, "--challenge-output", tmp_path, "--data", data_dir, "--fold", "9", "--resamples", "20", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["challenge_metric"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert report["macro_auroc"]["value"] == 0.5
