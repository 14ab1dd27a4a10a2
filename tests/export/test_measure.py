"""What one network loses against another, over the same patients."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from ecg_edge.export.measure import Measured
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.stft import spectrogram
from ecg_edge.train.records.entry import RecordEntry
from ecg_edge.train.windows import Windows

POSITIVES = 5


@pytest.fixture(scope="module")
def records() -> Measured:
    """Ten records of ten patients; the first five have the first class, one has the second and nobody the third."""
    labels = np.zeros((10, 3), dtype=np.bool_)
    labels[:POSITIVES, 0] = labels[0, 1] = True
    entries = tuple(RecordEntry(Path(f"r{k}"), "made", f"p{k}", None, 8, frozenset()) for k in range(10))
    signal = np.zeros((10, 12, Contract().window), dtype=np.int16)
    return Measured(entries, Windows(signal, spectrogram(signal, Contract())), labels, "fold 8")


def logits(*first: float) -> np.ndarray:
    """Return logits of three classes, of which the first alone has enough positives to count."""
    return np.stack([np.array(first), -np.array(first), np.zeros(10)], axis=1).astype(np.float32)


PERFECT = logits(9, 8, 7, 6, 5, 4, 3, 2, 1, 0)


def test_the_loss_is_counted_by_hand(records: Measured) -> None:
    """Of the 25 pairs of a positive with a negative, 2.5 is below 4 and 3, and 3.5 below 4: 22 are in order."""
    worse = logits(9, 8, 7, 2.5, 3.5, 4, 3, 2, 1, 0)
    in_order = sum(a > b for a in worse[:5, 0] for b in worse[5:, 0])
    assert in_order == 22
    found = records.drop("int8", worse, "float", PERFECT)
    assert found is not None
    assert found.value == pytest.approx(1 - in_order / 25)
    assert found.metric == "macro_auroc lost (int8 against float)"
    assert (found.data, found.split) == ("made", "fold 8, 10 records")
    assert 0 <= found.low < found.value < found.high < 0.5
    gained = records.drop("float", PERFECT, "int8", worse)
    assert (gained.value, gained.low, gained.high) == (-found.value, -found.high, -found.low)


def test_nothing_is_lost_against_oneself_nor_by_a_change_of_scale(records: Measured) -> None:
    for same in (PERFECT, 2 * PERFECT + 1):
        found = records.drop("int8", same, "float", PERFECT)
        assert (found.value, found.low, found.high) == (0, 0, 0)


def test_without_a_class_of_enough_positives_there_is_no_figure(records: Measured) -> None:
    few = Measured(records.entries[1:], records.windows, records.labels[1:], "fold 8")
    assert few.drop("int8", PERFECT[1:], "float", PERFECT[1:]) is None
