"""What the page of results says of teachers and of a cross-validation."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.train.evaluation import evaluate_predictions
from ecg_edge.train.predictions import Predictions
from ecg_edge.train.report.cv_summary import write_cv_summary
from ecg_edge.train.teacher_results import crossval_facts, render_crossval, render_teachers, teacher_facts

FACTS = {"epochs": 7, "fusion": "gate", "pretrained": "ab", "training_records": 99}


def test_teachers_stand_alone_and_as_one(made_up: Callable[..., Predictions], tmp_path: Path) -> None:
    first = made_up(150, 3, **FACTS)
    noise = np.random.default_rng(1).normal(size=first.logits.shape).astype(np.float32)
    second = replace(first, logits=first.logits + noise, facts={**first.facts, "seed": 1, "epochs": 9})
    for k, predictions in enumerate((first, second)):
        (tmp_path / str(k)).mkdir()
        predictions.save(tmp_path / str(k) / "test-made.npz")
    facts = teacher_facts([tmp_path / "0", tmp_path / "1"], None)
    assert facts == json.loads(json.dumps(facts))
    rows = facts["made up"]["rows"]
    assert [row["name"] for row in rows] == ["seed 0, 7 epochs", "seed 1, 9 epochs", "mean logits of the 2"]
    assert rows[0]["macro_auroc"]["value"] == pytest.approx(evaluate_predictions(first).macro_auroc.value, abs=1e-6)
    assert rows[1]["macro_auroc"]["value"] < rows[2]["macro_auroc"]["value"] < rows[0]["macro_auroc"]["value"]
    page = "\n".join(render_teachers(facts))
    assert "`gate` from self-distilled branches, 99 records" in page
    assert f"{rows[0]['macro_auroc']['value']:.3f} (" in page


def test_trees_are_told_apart_and_weigh_as_much_as_all_networks(
    made_up: Callable[..., Predictions], tmp_path: Path
) -> None:
    first = made_up(150, 3, **FACTS | {"tutor": "cd"})
    noise = np.random.default_rng(1).normal(size=first.logits.shape).astype(np.float32)
    tree = replace(first, logits=first.logits - noise, facts={**first.facts, "fusion": "trees", "tutor": None})
    second = replace(first, facts={**first.facts, "seed": 1})
    for name, predictions in (("trees", tree), ("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        predictions.save(tmp_path / name / "test-made.npz")
    facts = teacher_facts([tmp_path / name for name in ("trees", "a", "b")], None)
    rows = {row["name"]: row["macro_auroc"]["value"] for row in facts["made up"]["rows"]}
    assert list(rows)[2:] == ["mean logits of the 2", "trees over measurements", "mean logits of networks and trees"]
    half = evaluate_predictions(replace(first, logits=first.logits - noise / 2)).macro_auroc.value
    assert rows["mean logits of networks and trees"] == pytest.approx(half, abs=1e-6)
    assert "branches, tutored by trees, 99 records" in "\n".join(render_teachers(facts))


def test_a_cross_validation_is_told_fold_by_fold(made_up: Callable[..., Predictions], tmp_path: Path) -> None:
    parts = [made_up(100, 3, seed=k, first=100 * k, **FACTS | {"pretrained": None}) for k in range(3)]
    write_cv_summary(tmp_path / "summary-made", parts)
    for k, part in enumerate(parts):
        (tmp_path / f"fold-{k}").mkdir()
        part.save(tmp_path / f"fold-{k}" / "test-made.npz")
    facts = crossval_facts(tmp_path)
    page = "\n".join(render_crossval(facts))
    assert "made: 7 epochs from random branches." in page
    each = [evaluate_predictions(part).macro_auroc.value for part in parts]
    assert "| made | fold 1 | fold 2 | fold 3 | mean | deviation | pooled (95 %) |" in page
    assert (
        f"| macro AUROC | {' | '.join(f'{v:.3f}' for v in each)} | {np.mean(each):.3f} | {np.std(each, ddof=1):.3f} |"
        in page
    )


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EcgEdgeError, match="run ecg-edge finetune --report-fold"):
        teacher_facts([tmp_path], None)
    with pytest.raises(EcgEdgeError, match="to its end"):
        crossval_facts(tmp_path)
