"""Self-distillation: centre, teacher, schedules, views, agreement, the watch over collapse, and runs that learn."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train import checkpoint  # noqa: E402
from ecg_edge.train.distributed import World  # noqa: E402
from ecg_edge.train.loop import run_job  # noqa: E402
from ecg_edge.train.networks.model import NetworkSettings  # noqa: E402
from ecg_edge.train.networks.projector import Projector  # noqa: E402
from ecg_edge.train.optimizer import cosine, one_cycle  # noqa: E402
from ecg_edge.train.selfdistill.collapse import PATIENCE, CollapseError, Signs, Watch, signs  # noqa: E402
from ecg_edge.train.selfdistill.objective import Centre, agreement, teacher_targets  # noqa: E402
from ecg_edge.train.selfdistill.pretrain import prepare  # noqa: E402
from ecg_edge.train.selfdistill.run import RESULT, PretrainRun  # noqa: E402
from ecg_edge.train.selfdistill.views import ViewMaker  # noqa: E402
from ecg_edge.train.settings import SettingsError  # noqa: E402

CONTRACT = Contract()


@pytest.fixture(scope="module")
def start(
    made_store: Callable[..., Any], made_waves: Callable[..., Any], tiny_pretraining: Callable[..., Any]
) -> Callable[..., PretrainRun]:
    """Return a function that prepares a run over 24 made records, its settings replaced as asked."""
    store = made_store(made_waves(24, 0))
    return lambda **more: prepare(tiny_pretraining(**more), CONTRACT, store, {}, World())


def steps(run: PretrainRun, count: int) -> list[dict[str, float]]:
    lines: list[dict[str, float]] = []
    for epoch in range(-(-count // run.steps_per_epoch)):
        for batch in islice(run.batches(epoch, 0), count - len(lines)):
            lines.append(run.step(batch, len(lines)))
    return lines


def test_centre_is_the_momentum_times_the_old_plus_the_rest_times_the_mean() -> None:
    centre = Centre(2, 0.9)
    centre.value.copy_(torch.tensor([1.0, -2.0]))
    centre.update(torch.tensor([[1.0, 0.0], [2.0, 4.0], [6.0, 5.0]]), World())
    torch.testing.assert_close(centre.value, torch.tensor([0.9 + 0.1 * 3.0, -1.8 + 0.1 * 3.0]))


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_centre_moves_once_a_step_by_the_mean_of_all_its_scores(
    start: Callable[..., PretrainRun], accumulate: int
) -> None:
    run = start(accumulate=accumulate, cross_weight=0.0)
    batch = next(iter(run.batches(0, 0)))
    taught: list[Any] = []
    run.teacher.register_forward_hook(lambda *hooked: taught.append(hooked[-1]))
    run.step(batch, 0)
    assert len(taught) == accumulate
    for name in run.settings.modalities:
        scores = torch.cat([answer[name]["own"][0] for answer in taught])
        assert len(scores) == 2 * 12
        torch.testing.assert_close(run.centres[name].value, 0.1 * scores.mean(dim=0))


def test_targets_are_centred_then_sharpened() -> None:
    got = teacher_targets(torch.tensor([[0.5, 0.1]]), torch.tensor([0.3, 0.0]), 0.1)
    first = math.exp(2) / (math.exp(2) + math.exp(1))
    torch.testing.assert_close(got, torch.tensor([[first, 1 - first]]))


def test_agreement_is_the_mean_over_pairs_of_different_views() -> None:
    t = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.25, 0.75]])]
    s = [torch.tensor([[0.2, 0.0]]), torch.tensor([[0.0, 0.3]]), torch.tensor([[0.1, 0.0]])]

    def cross_entropy(target: Any, scores: Any) -> float:
        z = [math.exp(float(v) / 0.1) for v in scores[0]]
        return -sum(float(p) * math.log(e / sum(z)) for p, e in zip(target[0], z, strict=True))

    apart = [(0, 1), (0, 2), (1, 0), (1, 2)]
    expected = sum(cross_entropy(t[i], s[j]) for i, j in apart) / 4
    assert float(agreement(s, t, 0.1)) == pytest.approx(expected, rel=1e-5)
    expected = sum(cross_entropy(t[i], s[j]) for i in range(2) for j in range(3)) / 6
    assert float(agreement(s, t, 0.1, True)) == pytest.approx(expected, rel=1e-5)


def test_agreement_compares_no_view_with_itself() -> None:
    views = [torch.randn(4, 8, requires_grad=True) for _ in range(2)]
    only_first = [torch.softmax(torch.randn(4, 8), dim=1), torch.zeros(4, 8)]
    agreement(views, only_first, 0.1).backward()
    assert views[0].grad is None or not views[0].grad.any()
    assert views[1].grad is not None
    assert views[1].grad.any()


def test_schedules_end_at_their_last_value_on_the_last_step(start: Callable[..., PretrainRun]) -> None:
    run = start(epochs=3)
    total = run.epochs * run.steps_per_epoch
    last = {"rates": 1e-6, "decays": 0.4, "momenta": 1.0}
    for name, value in last.items():
        values = getattr(run, name)
        assert len(values) == total, name
        assert values[-1] == pytest.approx(value, abs=1e-12), name
    assert run.decays[0] == pytest.approx(0.04)
    assert run.momenta[0] == pytest.approx(0.9)
    assert run.rates.argmax() == run.steps_per_epoch, "the warm-up is one epoch"
    assert run.rates.max() == pytest.approx(0.05 * 12 / 256)
    for count in (1, 2, 7):
        assert len(one_cycle(1.0, 0.3, count)) == len(cosine(0.0, 1.0, count, 3)) == count
        assert np.isfinite(cosine(0.5, 1.0, count)).all()
    steps(run, total)
    groups = run._optimizer.param_groups
    assert {round(group["weight_decay"], 12) for group in groups} == {0.4, 0.0}
    assert groups[0]["lr"] == pytest.approx(1e-6)


def test_weight_decay_may_rise_from_nothing(start: Callable[..., PretrainRun]) -> None:
    run = start(weight_decay=(0.0, 0.4))
    steps(run, run.epochs * run.steps_per_epoch)
    assert max(group["weight_decay"] for group in run._optimizer.param_groups) == pytest.approx(0.4)


def test_the_teachers_temperature_warms_up_and_stays(start: Callable[..., PretrainRun]) -> None:
    run = start(teacher_temperature=(0.04, 0.08), temperature_epochs=4)
    assert [round(run.teacher_temperature(epoch), 3) for epoch in (0, 1, 4, 9)] == [0.04, 0.05, 0.08, 0.08]
    assert start(temperature_epochs=0).teacher_temperature(0) == 0.06


def test_teacher_follows_weights_and_batch_norm_statistics_by_the_momentum(start: Callable[..., PretrainRun]) -> None:
    run = start(teacher_momentum=(0.75, 0.75))
    before = copy.deepcopy(run.teacher.state_dict())
    steps(run, 1)
    student, statistics = run.student.state_dict(), 0
    for name, value in run.teacher.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * student[name], msg=name)
            statistics += "running" in name and not torch.equal(value, before[name])
    assert statistics >= 10


def test_views_of_one_kind_vary_in_length_and_local_ones_are_shorter(start: Callable[..., PretrainRun]) -> None:
    run = start()
    lengths: tuple[set[int], set[int]] = (set(), set())
    for epoch in range(6):
        for batch in run.batches(epoch, 0):
            for views, seen in zip((batch.long, batch.short), lengths, strict=True):
                assert views is not None
                assert len(views.signal) == 2 * batch.records
                samples = views.signal.shape[2]
                assert views.spectrogram.shape[3] == (samples - 64) // 20 + 1
                seen.add(samples)
    assert min(len(seen) for seen in lengths) > 2
    assert max(lengths[1]) < min(lengths[0])
    assert min(lengths[0]) >= 0.6 * 500
    assert max(lengths[0]) <= 500
    assert max(lengths[1]) <= 0.5 * 500


def test_views_of_the_papers_network_are_as_short_as_the_paper_has_them(tiny_pretraining: Callable[..., Any]) -> None:
    settings = tiny_pretraining(network=NetworkSettings(dropout=0.0, backbone="paper"), window_seconds=2.5)
    rng, local = np.random.default_rng(0), replace(settings.local_views, fraction=(0.1, 0.5))
    views = ViewMaker(settings, CONTRACT, None, None)  # type: ignore[arg-type]
    lengths = {views.samples(local, rng) for _ in range(3000)}
    assert (min(lengths), max(lengths)) == (25, 125)


def test_views_of_a_record_differ_and_masks_reach_them(
    start: Callable[..., PretrainRun], tiny_pretraining: Callable[..., Any]
) -> None:
    views = tiny_pretraining().global_views
    masks = replace(views.augment, time_mask_probability=1.0, frequency_mask_probability=1.0)
    run = start(global_views=replace(views, augment=masks))
    batch = next(iter(run.batches(0, 0)))
    long, n = batch.long, batch.records
    assert not np.array_equal(long.signal[:n], long.signal[n:])
    heard = long.spectrogram.astype(bool)
    assert (~heard.any(axis=(1, 2))).any(axis=1).all(), "frames are masked in every view"
    assert (~heard.any(axis=(1, 3))).any(axis=1).all(), "and bins"


def test_prototypes_stay_as_drawn_while_they_are_frozen(start: Callable[..., PretrainRun]) -> None:
    run = start(frozen_prototype_epochs=1)
    heads = [m for m in run.student.modules() if isinstance(m, Projector)]
    assert len(heads) == 4
    drawn = [head.prototypes.detach().clone() for head in heads]
    for number, batch in enumerate(run.batches(0, 0)):
        run.step(batch, number)
    assert all(torch.equal(head.prototypes, before) for head, before in zip(heads, drawn, strict=True))
    for number, batch in enumerate(run.batches(1, 0)):
        run.step(batch, run.steps_per_epoch + number)
    assert not any(torch.equal(head.prototypes, before) for head, before in zip(heads, drawn, strict=True))


def test_signs_by_hand() -> None:
    even = torch.full((6, 8), 1 / 8)
    single = torch.nn.functional.one_hot(torch.zeros(6, dtype=torch.long), 8).float()
    apart = torch.nn.functional.one_hot(torch.arange(6), 8).float()
    assert signs(even, torch.eye(6)).entropy == pytest.approx(1, abs=1e-5)
    assert signs(single, torch.eye(6)).marginal_entropy == pytest.approx(0, abs=1e-5)
    found = signs(apart, torch.eye(6))
    assert found.entropy == pytest.approx(0, abs=1e-5)
    assert found.marginal_entropy == pytest.approx(math.log(6) / math.log(8), abs=1e-5)
    assert found.deviation == pytest.approx(1.0, abs=1e-5)  # each column has one 1 and five 0: sqrt(1/6) each
    assert signs(apart, torch.ones(6, 6)).deviation == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Signs(0.999, 0.999, 0.9), "answers are uniform"),
        (Signs(0.01, 0.01, 0.9), "gives all records the same answer"),
        (Signs(0.5, 0.9, 0.01), "nearly the same features"),
    ],
)
def test_a_collapse_ends_the_run_after_some_epochs(found: Signs, words: str) -> None:
    watch = Watch()
    for _ in range(10):
        watch.look("time", found, still_warming=True)
    for _ in range(PATIENCE - 1):
        watch.look("time", found, still_warming=False)
    watch.look("time", Signs(0.5, 0.9, 0.9), still_warming=False)  # a healthy epoch starts the count anew
    for _ in range(PATIENCE - 1):
        watch.look("time", found, still_warming=False)
    with pytest.raises(CollapseError, match=rf"self-distillation of time has collapsed.*{words}"):
        watch.look("time", found, still_warming=False)


def test_a_run_whose_features_are_all_alike_is_ended(start: Callable[..., PretrainRun], tmp_path: Path) -> None:
    run = start(epochs=6)
    for module in (run.student, run.teacher):
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm1d):  # the last of a branch: its bias is all that is left
                torch.nn.init.zeros_(layer.weight)
                torch.nn.init.ones_(layer.bias)
                layer.requires_grad_(False)
    with pytest.raises(CollapseError, match="nearly the same features"):
        run_job(run, tmp_path, World())


@pytest.fixture(scope="module")
def learned(
    start: Callable[..., PretrainRun], tmp_path_factory: pytest.TempPathFactory
) -> tuple[PretrainRun, list[dict[str, float]], Path]:
    """A run of 8 epochs."""
    run, folder = start(epochs=8), tmp_path_factory.mktemp("pretraining")
    return run, run_job(run, folder, World()), folder


def test_a_short_run_lowers_the_loss_and_stays_healthy(learned: tuple[PretrainRun, list[Any], Path]) -> None:
    _, history, _ = learned
    for name in ("loss_time", "loss_spectrogram", "loss_time_to_spectrogram", "loss_spectrogram_to_time"):
        assert history[-1][name] < history[0][name], name
    for name in ("time", "spectrogram"):
        assert history[-1][f"{name}_deviation"] > 0.1
        assert history[-1][f"{name}_entropy"] < 0.995


def test_what_is_left_are_the_teachers_branches_and_whom_they_saw(
    learned: tuple[PretrainRun, list[Any], Path],
) -> None:
    run, history, folder = learned
    saved = checkpoint.load(folder / RESULT, "pretrained")
    assert saved["seen"] == sorted(f"r{k}" for k in range(24))
    assert saved["history"] == history
    assert set(saved["branches"]) == {"time", "spectrogram"}
    for name, branch in saved["branches"].items():
        theirs = run.teacher.learners[name].branch.state_dict()
        assert branch.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in branch.items())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"modalities": ("time", "audio")}, "modalities"),
        ({"modalities": ("time",)}, "cross_weight needs both"),
        ({"teacher_momentum": (0.9, 1.1)}, r"teacher_momentum = 1\.1"),
        ({"weight_decay": (0.1,)}, "weight_decay must be two values"),
        ({"precision": "int8"}, "precision = int8"),
    ],
)
def test_values_that_no_run_can_follow_are_named(
    tiny_pretraining: Callable[..., Any], change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        tiny_pretraining(**change).check()
