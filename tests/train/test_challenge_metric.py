"""The Challenge 2020 metric: worked by hand, and against a version that follows its description literally."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_edge.train import bootstrap, challenge_metric, labels
from ecg_edge.train.challenge_metric import WeightsError, read_weights

# Three classes, the last of them sinus rhythm.
W = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.3], [0.2, 0.4, 1.0]])
NORMAL = 2


def score(truth: list[list[int]], outputs: list[list[int]]) -> float:
    return float(challenge_metric.challenge_metric(W, np.array(truth, bool), np.array(outputs, bool), normal=NORMAL))


def literal_metric(weights: np.ndarray, truth: np.ndarray, outputs: np.ndarray, normal: int) -> float:
    """The description, one record and one pair at a time."""

    def total(decisions: np.ndarray) -> float:
        classes = len(weights)
        a = [[0.0] * classes for _ in range(classes)]
        for i in range(len(truth)):
            present = {j for j in range(classes) if truth[i, j]}
            decided = {k for k in range(classes) if decisions[i, k]}
            for j in present:
                for k in decided:
                    a[j][k] += 1 / max(len(present | decided), 1)
        return math.fsum(weights[j, k] * a[j][k] for j in range(classes) for k in range(classes))

    always_normal = np.zeros_like(truth)
    always_normal[:, normal] = True
    inactive, correct = total(always_normal), total(truth)
    return (total(outputs) - inactive) / (correct - inactive) if correct != inactive else math.nan


def test_perfect_is_one_and_always_normal_is_zero() -> None:
    truth = [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert score(truth, truth) == pytest.approx(1.0)
    assert score(truth, [[0, 0, 1]] * 3) == pytest.approx(0.0)


def test_by_hand() -> None:
    # Record 1: label 0, decisions 0 and 1: (1 + .5) / 2 = .75. Record 2: label 1, decision 0: .5 / 2 = .25.
    # Correct: 1 + 1. Always normal: .2 / 2 + .3 / 2 = .25. (1 - .25) / (2 - .25).
    assert score([[1, 0, 0], [0, 1, 0]], [[1, 1, 0], [1, 0, 0]]) == pytest.approx(0.75 / 1.75)


def test_rows_are_labels_and_columns_decisions() -> None:
    # Label normal, decision 1: W[2, 1] = .4 over two classes; the transposed matrix would give .3.
    truth = np.array([[0, 0, 1]], bool)
    assert challenge_metric.record_scores(W, truth, np.array([[0, 1, 0]], bool)) == pytest.approx([0.2])


def test_doing_harm_is_negative() -> None:
    assert score([[0, 0, 1], [1, 0, 0]], [[1, 1, 0], [0, 0, 0]]) < 0


def test_records_without_labels_change_nothing() -> None:
    # They earn nothing whatever is decided, also in the two sums that the metric is scaled by.
    truth, outputs = [[1, 0, 0], [0, 1, 0]], [[1, 1, 0], [1, 0, 0]]
    want = score(truth, outputs)
    assert score([*truth, [0, 0, 0]], [*outputs, [1, 1, 1]]) == pytest.approx(want)
    assert score([*truth, [0, 0, 0]], [*outputs, [0, 0, 0]]) == pytest.approx(want)


def test_undefined_where_sinus_rhythm_is_always_right() -> None:
    assert math.isnan(score([[0, 0, 1]], [[1, 0, 0]]))
    assert math.isnan(score([[0, 0, 0]], [[0, 0, 0]]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.05, 0.8))
def test_equals_the_literal_version(seed: int, records: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.random((5, 5))
    truth, outputs = rng.random((2, records, 5)) < density
    got = float(challenge_metric.challenge_metric(weights, truth, outputs, normal=3))
    assert got == pytest.approx(literal_metric(weights, truth, outputs, 3), nan_ok=True, rel=1e-6, abs=1e-6)


def test_resampled_metric_is_the_metric_of_the_copies() -> None:
    rng = np.random.default_rng(5)
    truth, outputs = rng.random((2, 40, 3)) < 0.4
    drawn = bootstrap.resample(range(40), 20, seed=1)
    got = challenge_metric.challenge_metric(W, truth, outputs, drawn, normal=NORMAL)
    for value, times in zip(got, drawn.astype(int), strict=True):
        want = literal_metric(W, truth.repeat(times, axis=0), outputs.repeat(times, axis=0), NORMAL)
        assert value == pytest.approx(want)


def weights_file(path: Path, change: dict[tuple[str, str], float] | None = None, drop: str = "") -> Path:
    names = [c for info in labels.CLASSES for c in (info.code, *info.equivalents) if c != drop]
    merged = {name: min(labels.scored([name])) for name in names}
    lines = ["," + ",".join(names)]
    for a in names:
        row = [
            (change or {}).get((a, b), 1.0 if merged[a] == merged[b] else 0.25 + labels.CODES.index(merged[a]) / 100)
            for b in names
        ]
        lines.append(f"{a}," + ",".join(map(str, row)))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_weights_of_equivalents_merge_into_class_order(tmp_path: Path) -> None:
    weights = read_weights(weights_file(tmp_path / "weights.csv"))
    assert weights.shape == (24, 24)
    assert (np.diag(weights) == 1).all()
    assert weights[:, 0][1:] == pytest.approx([0.25 + k / 100 for k in range(1, 24)])


def test_a_wrong_matrix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.csv"
    with pytest.raises(WeightsError, match="no reward matrix"):
        read_weights(path)
    with pytest.raises(WeightsError, match="no weights for AFL"):
        read_weights(weights_file(path, drop="164890007"))
    with pytest.raises(WeightsError, match="equivalent codes of CRBBB"):
        read_weights(weights_file(path, {("59118001", "270492004"): 0.9}))
    path.write_text(",270492004\n164889003,1.0\n")
    with pytest.raises(WeightsError, match="rows and columns differ"):
        read_weights(path)


def test_published_matrix(data_dir: Path) -> None:
    weights = read_weights(data_dir / "scoring" / "weights.csv")
    at = labels.ABBREVIATIONS.index
    assert weights.shape == (24, 24)
    assert (np.diag(weights) == 1).all()
    assert weights[at("IAVB"), at("AF")] == 0.3
    assert weights[at("NSR"), at("QAb")] == 0.15
    # AF called sinus rhythm, and the reverse: .25 / 2 each. Correct: 1 + 1. Always normal: .25 / 2 + 1.
    truth = np.zeros((2, 24), bool)
    truth[0, at("AF")] = truth[1, at("NSR")] = True
    got = float(challenge_metric.challenge_metric(weights, truth, truth[::-1]))
    assert got == pytest.approx((0.25 - 1.125) / (2 - 1.125))
    assert got == pytest.approx(literal_metric(weights, truth, truth[::-1], challenge_metric.NORMAL))
