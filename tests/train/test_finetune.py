"""Supervised training: a run that learns, its schedule, its loss, its parts, its settings and presets."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train.augment.settings import AugmentSettings  # noqa: E402
from ecg_edge.train.distributed import World  # noqa: E402
from ecg_edge.train.finetune import BEST, FinetuneRun, labelled_part, macro_auroc  # noqa: E402
from ecg_edge.train.finetune_settings import FinetuneSettings  # noqa: E402
from ecg_edge.train.loop import run_job  # noqa: E402
from ecg_edge.train.losses import rare_weights  # noqa: E402
from ecg_edge.train.metrics import auroc  # noqa: E402
from ecg_edge.train.optimizer import follow, one_cycle  # noqa: E402
from ecg_edge.train.selfdistill.settings import PretrainSettings  # noqa: E402
from ecg_edge.train.settings import SettingsError, from_table, override, preset_names, read_preset, to_table  # noqa: E402
from ecg_edge.train.trained import TrainedError, read_trained  # noqa: E402
from ecg_edge.train.windows import network_windows, predict_logits, whole_windows  # noqa: E402

CONTRACT = Contract()


@pytest.fixture(scope="module")
def sides(made_store: Callable[..., Any], made_waves: Callable[..., Any]) -> tuple[Any, Any]:
    return made_store(made_waves(48, 0)), made_store(made_waves(24, 1), 4, "v")


@pytest.fixture(scope="module")
def learned(
    sides: tuple[Any, Any], tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[FinetuneRun, list[dict[str, float]], Path]:
    """A run of four epochs."""
    job, folder = FinetuneRun(tiny(epochs=4), CONTRACT, *sides, {}), tmp_path_factory.mktemp("run")
    return job, run_job(job, folder, World()), folder


def test_it_learns(learned: tuple[FinetuneRun, list[Any], Path]) -> None:
    _, history, _ = learned
    assert max(line["valid_auroc"] for line in history) > 0.95
    assert history[-1]["loss"] < 0.75 * history[0]["loss"]


def test_what_is_left_is_the_best_epochs_averaged_network(
    learned: tuple[FinetuneRun, list[Any], Path], sides: tuple[Any, Any]
) -> None:
    _, history, folder = learned
    trained = read_trained(folder / BEST)
    best = max(history, key=lambda line: (line["valid_auroc"], line["epoch"]))
    assert trained.history[-1] == best
    logits = predict_logits(trained.network, whole_windows(sides[1], CONTRACT))
    assert macro_auroc(trained.tasks[0].labels(sides[1].entries), logits) == best["valid_auroc"]
    part = trained.for_task("arrhythmia")
    np.testing.assert_array_equal(predict_logits(part, whole_windows(sides[1], CONTRACT)), logits)
    with pytest.raises(TrainedError, match="trained for arrhythmia, not for superclass"):
        trained.for_task("superclass")


def test_another_seed_gives_another_run(sides: tuple[Any, Any], tiny: Callable[..., Any]) -> None:
    lines = []
    for seed in (0, 0, 1):
        job = FinetuneRun(tiny(seed=seed), CONTRACT, *sides, {})
        lines.append(job.step(next(iter(job.batches(0, 0))), 0))
    assert lines[0] == lines[1] != lines[2]


def test_the_loss_is_the_binary_cross_entropy_over_what_counts(
    sides: tuple[Any, Any], tiny: Callable[..., Any]
) -> None:
    job = FinetuneRun(tiny(rare_power=1.0), CONTRACT, *sides, {})
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 24), torch.rand(6, 24)
    counted = (torch.rand(6, 24) > 0.4).float()
    p, weights = torch.sigmoid(logits), job.loss.positive_weights
    each = -(weights * targets * p.log() + (1 - targets) * (1 - p).log())
    expected = (each * counted).sum() / counted.sum()
    total = counted.sum().clamp(min=1.0)
    torch.testing.assert_close(job.loss(logits, targets, counted, total), expected)
    halves = [job.loss(logits[k], targets[k], counted[k], total) for k in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(sum(halves), expected)


def test_parts_of_a_step_give_the_whole_steps_loss_in_evaluation_of_its_rows(
    sides: tuple[Any, Any], tiny: Callable[..., Any]
) -> None:
    """Frozen branches have no batch statistics, so that parts differ from the whole by the order of summation alone."""
    found = []
    for accumulate in (1, 3):
        job = FinetuneRun(tiny(accumulate=accumulate, frozen=True), CONTRACT, *sides, {})
        line = job.step(next(iter(job.batches(0, 0))), 0)
        found.append((line["loss"], job.network.head.weight.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-6)


def test_rare_classes_weigh_more_up_to_a_limit() -> None:
    labels = np.zeros((1000, 3), dtype=np.bool_)
    labels[:500, 0] = labels[:10, 1] = labels[:1, 2] = True
    assert rare_weights(labels, 0.0, 10.0).tolist() == [1, 1, 1]
    np.testing.assert_allclose(rare_weights(labels, 0.5, 20.0), [1, 99**0.5, 20], rtol=1e-6)


def test_schedule_rises_then_falls_to_nearly_zero() -> None:
    rates = one_cycle(0.003, 0.2, 1000)
    top = int(rates.argmax())
    assert len(rates) == 1000
    assert rates[0] == pytest.approx(0.003 / 25)
    assert rates[top] == pytest.approx(0.003)
    assert top == 200
    assert (np.diff(rates[:top]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert rates[-1] < 1e-5 * 0.003


def test_the_average_follows_weights_and_statistics() -> None:
    one, other = (torch.nn.BatchNorm1d(2) for _ in range(2))
    other.weight.data.fill_(3.0)
    other.running_mean.fill_(8.0)
    other.num_batches_tracked.fill_(5)
    follow(one, other, 0.75)
    assert one.weight.tolist() == [1.5, 1.5]
    assert one.running_mean.tolist() == [2.0, 2.0]
    assert int(one.num_batches_tracked) == 5


def test_labelled_parts_are_nested_and_of_whole_patients(sides: tuple[Any, Any]) -> None:
    entries = tuple(replace(e, patient=f"p{k // 3}") for k, e in enumerate(sides[0].entries))
    parts = [labelled_part(entries, fraction, 0) for fraction in (0.01, 0.25, 0.5, 1.0)]
    assert [len(part) for part in parts] == [3, 12, 24, 48]
    for small, large in pairwise(parts):
        assert set(small) < set(large)
    assert {k // 3 for k in parts[1]} == {k // 3 for k in parts[1] if k % 3 == 0}
    assert set(labelled_part(entries, 0.5, 1)) != set(parts[2])


def test_mean_of_the_classes_that_have_enough_positives() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 3), dtype=np.bool_)
    labels[:10, 0] = labels[5:20, 1] = labels[:2, 2] = True
    logits = rng.normal(size=(40, 3)).astype(np.float32)
    assert macro_auroc(labels, logits) == pytest.approx(auroc(labels, logits)[:2].mean())
    assert macro_auroc(labels[:, 2:], logits[:, 2:]) == pytest.approx(auroc(labels, logits)[2])


def test_each_record_comes_as_often_as_crops_are_asked_for(sides: tuple[Any, Any], tiny: Callable[..., Any]) -> None:
    job = FinetuneRun(tiny(crops_per_record=3), CONTRACT, *sides, {})
    assert job.steps_per_epoch == 3 * 48 // 8
    assert sum(len(batch.targets) for batch in job.batches(0, 0)) == 3 * 48


def test_shorter_windows_are_judged_by_the_mean_of_their_probabilities(
    sides: tuple[Any, Any], tiny: Callable[..., Any]
) -> None:
    job = FinetuneRun(tiny(), CONTRACT, *sides, {})
    windows = network_windows(sides[1], CONTRACT, "edge", 2.4, 1.2)
    starts = range(0, 1000 - 240 + 1, 120)
    assert windows.per_record == len(starts) == 7
    for k, start in enumerate(starts):
        np.testing.assert_array_equal(windows.signal[7 + k], sides[1].signal(1)[:, start : start + 240])
    logits = predict_logits(job.network, windows)
    each = predict_logits(job.network, replace(windows, per_record=1)).astype(np.float64)
    p = (1 / (1 + np.exp(-each))).reshape(24, 7, 24).mean(axis=1)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits.astype(np.float64))), p, rtol=1e-4)


def test_a_validation_side_without_a_class_to_judge_by_is_refused_at_once(
    sides: tuple[Any, Any], tiny: Callable[..., Any], made_store: Callable[..., Any], made_waves: Callable[..., Any]
) -> None:
    alike = made_store(made_waves(1, 1), 4, "v")
    with pytest.raises(SettingsError, match="valid_folds: no class of arrhythmia"):
        FinetuneRun(tiny(), CONTRACT, sides[0], alike, {})
    with pytest.raises(SettingsError, match="valid_folds: no class of superclass"):
        FinetuneRun(tiny(tasks=("arrhythmia", "superclass")), CONTRACT, *sides, {})


PRESETS = [
    (kind, command, name)
    for kind, command in ((FinetuneSettings, "finetune"), (PretrainSettings, "pretrain"))
    for name in preset_names(command)
]


@pytest.mark.parametrize(("kind", "command", "name"), PRESETS)
def test_presets_can_be_followed_and_survive_their_table(kind: Any, command: str, name: str) -> None:
    settings = read_preset(kind, command, name)
    settings.check()
    assert from_table(kind, to_table(settings)) == settings
    folds = settings.train_folds if command == "finetune" else settings.folds
    assert 9 not in folds, "the fold of the report"
    assert {"edge", "paper"} <= set(preset_names(command))
    if command == "finetune":
        assert not {*folds, 9} & set(settings.valid_folds)


def test_options_replace_settings(tiny: Callable[..., Any]) -> None:
    changed = override(
        tiny(), ["epochs=7", "network.fusion=csca", "augment.noise_snr_db=[1, 2.5]", 'tasks=["cpsc2018"]']
    )
    assert changed == replace(
        tiny(epochs=7, tasks=("cpsc2018",)),
        network=replace(tiny().network, fusion="csca"),
        augment=replace(tiny().augment, noise_snr_db=(1.0, 2.5)),
    )
    with pytest.raises(SettingsError, match=r"no setting 'network\.fusoin=gate'"):
        override(tiny(), ["network.fusoin=gate"])
    with pytest.raises(SettingsError, match="epochs = 'many': must be of type int"):
        override(tiny(), ["epochs=many"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"epoch": 3}, "unknown setting epoch"),
        ({"epochs": True}, "epochs = True"),
        ({"train_folds": [1, "2"]}, "train_folds"),
        ({"network": {}}, r"missing setting network\."),
        ({"augment": {"typo": 1}}, r"unknown setting augment\.typo"),
    ],
)
def test_tables_that_are_no_settings_are_named(
    tiny: Callable[..., Any], change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        from_table(FinetuneSettings, to_table(tiny()) | change)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"epochs": 0}, "epochs = 0: must be above 0"),
        ({"average_decay": 1.5}, r"average_decay = 1\.5"),
        ({"crops_per_record": 0}, "crops_per_record = 0"),
        ({"tasks": ("arrhythmia", "arrhythmia")}, "each once"),
        ({"label_fraction": 0.0}, "label_fraction"),
        ({"precision": "fp16"}, "precision = fp16"),
    ],
)
def test_values_that_no_run_can_follow_are_named(
    tiny: Callable[..., Any], change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        tiny(**change).check()


def test_a_preset_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"edge.*paper"):
        read_preset(FinetuneSettings, "finetune", "no-such-preset")
    (tmp_path / "bad.toml").write_text("seed = ")
    with pytest.raises(SettingsError, match="is not TOML"):
        read_preset(FinetuneSettings, "finetune", str(tmp_path / "bad.toml"))
    assert AugmentSettings() == read_preset(FinetuneSettings, "finetune", "paper").augment
