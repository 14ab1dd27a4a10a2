"""Cross-validation: one run a fold, and leaving a source out, each with its own validation and, if asked, pretraining.

A fold's test records choose nothing: another fold chooses the epoch and the thresholds, and neither is seen in
pretraining. A fold that is done is not done again, and one that was interrupted goes on from its checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.runtime.contract import Contract

from .data import open_entries
from .distributed import World
from .finetune import FinetuneRun
from .finetune_settings import FinetuneSettings
from .judge import write_predictions
from .loop import run_job
from .predictions import Predictions, load
from .pretrained import Pretrained, read_pretrained
from .records.entry import RecordEntry
from .records.index import Split
from .selfdistill.pretrain import prepare
from .selfdistill.run import RESULT
from .selfdistill.settings import PretrainSettings
from .store import RecordStore
from .trees import TreeSettings
from .tutor import RESULT as TUTOR
from .tutor import Tutor, fit_tutor, read_tutor

DONE = "done"  # an empty file: the predictions of a fold are all written


@dataclass(frozen=True)
class Part:
    """One fold, or one source left out."""

    name: str
    """Folder of its run."""
    split: Split
    """Its records by side."""
    pretraining: tuple[RecordEntry, ...]
    """Records that its pretraining may see."""
    described: str
    """What its test side is, in words."""


@dataclass(frozen=True)
class Bench:
    """What all parts of a cross-validation share."""

    settings: FinetuneSettings
    """Of each run; its folds are not used."""
    pretrain: PretrainSettings | None
    """Of a pretraining of its own for each part; None for random branches."""
    trees: TreeSettings | None
    """Of a tutor of its own for each part; None to learn from labels alone."""
    contract: Contract
    """Of the inputs."""
    noise: dict[str, Any]
    """Recordings for the augmentation."""
    weights: npt.NDArray[np.float64] | None
    """Reward matrix of the Challenge metric."""
    cache: Path
    """Folder of conditioned records."""


def run_part(bench: Bench, part: Part, out: Path, world: World, progress: bool) -> dict[str, Predictions]:
    """Train and judge one part in `out / part.name`, unless that is done; return its test predictions by task."""
    folder = out / part.name
    if not (folder / DONE).exists():
        valid = open_entries(part.split.valid, bench.contract, bench.cache, world, progress)
        test = open_entries(part.split.test, bench.contract, bench.cache, world, progress)
        init = None if bench.pretrain is None else _pretrained(bench, part, folder, world, progress)
        if init is not None:
            init.check_unseen(test.entries)
        train = open_entries(part.split.train, bench.contract, bench.cache, world, progress)
        tutor = None if bench.trees is None else _tutor(bench, train, folder, world, progress)
        if tutor is not None:
            tutor.check_unseen(test.entries)
        job = FinetuneRun(bench.settings, bench.contract, train, valid, bench.noise, world, init, tutor=tutor)
        run_job(job, folder, world, True, progress)
        if world.first:
            write_predictions(folder, valid, test, bench.weights, part.described)
            (folder / DONE).touch()
        world.wait()
    paths = {name: folder / f"test-{name}.npz" for name in bench.settings.tasks}
    return {name: load(path) for name, path in paths.items() if path.is_file()}


def _pretrained(bench: Bench, part: Part, folder: Path, world: World, progress: bool) -> Pretrained:
    assert bench.pretrain is not None
    store = open_entries(part.pretraining, bench.contract, bench.cache, world, progress)
    # The folds of the settings say nothing here: the part's own records are what is learned from.
    settings = replace(bench.pretrain, network=bench.settings.network)
    job = prepare(settings, bench.contract, store, bench.noise, world)
    run_job(job, folder / "pretrain", world, True, progress)
    return read_pretrained(folder / "pretrain" / RESULT, bench.contract)


def _tutor(bench: Bench, train: RecordStore, folder: Path, world: World, progress: bool) -> Tutor:
    assert bench.trees is not None
    path = folder / TUTOR
    if world.first and not path.is_file():
        # The folds of the settings say nothing here either.
        folder.mkdir(parents=True, exist_ok=True)
        fit_tutor(replace(bench.trees, tasks=bench.settings.tasks), train, progress).save(path)
    world.wait()
    return read_tutor(path, bench.contract)


def by_task(parts: Sequence[dict[str, Predictions]], tasks: Sequence[str]) -> dict[str, list[Predictions]]:
    """Return the predictions of all parts, task by task."""
    return {name: [part[name] for part in parts if name in part] for name in tasks}
