"""Every figure of the Challenge 2020 as its published evaluator defines it, on cases worked by hand.

The definitions (evaluation-2020, the last version): AUROC is the area under straight lines between the points
(sensitivity, specificity) at each distinct score, AUPRC the sum of steps of recall times the precision reached; F1,
F2 and G2 come from counts, the last two with each record divided by its number of labels (at least 1); each macro
figure is the mean over the classes in which it is defined. A record contributes nothing to the Challenge metric
without a scored label.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_edge.train import labels, metrics
from ecg_edge.train.challenge_metric import challenge_metric
from ecg_edge.train.evaluation import evaluate

# Two diagnoses and sinus rhythm, the last.
W = np.array([[1.0, 0.4, 0.3], [0.4, 1.0, 0.5], [0.3, 0.5, 1.0]])


def score(truth: list[list[int]], outputs: list[list[int]]) -> float:
    return float(challenge_metric(W, np.array(truth, bool), np.array(outputs, bool), normal=2))


# Labels {0}, {1, 2}, {2}. Perfect: 1, then (1 + .5 + .5 + 1) / 2 = 1.5, then 1: 3.5.
# Always sinus rhythm: .3 / 2 = .15, (.5 + 1) / 2 = .75, 1: 1.9. The scale is 3.5 - 1.9 = 1.6.
TRUTH = [[1, 0, 0], [0, 1, 1], [0, 0, 1]]


def test_challenge_metric_of_no_outputs_is_what_doing_less_than_nothing_costs() -> None:
    # Observed 0: (0 - 1.9) / 1.6.
    assert score(TRUTH, [[0, 0, 0]] * 3) == pytest.approx(-1.9 / 1.6)


def test_challenge_metric_of_all_outputs() -> None:
    # Three named classes a record: 1 + .4 + .3, (.4 + 1 + .5) + (.3 + .5 + 1), .3 + .5 + 1, a third of each: 7.2 / 3.
    assert score(TRUTH, [[1, 1, 1]] * 3) == pytest.approx((7.2 / 3 - 1.9) / 1.6)


def test_challenge_metric_of_two_labels_half_found() -> None:
    # Record 2 with {1} alone: labels or outputs {1, 2}: (1 + .5) / 2 = .75. The others perfect: 1 + .75 + 1.
    assert score(TRUTH, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]) == pytest.approx((2.75 - 1.9) / 1.6)


def test_records_without_a_scored_label_stay_in_and_weigh_nothing() -> None:
    # No label or only unscored ones: a row of zeros in both cases, and A gains nothing from it.
    outputs = [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert score([*TRUTH, [0, 0, 0]], [*outputs, [1, 1, 0]]) == pytest.approx(score(TRUTH, outputs))
    assert (labels.multi_hot([[], ["164884008"], ["55827005", "164931005"]]) == 0).all()
    # But they are negatives of every class: in F1 of class 0, TP 1, FP 1, FN 0 becomes FP 2.
    without = metrics.count(np.array(TRUTH, bool), np.array(outputs, bool) | [[0, 0, 0], [1, 0, 0], [0, 0, 0]])
    assert without.f_beta()[0] == pytest.approx(2 / 3)
    more = np.array([*TRUTH, [0, 0, 0]], bool)
    outs = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 1, 0]], bool)
    assert metrics.count(more, outs).f_beta()[0] == pytest.approx(2 / 4)


def test_all_records_without_labels() -> None:
    assert math.isnan(score([[0, 0, 0]] * 2, [[1, 0, 0], [0, 0, 0]]))


def test_tied_scores_make_a_slope() -> None:
    # Scores .8 (+), .5 (+, -), .2 (-). Points (sensitivity, specificity): (0, 1), (1/2, 1), (1, 1/2), (1, 0).
    # Area: 1/2 * 1 + 1/2 * 3/4 = 7/8. AUPRC: 1/2 * 1 + 1/2 * 2/3 = 5/6.
    truth = np.array([[1], [1], [0], [0]], bool)
    scores = np.array([[0.8], [0.5], [0.5], [0.2]])
    assert metrics.auroc(truth, scores) == pytest.approx([7 / 8])
    assert metrics.average_precision(truth, scores) == pytest.approx([5 / 6])


def test_one_score_for_all_records() -> None:
    # One step from (0, 1) to (1, 0): area 1/2; precision is the prevalence.
    truth, scores = np.array([[1], [0], [0], [0]], bool), np.full((4, 1), 0.3)
    assert metrics.auroc(truth, scores) == pytest.approx([0.5])
    assert metrics.average_precision(truth, scores) == pytest.approx([0.25])


def test_classes_absent_or_in_every_record() -> None:
    # Absent: sensitivity is not defined, so neither area is. Everywhere: specificity is not, but precision is 1.
    truth, scores = np.array([[0, 1], [0, 1]], bool), np.array([[0.1, 0.1], [0.9, 0.9]])
    assert np.isnan(metrics.auroc(truth, scores)).all()
    assert np.isnan(metrics.average_precision(truth, scores)[0])
    assert metrics.average_precision(truth, scores)[1] == 1


def test_f2_and_g2_by_hand() -> None:
    # Records: labels {0, 1} decided {0} (halves); {0} decided {0, 1} (wholes); {} decided {1} (wholes); {1} decided {}.
    # Class 0: TP 1/2 + 1, no FP, no FN: F2 1, G2 1.
    # Class 1: TP 0, FP 1 + 1, FN 1/2 + 1: F2 0, G2 0. Class 2: neither present nor decided, out of the mean.
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]], bool)
    outputs = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
    report = evaluate(labels.CLASSES[:3], truth, outputs, outputs.astype(float), "abcd", resamples=20)
    assert report.f2[:2].tolist() == [1, 0]
    assert report.g2[:2].tolist() == [1, 0]
    assert np.isnan([report.f2[2], report.g2[2]]).all()
    assert (report.macro_f2.value, report.macro_g2.value) == (0.5, 0.5)
    # Decide class 1 in record 1 as well: TP 1/2, FP 2, FN 1: F2 5/2 / (5/2 + 2 + 4), G2 1/2 / (1/2 + 2 + 2).
    outputs[0, 1] = True
    report = evaluate(labels.CLASSES[:3], truth, outputs, outputs.astype(float), "abcd", resamples=20)
    assert report.f2[1] == pytest.approx(2.5 / 8.5)
    assert report.g2[1] == pytest.approx(0.5 / 4.5)


def areas(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The evaluator's two areas of one class, threshold by threshold."""
    p, n = int(truth.sum()), int((~truth).sum())
    if not p:
        return math.nan, math.nan
    before, auroc, auprc = (0.0, 1.0), 0.0, 0.0
    for cut in sorted(set(scores.tolist()), reverse=True):
        found = scores >= cut
        tp, fp = int((found & truth).sum()), int((found & ~truth).sum())
        now = (tp / p, (n - fp) / n if n else math.nan)
        auroc += (now[0] - before[0]) * (now[1] + before[1]) / 2
        auprc += (now[0] - before[0]) * tp / (tp + fp)
        before = now
    return auroc, auprc


@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 5))
def test_all_figures_against_the_definitions_spelled_out(seed: int, records: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((records, 24)) < rng.random(24) * 0.6
    scores = rng.integers(0, levels + 1, truth.shape) / levels
    outputs = scores > 0.5
    report = evaluate(labels.CLASSES, truth, outputs, scores, range(records), min_positives=1, resamples=5)

    both = np.array([areas(truth[:, k], scores[:, k]) for k in range(24)])
    assert [f.value for f in report.auroc] == pytest.approx(both[:, 0], nan_ok=True)
    assert report.auprc == pytest.approx(both[:, 1], nan_ok=True)
    if not np.isnan(both[:, 0]).all():
        assert report.macro_auroc.value == pytest.approx(np.nanmean(both[:, 0]))

    f1, f2, g2 = [], [], []
    for k in range(24):
        n, shared = np.zeros((2, 2)), np.zeros((2, 2))
        for i in range(records):
            cell = int(truth[i, k]), int(outputs[i, k])
            n[cell] += 1
            shared[cell] += 1 / max(int(truth[i].sum()), 1)
        if n[1, 1] + n[0, 1] + n[1, 0]:
            f1.append(2 * n[1, 1] / (2 * n[1, 1] + n[0, 1] + n[1, 0]))
            f2.append(5 * shared[1, 1] / (5 * shared[1, 1] + shared[0, 1] + 4 * shared[1, 0]))
            g2.append(shared[1, 1] / (shared[1, 1] + shared[0, 1] + 2 * shared[1, 0]))
    assert report.macro_f2.value == pytest.approx(np.mean(f2) if f2 else math.nan, nan_ok=True)
    assert report.macro_g2.value == pytest.approx(np.mean(g2) if g2 else math.nan, nan_ok=True)
    assert [v for v in report.f1 if not math.isnan(v)] == pytest.approx(f1)
