"""A student learns what its teachers know, from windows without labels too, and leaves them as they were."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.export.distill.run import DistillRun  # noqa: E402
from ecg_edge.export.distill.teachers import Teachers, attention_of, read_teachers  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train import checkpoint  # noqa: E402
from ecg_edge.train.distributed import World  # noqa: E402
from ecg_edge.train.finetune import BEST, Answers  # noqa: E402
from ecg_edge.train.inputs import signal_tensor, spectrogram_tensor  # noqa: E402
from ecg_edge.train.loop import LAST, run_job  # noqa: E402
from ecg_edge.train.settings import to_table  # noqa: E402
from ecg_edge.train.trained import read_trained  # noqa: E402
from ecg_edge.train.windows import predict_logits, whole_windows  # noqa: E402

CONTRACT = Contract()
CPU = torch.device("cpu")


def prepared(settings: Any, sides: Any, teachers: Teachers, facts: Any = ()) -> DistillRun:
    return DistillRun(settings, CONTRACT, sides.train, sides.valid, {}, teachers, list(facts))


def learning(job: DistillRun, count: int) -> tuple[Answers, torch.Tensor, torch.Tensor]:
    """Return what the student, not changing, says of the first windows of the run, and these."""
    rows = next(iter(job.batches(0, 0))).rows
    signal, spectrogram = signal_tensor(rows.signal[:count], CPU), spectrogram_tensor(rows.spectrogram[:count], CPU)
    with torch.no_grad():
        answers = job.objective.eval()(signal, spectrogram, torch.ones(count, job.network.features))
    return answers, signal, spectrogram


@pytest.mark.parametrize("change", [{"label_weight": 0.0}, {"label_weight": 0.1, "label_fraction": 0.02}])
def test_it_learns_the_teachers_answers_without_labels(
    made_run: Any, sides: Any, taught: Callable[..., Any], tmp_path: Path, change: dict[str, float]
) -> None:
    settings = taught(epochs=5, batch_size=12, **change)
    teachers, facts = read_teachers([made_run.root / "run" / BEST], settings.student, CONTRACT)
    before = {name: value.clone() for name, value in teachers.state_dict().items()}
    job = prepared(settings, sides, teachers, facts)
    windows = whole_windows(sides.valid, CONTRACT)
    wanted = torch.sigmoid(torch.from_numpy(predict_logits(teachers.networks[0], windows)))

    def distance() -> float:
        return float((torch.sigmoid(torch.from_numpy(predict_logits(job.average, windows))) - wanted).square().mean())

    first = distance()
    history = run_job(job, tmp_path, World())
    assert distance() < 0.2 * first
    for part in ("told", "features", "gate"):
        assert history[-1][part] < history[0][part]
    assert job.steps_per_epoch == 7, "every record is learned from"
    written = checkpoint.load(tmp_path / BEST)
    assert written["records"] == (2 if "label_fraction" in change else 84), "which have labels"
    for name, value in teachers.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_teachers_are_neither_trained_nor_kept(
    made_run: Any, sides: Any, taught: Callable[..., Any], tmp_path: Path
) -> None:
    settings = taught(epochs=1, batch_size=40)
    teachers, facts = read_teachers([made_run.root / "run" / BEST] * 2, settings.student, CONTRACT)
    job = prepared(settings, sides, teachers, facts)
    theirs = {id(p) for p in teachers.parameters()}
    assert not any(p.requires_grad for p in teachers.parameters())
    assert not theirs & {id(p) for p in job.objective.parameters()}
    guide = {name for name in job.state()["objective"] if name.startswith("guide.")}
    assert guide == {f"guide.projections.{k}.{part}" for k in range(2) for part in ("weight", "bias")}
    run_job(job, tmp_path, World())
    trained = read_trained(tmp_path / BEST)
    assert trained.distill == to_table(settings)
    teacher = {"settings": to_table(made_run.settings), "init": None, "tutor": None}
    assert trained.teachers == (teacher, teacher)
    assert checkpoint.load(tmp_path / BEST)["network"].keys() == job.network.state_dict().keys()


@pytest.mark.parametrize(("fusion", "more"), [("gate", {}), ("csca", {}), ("csca", {"time_stride": 2})])
def test_the_parts_of_the_loss_are_those_written_down(
    sides: Any, taught: Callable[..., Any], untrained: Callable[..., Any], fusion: str, more: dict[str, int]
) -> None:
    """Against NumPy; a teacher of another length is resampled to the student's."""
    settings = taught((0.5, 2.0, 30.0), fusion)
    network = replace(settings.student.network, **more)
    teacher = untrained(replace(settings.student, network=network), 5)
    job = prepared(settings, sides, Teachers([teacher], settings.student, CONTRACT))
    answers, signal, spectrogram = learning(job, 6)
    guide = job.objective.guide
    with torch.no_grad():
        loss, line = guide.loss(answers, signal, spectrogram, 6)
        theirs = teacher.network.branch_features(signal, spectrogram)
        fused = teacher.network.fuse_features(*theirs).numpy()
        p = torch.sigmoid(teacher.network.classify(torch.from_numpy(fused))).double().numpy()
        attention = [a.numpy() for a in attention_of(teacher.network, *theirs)]
        mine = [a.numpy() for a in attention_of(job.network, *job.network.branch_features(signal, spectrogram))]
        q = torch.sigmoid(answers.logits).double().numpy()
    assert line["told"] == pytest.approx(-(p * np.log(q) + (1 - p) * np.log(1 - q)).mean(), rel=1e-4)
    projected = answers.guided[0].numpy()
    cosine = (projected * fused).sum(axis=1) / np.linalg.norm(projected, axis=1) / np.linalg.norm(fused, axis=1)
    assert line["features"] == pytest.approx((1 - cosine).mean(), rel=1e-4)
    squares = []
    for a, b in zip(mine, attention, strict=True):
        places = (np.arange(a.shape[1]) + 0.5) * b.shape[1] / a.shape[1] - 0.5
        seen = np.stack([np.interp(places, np.arange(b.shape[1]), row) for row in b])
        squares.append(((a - seen) ** 2).mean())
    assert (mine[0].shape == attention[0].shape) == (not more)
    assert line["gate"] == pytest.approx(np.mean(squares), rel=1e-3)
    assert float(loss) == pytest.approx(0.5 * line["told"] + 2 * line["features"] + 30 * line["gate"], rel=1e-5)


def test_losses_of_parts_add_up_to_the_batch_s(
    sides: Any, taught: Callable[..., Any], untrained: Callable[..., Any]
) -> None:
    settings = taught()
    job = prepared(settings, sides, Teachers([untrained(settings.student, 5)], settings.student, CONTRACT))
    answers, signal, spectrogram = learning(job, 7)
    with torch.no_grad():
        whole, line = job.objective.guide.loss(answers, signal, spectrogram, 7)
        parts = []
        for rows in (slice(0, 2), slice(2, 7)):
            some = answers._replace(logits=answers.logits[rows], guided=tuple(g[rows] for g in answers.guided))
            parts.append(job.objective.guide.loss(some, signal[rows], spectrogram[rows], 7))
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole)
    for name, value in line.items():
        assert parts[0][1][name] + parts[1][1][name] == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "fusions", "told"),
    [
        ((1.0, 1.0, 1.0), ("gate",), {"told", "features"}),
        ((1.0, 0.0, 1.0), ("csca", "gate"), {"told"}),
        ((1.0, 0.0, 1.0), ("csca", "csca"), {"told", "gate"}),
        ((1.0, 1.0, 0.0), ("csca",), {"told", "features"}),
    ],
)
def test_attention_is_compared_where_all_attend_alike(
    sides: Any,
    taught: Callable[..., Any],
    untrained: Callable[..., Any],
    weights: tuple[float, float, float],
    fusions: tuple[str, ...],
    told: set[str],
) -> None:
    settings = taught(weights, batch_size=12)
    teachers = [untrained(taught(fusion=fusion).student, k) for k, fusion in enumerate(fusions)]
    job = prepared(settings, sides, Teachers(teachers, settings.student, CONTRACT))
    line = job.step(next(iter(job.batches(0, 0))), 0)
    assert set(line) == {"loss"} | told


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    made_run: Any, sides: Any, taught: Callable[..., Any], tmp_path: Path
) -> None:
    settings = taught(epochs=2, batch_size=28, label_fraction=0.5, accumulate=2)

    def job() -> DistillRun:
        teachers, facts = read_teachers([made_run.root / "run" / BEST], settings.student, CONTRACT)
        return prepared(settings, sides, teachers, facts)

    history = run_job(job(), tmp_path / "whole", World())
    cut = job()
    assert cut.steps_per_epoch == 3
    step = cut.step

    def stopped(batch: Any, number: int) -> Any:
        if number == 4:
            raise KeyboardInterrupt
        return step(batch, number)

    cut.step = stopped  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run_job(cut, tmp_path / "cut", World())
    assert run_job(job(), tmp_path / "cut", World(), resume=True) == history
    for name in (LAST, BEST):
        one, other = (_flat(checkpoint.load(tmp_path / folder / name)) for folder in ("whole", "cut"))
        assert one.keys() == other.keys()
        for key, value in one.items():
            same = torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]
            assert same or ".timing" in key, key


def _flat(state: Any, where: str = "") -> dict[str, Any]:
    """Return the leaves of a state by their place in it."""
    if not isinstance(state, dict | list):
        return {where: state}
    inner = state.items() if isinstance(state, dict) else enumerate(state)
    return {place: leaf for key, value in inner for place, leaf in _flat(value, f"{where}.{key}").items()}
