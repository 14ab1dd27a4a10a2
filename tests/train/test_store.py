"""The store of conditioned records: what is in it, what is left out, when it is made anew."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tqdm")

from ecg_edge.firmware_bridge.leads import MEASURED_LEADS
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.conditioning import condition
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.sources.records import read_recording, write_recording
from ecg_edge.runtime.stft import Stft
from ecg_edge.train.records.entry import RecordEntry
from ecg_edge.train.records.index import build_index
from ecg_edge.train.store import FRAMES, SIGNALS, StoreError, open_store

CONTRACT = Contract()


def write(
    folder: Path, name: str, seconds: float, seed: int = 0, leads: tuple[str, ...] = MEASURED_LEADS
) -> RecordEntry:
    rng = np.random.default_rng(seed)
    counts = rng.integers(-500, 500, (round(seconds * 200), len(leads)), dtype=np.int32)
    path = write_recording(Recording(name, 200, leads, counts, 1_000_000), folder)
    return RecordEntry(path, "made", name, None, None, frozenset())


@pytest.fixture
def entries(tmp_path: Path) -> list[RecordEntry]:
    return [write(tmp_path, f"r{k}", seconds, k) for k, seconds in enumerate((10, 6, 23))]


def test_signals_are_what_the_front_end_computes(entries: list[RecordEntry], tmp_path: Path) -> None:
    store = open_store(entries, CONTRACT, tmp_path / "cache")
    assert store.entries == tuple(entries)
    for k, entry in enumerate(entries):
        expected = condition(read_recording(entry.path), CONTRACT).signal.T
        assert store.samples(k) == expected.shape[1]
        np.testing.assert_array_equal(store.signal(k), expected)
        np.testing.assert_array_equal(store.frames(k), Stft(CONTRACT).frames(expected))


def test_signals_are_mapped_and_read_only(entries: list[RecordEntry], tmp_path: Path) -> None:
    store = open_store(entries, CONTRACT, tmp_path / "cache")
    assert isinstance(store.signals.base, np.memmap)
    assert isinstance(store.spectra.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.signal(0)[0, 0] = 1


def test_last_window_has_its_zeros_on_the_left(entries: list[RecordEntry], tmp_path: Path) -> None:
    store = open_store(entries, CONTRACT, tmp_path / "cache")
    short = store.last_window(1, CONTRACT.window)
    assert not short[:, :400].any()
    np.testing.assert_array_equal(short[:, 400:], store.signal(1))
    np.testing.assert_array_equal(store.last_window(2, CONTRACT.window), store.signal(2)[:, -1000:])


def test_broken_and_short_records_are_listed_with_reasons(entries: list[RecordEntry], tmp_path: Path) -> None:
    short = write(tmp_path, "short", 4)
    gone = replace(entries[0], path=tmp_path / "gone")
    cut = write(tmp_path, "cut", 10)
    os.truncate(cut.path.with_suffix(".dat"), 1000)
    store = open_store([*entries, short, gone, cut], CONTRACT, tmp_path / "cache")
    assert store.entries == tuple(entries)
    reasons = {item.path.name: item.reason for item in store.broken}
    assert set(reasons) == {"short", "gone", "cut"}
    assert reasons["short"] == "shorter than 5 s"
    assert store.broken_by_reason()["shorter than 5 s"] == 1


def test_it_is_made_once_and_again_for_another_contract_or_list(entries: list[RecordEntry], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = open_store(entries, CONTRACT, cache)
    made = (first.folder / SIGNALS).stat().st_mtime_ns
    again = open_store(entries, CONTRACT, cache)
    assert (again.folder / SIGNALS).stat().st_mtime_ns == made
    assert open_store(entries[:2], CONTRACT, cache).folder != first.folder
    assert open_store(entries, replace(CONTRACT, window_seconds=8), cache).folder != first.folder


def test_one_store_serves_every_way_to_write_a_path(
    entries: list[RecordEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_store(entries, CONTRACT, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    relative = [replace(entry, path=entry.path.relative_to(tmp_path)) for entry in entries]
    again = open_store(relative, CONTRACT, tmp_path / "cache")
    assert again.folder == first.folder
    assert again.entries == tuple(relative)


def test_labels_are_the_index_not_the_store(entries: list[RecordEntry], tmp_path: Path) -> None:
    open_store(entries, CONTRACT, tmp_path / "cache")
    mended = [replace(entry, codes=frozenset({"164889003"})) for entry in entries]
    assert all(entry.codes for entry in open_store(mended, CONTRACT, tmp_path / "cache").entries)


def test_an_interrupted_store_is_not_taken_for_a_whole_one(entries: list[RecordEntry], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    store = open_store(entries, CONTRACT, cache)
    for name in ("records.json", SIGNALS, FRAMES):
        (store.folder / name).unlink()
        assert len(open_store(entries, CONTRACT, cache).entries) == 3


def test_no_usable_record_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="shorter than 5 s"):
        open_store([write(tmp_path, "short", 2)], CONTRACT, tmp_path / "cache")


def test_missing_leads_are_zero(tmp_path: Path) -> None:
    store = open_store([write(tmp_path, "holter", 10, leads=("II", "V5"))], CONTRACT, tmp_path / "cache")
    present = store.signal(0).any(axis=1)
    assert np.flatnonzero(present).tolist() == [1, 10]


def test_real_records_of_every_source(data_dir: Path, tmp_path: Path) -> None:
    index = build_index(data_dir)
    chosen = [next(e for e in index.entries if e.source == source) for source in index.by_source()]
    store = open_store(chosen, CONTRACT, tmp_path)
    assert len(store.entries) == len(chosen)
    for k in range(len(chosen)):
        spread = store.signal(k).std(axis=1)
        assert 20 < np.median(spread) < 1000, "microvolts"
