"""Trees that answer for records that they did not learn from, and networks that learn from what they say."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightgbm")

from ecg_edge.runtime.cli.main import main  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train import checkpoint  # noqa: E402
from ecg_edge.train.checkpoint import CheckpointError  # noqa: E402
from ecg_edge.train.distributed import World  # noqa: E402
from ecg_edge.train.finetune import BEST, FinetuneRun, tutored  # noqa: E402
from ecg_edge.train.loop import run_job  # noqa: E402
from ecg_edge.train.losses import measurement_loss  # noqa: E402
from ecg_edge.train.measurements.values import NAMES  # noqa: E402
from ecg_edge.train.metrics import auroc  # noqa: E402
from ecg_edge.train.predictions import load  # noqa: E402
from ecg_edge.train.settings import SettingsError, read_preset, to_table  # noqa: E402
from ecg_edge.train.tasks import ARRHYTHMIA  # noqa: E402
from ecg_edge.train.trained import read_trained  # noqa: E402
from ecg_edge.train.trees import (  # noqa: E402
    RARE_LOGIT,
    BoostSettings,
    TreesError,
    TreeSettings,
    cross_fitted,
    fit_trees,
    parts_of,
)
from ecg_edge.train.tutor import RESULT, Lesson, Tutor, TutorError, fit_tutor, normalized, read_tutor  # noqa: E402

CONTRACT = Contract()
FEW = BoostSettings(rounds=20, learning_rate=0.2, leaves=4, least_records=3, ensembles=1, values_part=0.5)
SETTINGS = TreeSettings(0, ("arrhythmia",), (1, 2, 3), (4,), ("ptbxl",), FEW)


@pytest.fixture(scope="module")
def sides(made_store: Callable[..., Any], made_waves: Callable[..., Any]) -> tuple[Any, Any]:
    return made_store(made_waves(48, 0)), made_store(made_waves(24, 1), 4, "v")


@pytest.fixture(scope="module")
def tutor(sides: tuple[Any, Any]) -> Tutor:
    return fit_tutor(SETTINGS, sides[0])


def question(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Return values (n, 5), labels (n, 3) of which the last is never there, and which count."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, 5))
    labels = np.stack((values[:, 0] > 0.5, values[:, 1] * values[:, 2] > 0, np.zeros(n, dtype=bool)), axis=1)
    return values, labels, rng.random((n, 3)) > 0.1


def test_trees_learn_thresholds_and_products_and_answer_rarely_for_what_they_never_saw() -> None:
    boost = replace(FEW, rounds=100, values_part=1.0)
    trees = fit_trees(*question(600, 0), boost, 0)
    values, labels, _ = question(300, 1)
    logits = trees.logits(values)
    assert (auroc(labels[:, :2], logits[:, :2]) > 0.95).all()
    assert (logits[:, 2] == RARE_LOGIT).all()
    again = fit_trees(*question(600, 0), boost, 0)
    assert again == trees
    assert fit_trees(*question(600, 0), boost, 1) != trees


def test_a_library_that_cannot_be_loaded_is_named_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)  # what Python takes for a package that is not there
    with pytest.raises(TreesError, match=r"ecg-edge\[train\]"):
        fit_trees(*question(30, 0), FEW, 0)


def test_no_record_is_answered_by_trees_that_learned_from_it() -> None:
    """Labels that nothing explains are remembered by trees of the record itself, and guessed by those of others."""
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((200, 5)), rng.random((200, 1)) < 0.4
    counted = np.ones((200, 1), dtype=bool)
    boost = replace(FEW, rounds=100, leaves=8)
    remembered = fit_trees(values, labels, counted, boost, 0).logits(values)
    parts = np.arange(200) % 4
    guessed = cross_fitted(values, labels, counted, parts, boost, 0)
    assert auroc(labels, remembered)[0] > 0.95
    assert 0.3 < auroc(labels, guessed)[0] < 0.65


def test_parts_are_folds_and_patients_are_not_cut(sides: tuple[Any, Any]) -> None:
    entries = list(sides[0].entries)
    mixed = [replace(e, fold=(None, 3, 7)[k % 3], patient=f"p{k // 6 * 3 + k % 3}") for k, e in enumerate(entries)]
    parts = parts_of(mixed, 0)
    assert set(parts.tolist()) == {0, 1}
    for fold, part in ((3, 0), (7, 1)):
        assert {parts[k] for k, e in enumerate(mixed) if e.fold == fold} == {part}
    for patient in {e.patient for e in mixed}:
        assert len({parts[k] for k, e in enumerate(mixed) if e.patient == patient}) == 1
    assert len(set(parts_of(entries, 0).tolist())) > 1  # all of one fold


def test_ranks_become_normal_and_equal_values_stay_equal() -> None:
    values = np.stack((np.exp(np.arange(101.0)), np.repeat((0.0, 5.0), (51, 50)), np.full(101, 3.0)), axis=1)
    normal = normalized(values)
    assert normal[50, 0] == pytest.approx(0, abs=1e-6)
    assert normal[:, 0].std() == pytest.approx(1, abs=0.05)
    assert (np.diff(normal[:, 0]) > 0).all()
    assert len(set(normal[:, 1].tolist())) == 2
    assert (normal[:, 2] == 0).all()


def test_a_file_gives_back_the_tutor_and_nothing_else_passes_for_one(tutor: Tutor, tmp_path: Path) -> None:
    path = tmp_path / RESULT
    tutor.save(path)
    again = read_tutor(path, CONTRACT)
    assert again.facts == tutor.facts
    assert again.trees == tutor.trees
    np.testing.assert_array_equal(again.logits, tutor.logits)
    with pytest.raises(TutorError, match="another contract"):
        read_tutor(path, replace(CONTRACT, window_seconds=5))
    state = checkpoint.load(path)
    checkpoint.save(path, state | {"measurements": state["measurements"][:, :-1]})
    with pytest.raises(TutorError, match="other measurements"):
        read_tutor(path, CONTRACT)
    checkpoint.save(path, state | {"kind": "trained"})
    with pytest.raises(CheckpointError, match=r"trees \(tutor\.pt\)"):
        read_tutor(path, CONTRACT)


def test_a_lesson_is_in_the_order_asked_for(tutor: Tutor, sides: tuple[Any, Any]) -> None:
    entries = sides[0].entries
    lesson = tutor.lesson(entries[::-1], ["arrhythmia"])
    assert lesson.probabilities.shape == (48, 24)
    assert lesson.measurements.shape == (48, len(NAMES))
    np.testing.assert_array_equal(lesson.measurements, tutor.measurements[::-1])
    fibrillation = [c.abbreviation for c in ARRHYTHMIA.classes].index("AF")
    truth = np.array([bool(e.codes) for e in entries[::-1]])[:, np.newaxis]
    assert auroc(truth, lesson.probabilities[:, fibrillation : fibrillation + 1])[0] > 0.8


def test_records_and_tasks_that_it_does_not_know_are_named(tutor: Tutor, sides: tuple[Any, Any]) -> None:
    with pytest.raises(TutorError, match="does not know 24 of the records, as ptbxl/v0"):
        tutor.lesson(sides[1].entries, ["arrhythmia"])
    with pytest.raises(TutorError, match="knows nothing of superclass"):
        tutor.lesson(sides[0].entries, ["superclass"])


def test_a_network_is_not_judged_by_patients_that_its_tutor_knows(
    tutor: Tutor, sides: tuple[Any, Any], tiny: Callable[..., Any]
) -> None:
    with pytest.raises(TutorError, match="which is to judge the network"):
        FinetuneRun(tiny(), CONTRACT, sides[0], sides[0], {}, tutor=tutor)
    with pytest.raises(SettingsError, match="label_fraction"):
        FinetuneRun(tiny(label_fraction=0.5), CONTRACT, *sides, {}, tutor=tutor)


def test_targets_are_labels_and_answers_in_parts(tiny: Callable[..., Any]) -> None:
    labels = np.array([[True, False, True]])
    counted = np.array([[True, True, False]])
    lesson = Lesson(np.array([[0.5, 0.2, 0.1]], dtype=np.float32), np.zeros((1, 2), dtype=np.float32))
    targets, weights = tutored(labels, counted, lesson, tiny(tutor_part=0.6, tutor_unknown=0.25))
    np.testing.assert_allclose(targets, [[0.7, 0.12, 0.1]], rtol=1e-6)
    np.testing.assert_array_equal(weights, np.array([[1, 1, 0.25]], dtype=np.float32))


def test_measurements_of_mixtures_cost_nothing_and_parts_add_up() -> None:
    told = torch.tensor([[0.5, 3.0], [1.0, 1.0], [9.0, 9.0]], requires_grad=True)
    truth = torch.tensor([[0.0, 0.0], [1.0, 0.0], [float("nan"), float("nan")]])
    loss = measurement_loss(told, truth, 3)
    assert float(loss) == pytest.approx((0.125 + 2.5 + 0.5) / 6)
    loss.backward()
    assert (told.grad[2] == 0).all()
    parts = measurement_loss(told[:1], truth[:1], 3) + measurement_loss(told[1:], truth[1:], 3)
    torch.testing.assert_close(parts, loss)


def test_a_tutored_run_learns_measurements_and_tells_its_tutor(
    tutor: Tutor, sides: tuple[Any, Any], tiny: Callable[..., Any], tmp_path: Path
) -> None:
    job = FinetuneRun(tiny(epochs=4), CONTRACT, *sides, {}, tutor=tutor)
    history = run_job(job, tmp_path, World())
    assert history[-1]["measurements"] < 0.9 * history[0]["measurements"]
    assert max(line["valid_auroc"] for line in history) > 0.95
    trained = read_trained(tmp_path / BEST)
    assert trained.tutor == tutor.facts
    assert not [name for name in trained.network.state_dict() if "measurer" in name]
    batch = next(iter(job.batches(0, 0)))
    assert batch.measurements is not None
    assert 0 < np.isnan(batch.measurements).all(axis=1).sum() < len(batch.measurements)


def test_without_weight_measurements_are_not_asked_for(
    tutor: Tutor, sides: tuple[Any, Any], tiny: Callable[..., Any]
) -> None:
    job = FinetuneRun(tiny(measurement_weight=0.0), CONTRACT, *sides, {}, tutor=tutor)
    assert "measurements" not in job.step(next(iter(job.batches(0, 0))), 0)


def test_the_commands_from_trees_to_a_tutored_network(
    command_line: Callable[..., list[str]], tiny: Callable[..., Any], tmp_path: Path
) -> None:
    trees = [word for word in command_line("trees", SETTINGS, tmp_path / "trees") if word not in ("--device", "cpu")]
    assert main(trees) == 0
    told = load(tmp_path / "trees" / "valid-arrhythmia.npz")
    assert told.facts["fusion"] == "trees"
    assert len(told.records) == 12
    words = command_line("finetune", tiny(), tmp_path / "run", "--tutor", str(tmp_path / "trees" / RESULT))
    assert main(words) == 0
    tutor = read_trained(tmp_path / "run" / BEST).tutor
    assert tutor is not None
    assert load(tmp_path / "run" / "valid-arrhythmia.npz").facts["tutor"] == tutor["sha256"]
    assert main([*words[:-2], "--tutor", str(tmp_path / "run" / BEST), "--resume"]) == 1


def test_settings_that_trees_cannot_follow() -> None:
    for change, complaint in (
        ({"boost": replace(FEW, leaves=1)}, "leaves = 1"),
        ({"boost": replace(FEW, values_part=0.0)}, "values_part = 0.0"),
        ({"tasks": ()}, "tasks"),
    ):
        with pytest.raises(SettingsError, match=complaint):
            replace(SETTINGS, **change).check()
    preset = read_preset(TreeSettings, "trees", "edge")
    preset.check()
    assert to_table(preset)["boost"] == to_table(BoostSettings())
