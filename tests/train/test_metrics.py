"""Metrics against definitions spelled out record by record, scipy, and figures worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from ecg_edge.train import bootstrap, metrics

# A few distinct scores, so that ties are the rule.
COLUMN = st.integers(1, 40).flatmap(
    lambda n: st.tuples(hnp.arrays(np.bool_, (n, 1)), hnp.arrays(np.int64, (n, 1), elements=st.integers(0, 6)))
)


def pairwise_auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    won = [float(p > n) + 0.5 * float(p == n) for p in scores[labels] for n in scores[~labels]]
    return sum(won) / len(won) if won else math.nan


def stepwise_average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    if not labels.any():
        return math.nan
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        reached = (labels & found).sum() / labels.sum()
        total += (reached - recall) * (labels & found).sum() / found.sum()
        recall = reached
    return total


@given(COLUMN)
def test_auroc_counts_pairs(column: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = column
    got = metrics.auroc(labels, scores / 7)
    assert got == pytest.approx([pairwise_auroc(labels[:, 0], scores[:, 0])], nan_ok=True)


@given(COLUMN)
def test_average_precision_sums_steps(column: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = column
    got = metrics.average_precision(labels, scores)
    assert got == pytest.approx([stepwise_average_precision(labels[:, 0], scores[:, 0])], nan_ok=True)


def test_auroc_is_the_mann_whitney_statistic() -> None:
    rng = np.random.default_rng(3)
    labels = rng.random((500, 3)) < [0.5, 0.1, 0.02]
    scores = np.round(rng.normal(size=(500, 3)) + labels, 1)
    for k, got in enumerate(metrics.auroc(labels, scores)):
        positive, negative = scores[labels[:, k], k], scores[~labels[:, k], k]
        u = stats.mannwhitneyu(positive, negative).statistic
        assert got == pytest.approx(u / len(positive) / len(negative))


def test_average_precision_by_hand() -> None:
    # Descending: + (recall 1/2, precision 1), -, + (recall 1, precision 2/3): 1/2 + 1/2 * 2/3 = 5/6.
    labels = np.array([[0], [0], [1], [1]], dtype=bool)
    scores = np.array([[0.1], [0.4], [0.35], [0.8]])
    assert metrics.average_precision(labels, scores) == pytest.approx([5 / 6])
    # All tied: one step, to recall 1 at the prevalence.
    assert metrics.average_precision(labels, np.zeros((4, 1))) == pytest.approx([0.5])


@given(COLUMN, st.integers(0, 2**32 - 1))
def test_weights_count_as_copies_of_records(column: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    labels, scores = column
    copies = np.random.default_rng(seed).integers(0, 4, (3, len(labels)))
    for function in (metrics.auroc, metrics.average_precision):
        got = function(labels, scores, copies.astype(float))
        assert got.shape == (3, 1)
        for row, times in zip(got, copies, strict=True):
            want = function(labels.repeat(times, axis=0), scores.repeat(times, axis=0))
            assert row == pytest.approx(want, nan_ok=True)


def test_resamples_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    labels, scores = rng.random((50, 2)) < 0.3, rng.random((50, 2))
    drawn = bootstrap.resample(range(50), 30)
    want = metrics.auroc(labels, scores, drawn)
    monkeypatch.setattr(metrics, "_BLOCK", 50 * 7 + 3)
    assert (metrics.auroc(labels, scores, drawn) == want).all()


def test_a_class_without_both_outcomes_is_nan() -> None:
    labels = np.array([[True, False], [True, False]])
    assert np.isnan(metrics.auroc(labels, np.array([[0.1, 0.2], [0.3, 0.4]]))).all()
    assert np.isnan(metrics.average_precision(labels, np.zeros((2, 2)))).tolist() == [False, True]


def test_nan_scores_and_wrong_shapes_are_refused() -> None:
    labels = np.zeros((2, 1), dtype=bool)
    with pytest.raises(ValueError, match="NaN"):
        metrics.auroc(labels, np.array([[0.1], [math.nan]]))
    with pytest.raises(ValueError, match="records, classes"):
        metrics.auroc(labels, np.zeros((3, 1)))
    with pytest.raises(ValueError, match="records, classes"):
        metrics.count(labels, np.zeros((2, 2), dtype=bool))


def test_macro_leaves_out_rare_and_undefined_classes() -> None:
    values = np.array([0.9, 0.5, math.nan, 0.1])
    positives = np.array([10, 5, 10, 4])
    assert metrics.macro(values, positives, at_least=5) == pytest.approx(0.7)
    assert metrics.macro(values, positives) == pytest.approx(0.5)
    assert np.isnan(metrics.macro(values, positives, at_least=11))
    assert metrics.macro(np.array([0.5, 0.9]), np.array([1, 0]), at_least=0) == 0.5


def test_f_and_g_by_hand() -> None:
    # TP 2, FP 1, FN 3, TN 1: F1 = 4/8, F2 = 10/(10+1+12), G2 = 2/(2+1+6).
    labels = np.array([[1], [1], [1], [1], [1], [0], [0]], dtype=bool)
    outputs = np.array([[1], [1], [0], [0], [0], [1], [0]], dtype=bool)
    counts = metrics.count(labels, outputs)
    assert counts.f_beta() == pytest.approx([0.5])
    assert counts.f_beta(2) == pytest.approx([10 / 23])
    assert counts.g_beta(2) == pytest.approx([2 / 9])
    assert counts.sensitivity == pytest.approx([2 / 5])
    assert counts.ppv == pytest.approx([2 / 3])
    assert counts.specificity == pytest.approx([1 / 2])
    neither = metrics.count(np.zeros((3, 1), bool), np.zeros((3, 1), bool))
    assert np.isnan([neither.f_beta()[0], neither.g_beta()[0], neither.ppv[0], neither.sensitivity[0]]).all()


def test_records_share_their_weight_among_labels() -> None:
    # The first record has two labels and gives halves; the second has none and gives wholes.
    counts = metrics.count(np.array([[1, 1], [0, 0]], bool), np.array([[1, 0], [1, 0]], bool), share_records=True)
    assert counts.tp.tolist() == [0.5, 0.0]
    assert counts.fp.tolist() == [1.0, 0.0]
    assert counts.fn.tolist() == [0.0, 0.5]
    assert counts.tn.tolist() == [0.0, 1.0]


def test_calibration_error_by_hand() -> None:
    # Bin 0: mean 0.05, no positives of 2, gap 0.05; bin 9: mean 0.95, half positive, gap 0.45. Half each: 0.25.
    p = np.array([[0.05], [0.05], [0.9], [1.0]])
    labels = np.array([[0], [0], [1], [0]], dtype=bool)
    assert metrics.calibration_error(labels, p) == pytest.approx([0.25])
    rng = np.random.default_rng(0)
    p = rng.random((20000, 2))
    assert (metrics.calibration_error(rng.random(p.shape) < p, p) < 0.02).all()
    with pytest.raises(ValueError, match="outside"):
        metrics.calibration_error(labels, np.full((4, 1), 1.1))


def test_resampling_draws_patients_whole_and_repeats_with_its_seed() -> None:
    groups = ["a", "b", "a", "c"]
    drawn = bootstrap.resample(groups, 500, seed=4)
    assert drawn.shape == (500, 4)
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert (drawn == bootstrap.resample(groups, 500, seed=4)).all()
    assert (drawn != bootstrap.resample(groups, 500, seed=5)).any()
    with pytest.raises(ValueError, match="no records"):
        bootstrap.resample([])


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for trial in range(200):
        x = rng.normal(size=60)
        drawn = bootstrap.resample(range(60), 400, seed=trial)
        low, high = bootstrap.interval(drawn @ x / 60)
        covered += bool(low <= 0 <= high)
    assert 0.88 <= covered / 200 <= 0.99  # 0.93 to be expected of 60 records; +-0.04 is two standard errors


def test_interval_leaves_out_undefined_resamples() -> None:
    values = np.array([[math.nan, math.nan], [1.0, math.nan], [3.0, math.nan]])
    low, high = bootstrap.interval(values, level=1.0)
    assert (low[0], high[0]) == (1.0, 3.0)
    assert np.isnan([low[1], high[1]]).all()
