"""Augmented batches: exactly the front end's numbers, missing leads zero in both inputs, labels mixed as signals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.stft import Stft
from ecg_edge.train.augment import LEAD_SETS, Augmenter, AugmentSettings, Batch
from ecg_edge.train.loader import epoch_batches
from ecg_edge.train.records.entry import RecordEntry
from ecg_edge.train.settings import read_settings
from ecg_edge.train.store import RecordStore

CONTRACT = Contract()
RECORDS = 12
EVERYTHING = replace(
    read_settings("edge").augment,
    crop_probability=0.7,
    mixup_probability=0.6,
    noise_probability=0.7,
    wander_probability=0.7,
    timeout_probability=0.5,
    lead_set_probability=0.4,
    lead_drop_probability=0.5,
)
NOTHING = AugmentSettings(
    **{name: 0.0 for name in EVERYTHING.__dataclass_fields__} | {"shortest_seconds": 5.0, "mixup_alpha": 1.0}
)


@pytest.fixture(scope="module")
def store() -> RecordStore:
    """Records of 7 to 18 s; the last one has leads I and II only."""
    rng = np.random.default_rng(0)
    signals = [rng.integers(-900, 900, (12, 700 + 100 * k)).astype(np.int16) for k in range(RECORDS)]
    signals[-1][2:] = 0
    entries = tuple(RecordEntry(Path(f"r{k}"), "made", f"p{k}", None, None, frozenset()) for k in range(RECORDS))
    offsets = np.cumsum([0, *(s.size for s in signals)])
    flat = np.concatenate([s.ravel() for s in signals])
    flat.setflags(write=False)
    return RecordStore(entries, (), Path(), flat, offsets, 12)


def augmenter(store: RecordStore, settings: AugmentSettings) -> Augmenter:
    labels = np.eye(RECORDS, 24, dtype=np.bool_)
    return Augmenter(settings, CONTRACT, store, labels, np.ones_like(labels))


def batches(store: RecordStore, settings: AugmentSettings, count: int = 8) -> list[Batch]:
    made = augmenter(store, settings)
    return [made.batch(np.arange(RECORDS), np.random.default_rng(seed)) for seed in range(count)]


def test_spectrogram_is_the_front_ends_of_the_augmented_signal(store: RecordStore) -> None:
    for batch in batches(store, EVERYTHING):
        assert batch.signal.dtype == np.int16
        assert batch.signal.shape == (RECORDS, 12, CONTRACT.window)
        np.testing.assert_array_equal(batch.spectrogram, Stft(CONTRACT).frames(batch.signal))


def test_dropped_leads_are_zero_in_both_inputs(store: RecordStore) -> None:
    dropped = 0
    for batch in batches(store, EVERYTHING):
        silent = ~batch.signal.any(axis=2)
        dropped += int(silent.sum())
        assert not batch.spectrogram[silent].any()
        assert batch.spectrogram[~silent].any(axis=(1, 2)).all()
        assert (~silent).any(axis=1).all(), "no window is left without a lead"
    assert dropped > 50


def test_a_lead_that_the_record_has_not_stays_zero_under_noise(store: RecordStore) -> None:
    settings = replace(NOTHING, noise_probability=1.0, noise_microvolts=50.0, wander_probability=1.0)
    for batch in batches(store, settings):
        assert not batch.signal[-1, 2:].any()
        assert batch.signal[-1, :2].any()


def test_reduced_sets_are_those_that_boards_have(store: RecordStore) -> None:
    seen = set()
    for batch in batches(store, replace(NOTHING, lead_set_probability=1.0)):
        for row in batch.signal[:-1]:
            seen.add(tuple(lead for lead, there in zip(LEADS, row.any(axis=1), strict=True) if there))
    assert seen == set(LEAD_SETS)


def test_without_augmentation_a_window_is_a_piece_of_its_record(store: RecordStore) -> None:
    batch = batches(store, NOTHING, 1)[0]
    for k in range(RECORDS):
        signal, length = store.signal(k), min(store.samples(k), CONTRACT.window)
        window = batch.signal[k]
        assert not window[:, : CONTRACT.window - length].any()
        piece = window[:, CONTRACT.window - length :]
        starts = range(signal.shape[1] - length + 1)
        assert any(np.array_equal(piece, signal[:, s : s + length]) for s in starts)
    np.testing.assert_array_equal(batch.targets, np.eye(RECORDS, 24))


def test_short_pieces_have_zeros_on_the_left_even_under_noise(store: RecordStore) -> None:
    settings = replace(NOTHING, crop_probability=1.0, noise_probability=1.0, noise_microvolts=30.0)
    shortest = CONTRACT.window
    for batch in batches(store, settings):
        heard = batch.signal.any(axis=1)
        first = heard.argmax(axis=1)
        for row, start in zip(heard, first, strict=True):
            assert row[start:].mean() > 0.99
        shortest = min(shortest, CONTRACT.window - int(first.max()))
    assert 500 <= shortest < 600


def test_mixed_labels_follow_the_signals(store: RecordStore) -> None:
    def constant(value: int) -> npt.NDArray[np.int16]:
        return np.full((12, CONTRACT.window), value, dtype=np.int16)

    flat = np.concatenate([constant(100 * k).ravel() for k in range(1, RECORDS + 1)])
    offsets = np.arange(RECORDS + 1) * 12 * CONTRACT.window
    levels = RecordStore(store.entries, (), Path(), flat, offsets, 12)
    for batch in batches(levels, replace(NOTHING, mixup_probability=1.0)):
        np.testing.assert_allclose(batch.targets.sum(axis=1), 1, rtol=1e-5)
        expected = batch.targets[:, :RECORDS] @ (100.0 * np.arange(1, RECORDS + 1))
        np.testing.assert_allclose(batch.signal[:, 0, 500], expected, atol=0.51)


def test_a_class_counts_in_a_mixed_window_where_it_counts_in_both(store: RecordStore) -> None:
    labels = np.zeros((RECORDS, 24), dtype=np.bool_)
    counted = np.arange(RECORDS)[:, np.newaxis] % 2 == np.zeros((1, 24))
    made = Augmenter(replace(NOTHING, mixup_probability=1.0), CONTRACT, store, labels, counted)
    batch = made.batch(np.arange(RECORDS), np.random.default_rng(3))
    assert not batch.counted[1::2].any()
    assert set(np.unique(batch.counted)) <= {0.0, 1.0}


def test_same_seed_same_batches_whatever_came_before(store: RecordStore) -> None:
    made = augmenter(store, EVERYTHING)
    list(epoch_batches(made, RECORDS, 5, seed=1, epoch=0))
    after = list(epoch_batches(made, RECORDS, 5, seed=1, epoch=1))
    fresh = list(epoch_batches(augmenter(store, EVERYTHING), RECORDS, 5, seed=1, epoch=1))
    other = list(epoch_batches(made, RECORDS, 5, seed=2, epoch=1))
    assert [len(b.signal) for b in fresh] == [4, 4, 4]
    assert all(np.array_equal(a.signal, b.signal) for a, b in zip(after, fresh, strict=True))
    assert not all(np.array_equal(a.signal, b.signal) for a, b in zip(after, other, strict=True))


def test_an_epoch_holds_each_record_once(store: RecordStore) -> None:
    made = augmenter(store, NOTHING)
    targets = np.concatenate([b.targets for b in epoch_batches(made, RECORDS, 5, seed=0, epoch=0)])
    np.testing.assert_array_equal(targets.sum(axis=0)[:RECORDS], 1)


def test_extremes_saturate_instead_of_wrapping() -> None:
    flat = np.full(12 * CONTRACT.window, 32000, dtype=np.int16)
    entries = (RecordEntry(Path("r"), "made", "p", None, None, frozenset()),)
    loud = RecordStore(entries, (), Path(), flat, np.array([0, flat.size]), 12)
    labels = np.zeros((1, 24), dtype=np.bool_)
    made = Augmenter(replace(NOTHING, gain_sigma=0.5), CONTRACT, loud, labels, ~labels)
    levels = [made.batch(np.zeros(1, dtype=np.int64), np.random.default_rng(k)).signal.max() for k in range(8)]
    assert max(levels) == 32767
    assert min(levels) > 0
