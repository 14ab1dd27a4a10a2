"""The study and its page: the grid, one small study end to end, figures by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.runtime.cli.main import main  # noqa: E402
from ecg_edge.train.contrast import ContrastSettings  # noqa: E402
from ecg_edge.train.predictions import Predictions, load  # noqa: E402
from ecg_edge.train.results import Figure, collect, figure, render  # noqa: E402
from ecg_edge.train.settings import SettingsError, read_preset, to_table  # noqa: E402
from ecg_edge.train.study import StudySettings, cells  # noqa: E402

SHIPPED = read_preset(StudySettings, "study", "edge")


def test_the_grid_has_every_cell_once_under_its_own_name() -> None:
    grid = list(cells(SHIPPED))
    expected = 1
    for name in ("starts", "fusions", "fractions", "seeds"):
        expected *= len(getattr(SHIPPED, name))
    assert len(grid) == len({cell.name for cell in grid}) == expected
    assert grid[0].settings.label_fraction == 1.0, "those that take longest first"


def test_cells_differ_in_what_their_names_say() -> None:
    for cell in cells(SHIPPED):
        s = cell.settings
        assert s.frozen == (cell.start == "random frozen")
        assert (s.contrast_weight > 0) == (s.network.fusion == "csca")
        assert s.train_folds == (1, 2, 3, 4, 5, 6, 7)
        assert s.valid_folds == (8,)
        assert not set(SHIPPED.report_folds) & {*s.train_folds, *s.valid_folds}


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(SettingsError, match="supervised is none of scratch"):
        replace(SHIPPED, starts=("supervised",)).check()


def test_a_figure_is_the_mean_over_seeds_within_its_interval(made_up: Callable[..., Predictions]) -> None:
    cell = next(iter(cells(SHIPPED)))
    runs = [made_up(200, 3, seed=0, training_records=7)]
    runs.append(replace(runs[0], logits=runs[0].logits + np.random.default_rng(1).normal(size=(200, 3)).astype("f4")))
    found = figure(cell, "made up", runs)
    assert found.mean == pytest.approx(np.mean(found.seeds))
    assert found.seeds[0] > found.seeds[1], "noise on the logits costs"
    assert found.low < found.mean < found.high
    assert found.training_records == 7


def test_seeds_that_were_judged_on_other_records_are_not_averaged(made_up: Callable[..., Predictions]) -> None:
    cell = next(iter(cells(SHIPPED)))
    with pytest.raises(ValueError, match="different records"):
        figure(cell, "made up", [made_up(50, training_records=1), made_up(50, first=10, training_records=1)])


def test_a_small_study_from_runs_to_page_and_again_from_its_figures(
    made_data: Path, tiny: Callable[..., Any], toml: Callable[[Any], str], tmp_path: Path
) -> None:
    preset = tmp_path / "finetune.toml"
    preset.write_text(toml(to_table(tiny(train_folds=(1, 2), valid_folds=(3,), epochs=1))))
    study = StudySettings(
        preset=str(preset),
        starts=("scratch", "random frozen"),
        fusions=("time", "gate"),
        fractions=(0.5, 1.0),
        seeds=(0,),
        report_folds=(4,),
        epochs=1,
        least_steps=2,
        encoder_rate=1.0,
        contrast_weight=0.0,
        contrast=ContrastSettings(0.1, 8, 8),
    )
    (tmp_path / "study.toml").write_text(toml(to_table(study)))
    where = ["--preset", str(tmp_path / "study.toml")]
    runs, page = tmp_path / "runs", tmp_path / "docs" / "results.md"
    command = ["study", "--data", str(made_data), "--cache", str(tmp_path / "cache"), "--out", str(runs), "--jobs", "1"]
    assert main([*command, *where]) == 0
    assert len(list(runs.glob("*/done"))) == 8
    half = load(runs / "scratch_gate_0.5_0" / "test-arrhythmia.npz")
    assert set(half.folds) == {4}
    assert half.facts["training_records"] == 12, "half of the patients of two folds of twelve"

    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/best.pt")}
    assert main([*command, *where]) == 0
    assert {path: path.stat().st_mtime_ns for path in runs.glob("*/best.pt")} == before, "nothing is run again"

    assert main(["results", "--study", str(runs), *where, "--out", str(page)]) == 0
    text = page.read_text()
    assert "### 50% of the labels (12 records)" in text
    assert text.count("| gate |") == 2
    again = tmp_path / "again.md"
    assert main(["results", "--figures", str(page.with_suffix(".json")), "--out", str(again)]) == 0
    assert again.read_text() == text

    (runs / "scratch_time_1_0" / "test-arrhythmia.npz").unlink()
    facts = collect(study, runs)
    assert facts["missing_runs"] == 1
    assert "**1 of the planned runs" in render(facts, "ecg-edge results")


def test_results_without_a_finished_run_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "--study", str(tmp_path), "--out", str(tmp_path / "x.md")]) == 1
    assert "run ecg-edge study first" in capsys.readouterr().err
    (tmp_path / "broken.json").write_text("{")
    assert main(["results", "--figures", str(tmp_path / "broken.json"), "--out", str(tmp_path / "x.md")]) == 1
    assert "is not a results.json" in capsys.readouterr().err


def test_figures_are_json() -> None:
    f = Figure("scratch", "gate", 1.0, "arrhythmia", (0.9, 0.92), 0.88, 0.95, 100)
    assert Figure(**{**json.loads(json.dumps(vars(f))), "seeds": (0.9, 0.92)}) == f
    assert f.mean == pytest.approx(0.91)
