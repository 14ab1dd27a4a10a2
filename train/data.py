"""From a data folder and settings to the stores and noise that a run takes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecg_edge.runtime.contract import Contract

from .augment.noise import NoiseRecording, read_noise
from .augment.settings import AugmentSettings
from .distributed import World
from .notices import tell_broken, tell_doubts, tell_index
from .records.entry import RecordEntry
from .records.index import RecordIndex, build_index, split
from .store import RecordStore, open_store


@dataclass(frozen=True)
class Sides:
    """Records by what they are for; no patient is on two of them."""

    train: RecordStore
    """To fit on."""
    valid: RecordStore | None
    """To choose the epoch and the thresholds on."""
    test: RecordStore | None
    """To report on."""


def open_entries(
    entries: Sequence[RecordEntry], contract: Contract, cache: Path, world: World, progress: bool, quiet: bool = False
) -> RecordStore:
    """Return the store of entries, made by the first rank while the others wait.

    What is left out of it is told on stderr unless `quiet`.
    """
    if not world.first:
        world.wait()
    store = open_store(entries, contract, cache, progress and world.first)
    if world.first:
        world.wait()
        if not quiet:
            tell_broken(store.broken)
            tell_doubts(store.doubts)
    return store


def open_sides(
    data: Path,
    sources: Collection[str],
    train_folds: Sequence[int],
    valid_folds: Sequence[int],
    test_folds: Sequence[int],
    contract: Contract,
    cache: Path,
    world: World,
    progress: bool,
    quiet: bool = False,
) -> Sides:
    """Return the records below `data` by side. Raises EcgEdgeError for a folder or folds that cannot be used.

    What is left out is told on stderr unless `quiet`.
    """
    index: RecordIndex = build_index(data, sources)
    if world.first and not quiet:
        tell_index(index)
    sides = split(index, train_folds, valid_folds, test_folds)
    train, valid, test = (
        open_entries(entries, contract, cache, world, progress, quiet) if entries else None
        for entries in (sides.train, sides.valid, sides.test)
    )
    assert train is not None
    return Sides(train, valid, test)


def noise_for(data: Path, contract: Contract, *settings: AugmentSettings) -> dict[str, NoiseRecording]:
    """Return the noise recordings that any of the settings asks for; raises AugmentError where one is not there."""
    wanted = {
        "ma": any(s.noise_probability > 0 for s in settings),
        "bw": any(s.wander_probability > 0 for s in settings),
    }
    return {name: read_noise(data, name, contract) for name, needed in wanted.items() if needed}
