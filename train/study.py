"""The study behind docs/results.md: what pretraining, fusion and the number of labels are worth, one run a cell.

A cell is one setting of where the branches start from, how they are fused, how many labels there are, and the seed.
Every cell trains both tasks at once on the same records, chooses its epoch and thresholds on the validation folds and
is judged on the report folds, which nothing was chosen on. Cells run side by side, one core each; a finished one is
not run again, and an interrupted one goes on from its checkpoint.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from ecg_edge.runtime.contract import Contract

from .challenge_metric import read_weights
from .contrast import ContrastSettings
from .data import noise_for, open_sides
from .distributed import World
from .finetune import FinetuneRun
from .finetune_settings import FinetuneSettings
from .judge import write_predictions
from .loop import run_job
from .pretrained import read_pretrained
from .settings import SettingsError, read_preset, require

DONE = "done"  # an empty file: a cell's predictions are all written
WEIGHTS = Path("scoring") / "weights.csv"  # below the data folder
STARTS = ("scratch", "distilled", "random frozen", "distilled frozen")


@dataclass(frozen=True)
class StudySettings:
    """The grid, and how its cells differ from the preset that they are cells of."""

    preset: str
    """Preset of `finetune`."""
    starts: tuple[str, ...]
    """Where the branches come from: `scratch`, `distilled`, `random frozen` or `distilled frozen`."""
    fusions: tuple[str, ...]
    """Settings of network.fusion."""
    fractions: tuple[float, ...]
    """Settings of label_fraction."""
    seeds: tuple[int, ...]
    """Settings of seed."""
    report_folds: tuple[int, ...]
    """Folds that every cell is judged on."""
    epochs: int
    """Of a cell."""
    least_steps: int
    """Of an epoch, so that few labels do not mean few steps."""
    encoder_rate: float
    """Of distilled branches that go on learning."""
    contrast_weight: float
    """Of the supervised contrastive task, in cells of csca."""
    contrast: ContrastSettings
    """Of that task."""

    def check(self) -> None:
        """Raise SettingsError for a value that no cell can have."""
        unknown = sorted(set(self.starts) - set(STARTS))
        require(not unknown, f"starts: {', '.join(unknown)} is none of {', '.join(STARTS)}")
        read_preset(FinetuneSettings, "finetune", self.preset)


@dataclass(frozen=True)
class Cell:
    """One run of the study."""

    start: str
    """Out of STARTS."""
    settings: FinetuneSettings
    """What it trains with."""

    @property
    def name(self) -> str:
        """Folder of its run."""
        s = self.settings
        return f"{self.start.replace(' ', '-')}_{s.network.fusion}_{s.label_fraction:g}_{s.seed}"


@dataclass(frozen=True)
class Place:
    """Where a study reads and writes."""

    data: Path
    """Data folder."""
    cache: Path
    """Folder of conditioned records."""
    out: Path
    """Folder of the cells' runs."""
    init: Path | None
    """`pretrained.pt` of distilled cells."""


def cells(study: StudySettings) -> Iterator[Cell]:
    """Yield the cells of a study, those with most labels first: they take longest."""
    base = read_preset(FinetuneSettings, "finetune", study.preset)
    for fraction in sorted(study.fractions, reverse=True):
        for seed in study.seeds:
            for start in study.starts:
                for fusion in study.fusions:
                    yield Cell(
                        start,
                        replace(
                            base,
                            seed=seed,
                            epochs=study.epochs,
                            label_fraction=fraction,
                            least_steps=study.least_steps,
                            frozen=start.endswith("frozen"),
                            encoder_rate=study.encoder_rate,
                            contrast_weight=study.contrast_weight if fusion == "csca" else 0.0,
                            contrast=study.contrast,
                            network=replace(base.network, fusion=fusion),
                            threads=1,
                        ),
                    )


def run_cell(cell: Cell, report_folds: tuple[int, ...], place: Place) -> str:
    """Train and judge a cell, unless that is done; return its name."""
    folder = place.out / cell.name
    if (folder / DONE).exists():
        return cell.name
    s, contract, world = cell.settings, Contract(), World()
    sides = open_sides(
        place.data, s.sources, s.train_folds, s.valid_folds, report_folds, contract, place.cache, world, False, True
    )
    if sides.valid is None or sides.test is None:
        raise SettingsError("no records of the validation or report folds are there: name others in the study's preset")
    init = None
    if cell.start.startswith("distilled"):
        if place.init is None:
            raise SettingsError("distilled cells start from pretrained branches: name them with --init")
        init = read_pretrained(place.init, contract)
        init.check_unseen(sides.test.entries)
    noise = noise_for(place.data, contract, s.augment)
    run_job(FinetuneRun(s, contract, sides.train, sides.valid, noise, world, init), folder, world, resume=True)
    weights = read_weights(place.data / WEIGHTS) if (place.data / WEIGHTS).is_file() else None
    described = f"fold {', '.join(map(str, report_folds))} of PTB-XL, patients apart"
    write_predictions(folder, sides.valid, sides.test, weights, described)
    (folder / DONE).touch()
    return cell.name


def run_study(study: StudySettings, place: Place, jobs: int, progress: bool) -> int:
    """Run every cell that is not done, `jobs` at a time; return how many there are in all."""
    study.check()
    todo = list(cells(study))
    bar = tqdm(total=len(todo), unit="run", disable=not progress, dynamic_ncols=True, smoothing=0.05)
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with bar, ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(run_cell, cell, study.report_folds, place) for cell in todo]
        try:
            for future in as_completed(futures):
                bar.set_postfix_str(future.result())
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(todo)
