"""The loop that every training run goes through: steps, epochs, checkpoints, a log, progress.

A run can be killed at any moment. `last.pt` is written atomically at the end of an epoch or in the middle of a long
one, at most SAVE_SECONDS after the one before; a resumed run goes on from that step and ends where an uninterrupted
one does, since what a step sees depends on the settings, the data and its number alone.
"""

import csv
import io
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from tqdm import tqdm

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from . import checkpoint
from .distributed import World

LAST, LOG = "last.pt", "log.csv"
SAVE_SECONDS = 30.0  # of work that a killed run loses at most; a save takes some 20 ms

Line = dict[str, float]


class ResumeError(EcgEdgeError):
    """A run that cannot be resumed, or must not be written over."""


class DivergedError(EcgEdgeError):
    """A loss that is no number any more."""


class Job(Protocol):
    """What is trained: `run_job` calls these and nothing else."""

    epochs: int
    steps_per_epoch: int

    def identity(self) -> dict[str, Any]:
        """Return what two runs must have in common for one to go on with the other's state."""

    def batches(self, epoch: int, first: int) -> Iterator[Any]:
        """Yield the batches of an epoch from step number `first` on."""

    def step(self, batch: Any, number: int) -> Line:
        """Take one step, number `number` of the whole run; return its losses, over all ranks."""

    def end_epoch(self, epoch: int, means: Line) -> Line:
        """Look at the end of epoch number `epoch` (`means` of its steps); return what the log says besides."""

    def save_result(self, out: Path, history: list[Line]) -> None:
        """Write what the run is for, after an epoch's line was added to the history. On the first rank."""

    def state(self) -> dict[str, Any]:
        """Return all that changes."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""


def run_job(job: Job, out: Path, world: World, resume: bool = False, progress: bool = False) -> list[Line]:
    """Train to the end, leaving `last.pt` and `log.csv` in `out`; return the history, one line an epoch.

    resume: go on from `out`'s checkpoint if there is one. Raises ResumeError where `out` holds a run and `resume` is
    not given, or was of other settings; DivergedError where the loss is not finite. After SIGTERM or Ctrl-C the
    state is saved first.
    """
    out.mkdir(parents=True, exist_ok=True)
    history: list[Line] = []
    step, sums = 0, {}
    if (out / LAST).exists():
        if not resume:
            raise ResumeError(f"{out} holds a run already: add --resume to go on with it, or name another --out")
        saved = checkpoint.load(out / LAST)
        if saved.get("identity") != job.identity():
            raise ResumeError(f"the run in {out} was started with {_difference(saved, job)}: name another --out")
        job.load_state(saved["job"])
        history, step, sums = list(saved["history"]), saved["step"], dict(saved["sums"])
    world.wait()  # until all have read what the first will soon write over

    def save() -> None:
        if world.first:
            state = {"identity": job.identity(), "job": job.state(), "history": history, "step": step, "sums": sums}
            checkpoint.save(out / LAST, state)

    saved_at = time.monotonic()
    bar = tqdm(
        total=job.epochs * job.steps_per_epoch,
        initial=len(history) * job.steps_per_epoch + step,
        unit="step",
        disable=not progress or not world.first,
        dynamic_ncols=True,
        smoothing=0.05,
    )
    with bar, _stoppable(world) as stop:
        while len(history) < job.epochs:
            bar.set_description(f"epoch {len(history) + 1}/{job.epochs}")
            for batch in job.batches(len(history), step):
                line = job.step(batch, len(history) * job.steps_per_epoch + step)
                if not all(map(math.isfinite, line.values())):
                    lost = f"; {out / LAST} has the last state saved" if (out / LAST).exists() else ""
                    raise DivergedError(
                        f"the loss became {line} in epoch {len(history) + 1}: lower learning_rate or "
                        f"gradient_norm{lost}"
                    )
                sums = {name: sums.get(name, 0.0) + value for name, value in line.items()}
                step += 1
                bar.update()
                if stop.is_set() or (time.monotonic() - saved_at > SAVE_SECONDS and step < job.steps_per_epoch):
                    save()
                    saved_at = time.monotonic()
                    if stop.is_set():
                        raise KeyboardInterrupt
            means = {name: value / job.steps_per_epoch for name, value in sums.items()}
            ending = job.end_epoch(len(history), means)
            history.append({"epoch": len(history) + 1, **means, **ending})
            step, sums = 0, {}
            if world.first:
                job.save_result(out, history)
                write_log(out / LOG, history)
            if time.monotonic() - saved_at > SAVE_SECONDS or len(history) == job.epochs:
                save()
                saved_at = time.monotonic()
            bar.set_postfix({k: f"{v:.4g}" for k, v in history[-1].items() if k != "epoch"})
    return history


def write_log(path: Path, history: list[Line]) -> None:
    """Write the history as CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[-1]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(history)
    working = path.with_name(f".{path.name}")
    working.write_text(text.getvalue(), encoding="utf-8")
    working.replace(path)


@contextmanager
def _stoppable(world: World) -> Iterator[threading.Event]:
    """Turn SIGTERM and SIGINT into an event, so that a step is finished and saved; a second one ends at once.

    Several ranks would notice at different steps and wait for each other: they end at once, and resume from the
    last checkpoint.
    """
    stop = threading.Event()
    if world.size > 1 or threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _difference(saved: dict[str, Any], job: Job) -> str:
    theirs, mine = saved.get("identity") or {}, job.identity()
    odd = sorted(k for k in {*theirs, *mine} if theirs.get(k) != mine.get(k))
    return f"other {', '.join(odd)}"
