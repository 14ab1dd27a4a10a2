"""The loop and its batches: resuming bit for bit, signals, refusals, divergence, the log."""

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import ecg_edge.train.loop as loop  # noqa: E402
from ecg_edge.runtime.cli.main import main  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train import checkpoint  # noqa: E402
from ecg_edge.train.distributed import World  # noqa: E402
from ecg_edge.train.finetune import BEST, FinetuneRun  # noqa: E402
from ecg_edge.train.loader import Meter, epoch_items  # noqa: E402
from ecg_edge.train.loop import LAST, LOG, DivergedError, ResumeError, run_job  # noqa: E402
from ecg_edge.train.selfdistill.pretrain import prepare  # noqa: E402
from ecg_edge.train.selfdistill.run import RESULT  # noqa: E402

CONTRACT = Contract()


class Counting:
    """A job that adds up what its batches say."""

    epochs, steps_per_epoch = 3, 4

    def __init__(self, name: str = "a") -> None:
        self.meter = Meter()
        self.name, self.total, self.seen = name, 0.0, []

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "same": 1}

    def batches(self, epoch: int, first: int) -> Iterator[int]:
        yield from range(10 * epoch + first, 10 * epoch + self.steps_per_epoch)

    def step(self, batch: int, number: int) -> dict[str, float]:
        self.total += batch
        self.seen.append((batch, number))
        return {"loss": float(batch)}

    def end_epoch(self, epoch: int, means: dict[str, float]) -> dict[str, float]:
        return {"twice": 2 * means["loss"]}

    def save_result(self, out: Path, history: list[dict[str, float]]) -> None:
        (out / "result").write_text(str(self.total))

    def state(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state(self, state: dict[str, Any]) -> None:
        self.total = state["total"]


def stop_at(job: Any, number: int) -> Any:
    """Return `job`, which asks its own process to end in step `number`."""
    step = job.step

    def asking(batch: Any, n: int) -> Any:
        if n == number:
            signal.raise_signal(signal.SIGTERM)
        return step(batch, n)

    job.step = asking
    return job


def test_the_log_has_the_means_of_each_epoch(tmp_path: Path) -> None:
    history = run_job(Counting(), tmp_path / "run", World())
    assert history == [{"epoch": e + 1, "loss": 10 * e + 1.5, "twice": 20 * e + 3} for e in range(3)]
    with (tmp_path / "run" / LOG).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: float(row[k]) for k in history[0]} for row in rows] == history
    assert all(float(row["seconds"]) >= 0 and float(row["batch_seconds"]) == 0 for row in rows)
    assert (tmp_path / "run" / "result").read_text() == "138.0"
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [LAST, LOG, "result"]


@pytest.mark.parametrize("number", range(12))
def test_a_run_stopped_at_any_step_goes_on_with_the_next(tmp_path: Path, number: int) -> None:
    first, second = stop_at(Counting(), number), Counting()
    with pytest.raises(KeyboardInterrupt):
        run_job(first, tmp_path, World())
    assert first.seen[-1][1] == number, "the step is finished"
    history = run_job(second, tmp_path, World(), resume=True)
    assert [n for _, n in first.seen + second.seen] == list(range(12))
    assert second.total == 138
    assert [line["loss"] for line in history] == [1.5, 11.5, 21.5]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "handlers are put back"


def test_a_long_epoch_is_saved_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    job = Counting()
    saved: list[int] = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda path, state: (saved.append(state["step"]), save(path, state)))
    run_job(job, tmp_path, World())
    assert saved == [1, 2, 3, 0] * 3


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    history = run_job(Counting(), tmp_path, World())
    again = Counting()
    assert run_job(again, tmp_path, World(), resume=True) == history
    assert again.seen == []


def test_a_run_is_not_written_over_nor_resumed_as_another(tmp_path: Path) -> None:
    run_job(Counting(), tmp_path, World())
    with pytest.raises(ResumeError, match="--resume"):
        run_job(Counting(), tmp_path, World())
    with pytest.raises(ResumeError, match="other name"):
        run_job(Counting("b"), tmp_path, World(), resume=True)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    job = Counting()
    job.step = lambda batch, number: {"loss": float("nan") if number == 5 else 1.0}  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match=r"nan.*epoch 2.*learning_rate"):
        run_job(job, tmp_path, World())


def test_batches_depend_on_seed_epoch_and_step_alone() -> None:
    def take(first: int, seed: int = 1, epoch: int = 0) -> list[tuple[int, list[int]]]:
        return list(epoch_items(lambda n, k: (k, n.tolist()), 20, 4, 6, seed, epoch, first))

    whole = take(0)
    assert [k for k, _ in whole] == [0, 1, 2, 3]
    assert [len(n) for _, n in whole] == [5, 5, 5, 5]
    assert sorted(k for _, n in whole for k in n) == list(range(20)), "each record once"
    assert take(2) == whole[2:]
    assert take(0, seed=2) != whole
    assert take(0, epoch=1) != whole


@pytest.mark.parametrize(("records", "steps", "size"), [(10, 7, 6), (3, 5, 8), (7, 7, 1), (5, 3, 2)])
def test_records_come_as_often_as_the_steps_need(records: int, steps: int, size: int) -> None:
    batches = list(epoch_items(lambda n, k: n, records, steps, size, 0, 0))
    assert len(batches) == steps
    assert all(1 <= len(n) <= size for n in batches)
    counts = np.bincount(np.concatenate(batches), minlength=records)
    assert np.ptp(counts) <= 1


def test_an_error_in_the_background_comes_through() -> None:
    def make(numbers: Any, step: int) -> int:
        if step == 2:
            raise ValueError("no such record")
        return step

    got = []
    with pytest.raises(ValueError, match="no such record"):
        got.extend(epoch_items(make, 8, 4, 2, 0, 0))


@pytest.fixture(scope="module")
def jobs(
    made_store: Callable[..., Any],
    made_waves: Callable[..., Any],
    tiny: Callable[..., Any],
    tiny_pretraining: Callable[..., Any],
) -> Callable[..., Any]:
    """Return a function that prepares a job by kind and number of parts of a step."""
    train, valid = made_store(made_waves(24, 0)), made_store(made_waves(16, 1), 4, "v")

    def prepared(kind: str, accumulate: int) -> Any:
        if kind == "pretrain":
            return prepare(tiny_pretraining(accumulate=accumulate), CONTRACT, train, {}, World())
        return FinetuneRun(tiny(accumulate=accumulate, contrast_weight=0.2), CONTRACT, train, valid, {})

    return prepared


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("kind", "result"), [("finetune", BEST), ("pretrain", RESULT)])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    jobs: Callable[..., Any], tmp_path: Path, kind: str, result: str, accumulate: int
) -> None:
    whole = jobs(kind, accumulate)
    history = run_job(whole, tmp_path / "whole", World())
    number = whole.steps_per_epoch + 1  # within the second epoch
    assert number < whole.epochs * whole.steps_per_epoch
    with pytest.raises(KeyboardInterrupt):
        run_job(stop_at(jobs(kind, accumulate), number - 1), tmp_path / "cut", World())
    assert checkpoint.load(tmp_path / "cut" / LAST)["step"] == 1
    resumed = jobs(kind, accumulate)
    assert run_job(resumed, tmp_path / "cut", World(), resume=True) == history
    assert_same(whole.state(), resumed.state())
    for name in (LAST, result):
        assert_same(
            untimed(checkpoint.load(tmp_path / "whole" / name)), untimed(checkpoint.load(tmp_path / "cut" / name))
        )
    assert logged(tmp_path / "whole") == logged(tmp_path / "cut")


def untimed(state: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without how long its epochs took."""
    return {key: value for key, value in state.items() if key != "timing"}


def logged(folder: Path) -> list[list[str]]:
    """Return the rows of a log without how long they took: its last two columns."""
    with (folder / LOG).open(newline="") as file:
        return [row[:-2] for row in csv.reader(file)]


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Assert that two states are equal bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for k, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{k}]")
    else:
        assert one == other, where


def test_a_process_ended_and_resumed_leaves_the_weights_of_one_that_was_not(
    command_line: Callable[..., list[str]],
    tiny: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = tiny(least_steps=30)  # long enough to be ended within
    assert main(command_line("finetune", settings, tmp_path / "whole")) == 0
    assert "validation macro AUROC" in capsys.readouterr().out
    for ending in (signal.SIGTERM, signal.SIGKILL):
        out = tmp_path / ending.name
        words = command_line("finetune", settings, out)
        process = subprocess.Popen([sys.executable, "-c", _SAVING, *words], stderr=subprocess.PIPE, text=True)
        try:
            _wait_for(out / LAST, process)
            process.send_signal(ending)
            _, errors = process.communicate(timeout=300)
        finally:
            process.kill()
        assert process.returncode != 0
        assert "Traceback" not in errors
        assert len(checkpoint.load(out / LAST)["history"]) < settings.epochs
        assert main(words) != 0
        assert "add --resume" in capsys.readouterr().err
        assert main([*words, "--resume", "--seed", "5"]) != 0
        assert "other settings" in capsys.readouterr().err
        assert main([*words, "--resume"]) == 0
        assert_same(checkpoint.load(tmp_path / "whole" / BEST), checkpoint.load(out / BEST))
        assert logged(tmp_path / "whole") == logged(out)


# The command in a process of its own, which saves at every step instead of every 30 s.
_SAVING = """
import ecg_edge.train.loop
ecg_edge.train.loop.SAVE_SECONDS = 0.0
import runpy
runpy.run_module("ecg_edge.train", run_name="__main__")
"""


def _wait_for(path: Path, process: Any) -> None:
    """Return when `path` is there; fails where the process ends before or takes five minutes."""
    end = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
