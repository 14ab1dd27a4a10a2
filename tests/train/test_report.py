"""Reports: what the pages and the JSON hold, for few classes and many; plots that are plots."""

import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.train import labels
from ecg_edge.train.evaluation import evaluate_predictions
from ecg_edge.train.predictions import PredictionsError
from ecg_edge.train.report import plots
from ecg_edge.train.report.cv_summary import spread, summarize, write_cv_summary
from ecg_edge.train.report.write import write_report


def size(path: Path) -> tuple[int, int]:
    """Width and height in the header of a PNG."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def seventy_one() -> tuple[ClassInfo, ...]:
    return tuple(ClassInfo("", f"STMT{k}", f"statement {k}", 0.5) for k in range(71))


@pytest.mark.parametrize(
    "classes", [1, labels.SUPERCLASSES, 9, labels.CLASSES, seventy_one()], ids=["1", "5", "9", "24", "71"]
)
def test_any_list_of_classes_is_reported(tmp_path: Path, made_up: Any, classes: Any) -> None:
    given = made_up(80, classes)
    weights = np.eye(24) if classes == labels.CLASSES else None
    report = write_report(tmp_path / "out", given, weights, resamples=20)
    page = (tmp_path / "out" / "report.md").read_text()
    images = re.findall(r"!\[.*\]\((.*)\)", page)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([*images, "report.md", "report.json"])
    for name in images:
        width, height = size(tmp_path / "out" / name)
        assert 400 < width < 2000
        assert 150 < height < 6000
    for info in given.classes:
        assert f"{info.name} ({info.abbreviation})" in page
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["report"] == json.loads(json.dumps(report.to_json()))
    assert content["facts"] == given.facts
    assert list(content["thresholds"]) == [c.abbreviation for c in given.classes]
    assert ("Challenge metric 2020" in page) == (weights is not None)


def test_the_page_says_what_was_measured_and_what_not(tmp_path: Path, made_up: Any) -> None:
    given = made_up(80, split="fold 9, patients apart").with_thresholds([0.4, 0.5, 0.6], "fitted on fold 8")
    truth = given.truth.copy()
    truth[:, 1] = False
    truth[:2, 1] = True
    write_report(tmp_path, replace(given, truth=truth), resamples=20)
    page = (tmp_path / "report.md").read_text()
    for line in (
        "- split: fold 9, patients apart",
        "- records: 80 of 40 patients (made up 80)",
        "- folds: 9 (79)",
        "not a medical device",
        "fewer than 5 positives is found (C1)",
        "these were fitted on fold 8.",
        "| *class 1 (C1)* | 2 | 0.500 |",
    ):
        assert line in page


def test_nothing_to_draw_is_drawn_as_nothing(tmp_path: Path, made_up: Any) -> None:
    given = made_up(30)
    nothing = replace(given, truth=np.zeros_like(given.truth))
    report = write_report(tmp_path, nothing, resamples=10)
    assert report.classes_averaged == 0
    assert size(tmp_path / "roc.png")
    assert json.loads((tmp_path / "report.json").read_text())["report"]["macro_auroc"]["value"] is None


def test_decisions_may_be_given(tmp_path: Path, made_up: Any) -> None:
    given = made_up(60)
    report = write_report(tmp_path, given, resamples=10, decisions=given.truth)
    assert report.macro_f1.value == 1
    assert json.loads((tmp_path / "report.json").read_text())["thresholds"] is None
    assert "threshold |" not in (tmp_path / "report.md").read_text()


def test_a_roc_curve_encloses_the_auroc(made_up: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The area under the line that is drawn is the area that is printed, ties and all."""
    given = made_up(100, 2)
    given = replace(given, logits=np.round(given.logits))
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure))
    report = evaluate_predictions(given, resamples=5)
    plots.roc_curves(given, report, tmp_path / "x.png")
    lines = [line for line in drawn[0].axes[0].lines if "positives" in str(line.get_label())]
    assert [np.trapezoid(line.get_ydata(), line.get_xdata()) for line in lines] == pytest.approx(
        [f.value for f in report.auroc]
    )


def test_wilson_by_hand() -> None:
    # 0 of 10: 0 to z² / (n + z²); 5 of 10: .5 -+ z sqrt(n / 4 + z² / 4 ... ) / (n + z²) = .2366 to .7634.
    low, high = plots._wilson(np.array([0.0, 0.5]), np.array([10, 10]))
    assert low == pytest.approx([0, 0.2366], abs=1e-4)
    assert high == pytest.approx([1.96**2 / (10 + 1.96**2), 0.7634], abs=1e-4)


def folds(made_up: Any, classes: Any = 3) -> list[Any]:
    return [made_up(60, classes, seed=k, first=60 * k, split=f"fold {k + 1}") for k in range(3)]


def test_cross_validation_summary(tmp_path: Path, made_up: Any) -> None:
    parts = folds(made_up, labels.CLASSES)
    weights = 0.5 * np.eye(24) + 0.5
    parts[1] = parts[1].with_thresholds([0.7] * 24, "fitted on fold 3")
    summary = write_cv_summary(tmp_path, parts, weights, resamples=20)
    figures = summary.figures()
    assert list(figures) == ["macro AUROC", "macro AUPRC", "macro F1", "Challenge metric"]
    values = [evaluate_predictions(part, weights, resamples=5).macro_auroc.value for part in parts]
    assert [f.value for f in figures["macro AUROC"][:-1]] == values
    mean, deviation = spread(figures["macro AUROC"][:-1])
    assert (mean, deviation) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    # Pooled decisions are each fold's own: found and missed add up over folds.
    found = sum((part.decisions & part.truth).sum(axis=0) for part in parts)
    positives = sum(part.truth.sum(axis=0) for part in parts)
    assert summary.pooled.sensitivity == pytest.approx(found / positives)
    assert summary.pooled.records == 180
    page = (tmp_path / "crossval.md").read_text()
    assert f"| mean |  |  | {mean:.3f} |" in page
    assert f"| standard deviation |  |  | {deviation:.3f} |" in page
    assert "| 2: fold 2 | 60 |" in page
    assert size(tmp_path / "folds.png")[0] > 1000
    content = json.loads((tmp_path / "crossval.json").read_text())
    assert content["figures"]["macro AUROC"]["mean"] == pytest.approx(mean, abs=1e-6)
    assert len(content["folds"]) == 3


def test_folds_that_share_a_patient_are_refused(made_up: Any) -> None:
    with pytest.raises(PredictionsError, match="in two of the test sets"):
        summarize([made_up(10), made_up(10, first=8)])


def test_no_deviation_of_one_fold(made_up: Any) -> None:
    summary = summarize([made_up(60)], resamples=10)
    assert np.isnan(spread(summary.figures()["macro F1"][:-1])[1])
    assert summary.to_json()["figures"]["macro F1"]["deviation"] is None
    assert "Challenge metric" not in summary.figures()
