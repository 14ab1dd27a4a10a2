"""Thresholds: the best cut found exactly, held back where positives are few."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_edge.train import thresholds
from ecg_edge.train.challenge_metric import challenge_metric
from ecg_edge.train.metrics import count
from ecg_edge.train.predictions import PredictionsError


def sample(seed: int, records: int = 300, prevalence: tuple[float, ...] = (0.5, 0.2, 0.1)) -> tuple:
    rng = np.random.default_rng(seed)
    labels = rng.random((records, len(prevalence))) < prevalence
    logits = rng.normal(size=labels.shape) + 2.5 * labels - 2
    return labels, np.round(1 / (1 + np.exp(-logits)), 3)


def f1(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return count(labels, outputs).f_beta()


@given(st.integers(0, 2**32 - 1))
def test_no_other_cut_has_a_better_f1(seed: int) -> None:
    labels, p = sample(seed, records=60)
    got = thresholds.fit_f1(labels, p)
    for k in np.flatnonzero(~np.isnan(got.fitted)):
        reached = f1(labels[:, [k]], p[:, [k]] > got.fitted[k])[0]
        cuts = np.unique(p[:, k])[:-1]  # every decision that finds somebody and not everybody
        assert reached == pytest.approx(max(f1(labels[:, [k]], p[:, [k]] > cut)[0] for cut in cuts))


def test_few_positives_take_the_shared_threshold() -> None:
    labels, p = sample(1, prevalence=(0.5, 0.3, 0.0))
    labels[[4, 90], 2] = True
    got = thresholds.fit_f1(labels, p)
    assert got.positives[2] == 2
    assert np.isnan(got.fitted[2])
    assert got.values[2] == got.shared
    assert not np.isnan(got.fitted[:2]).any()


def test_negatives_can_be_too_few_as_well() -> None:
    labels, p = sample(1)
    labels[:, 0] = True
    assert np.isnan(thresholds.fit_f1(labels, p).fitted[0])


def test_thresholds_lie_between_fitted_and_shared_and_follow_the_evidence() -> None:
    labels, p = sample(2, records=2000, prevalence=(0.4, 0.01))
    p[:, 1] /= 4  # the rare class is underconfident: its best cut lies far below the shared one
    got = thresholds.fit_f1(labels, p)
    low, high = np.minimum(got.fitted, got.shared), np.maximum(got.fitted, got.shared)
    assert ((got.values >= low - 1e-9) & (got.values <= high + 1e-9)).all()
    n = got.positives[1]
    logit = (n * np.log(got.fitted[1] / (1 - got.fitted[1])) + 10 * np.log(got.shared / (1 - got.shared))) / (n + 10)
    assert got.values[1] == pytest.approx(1 / (1 + np.exp(-logit)))


def test_no_class_at_all_has_positives() -> None:
    got = thresholds.fit_f1(np.zeros((9, 2), bool), np.full((9, 2), 0.1))
    assert got.values.tolist() == [0.5, 0.5]


def test_constant_probabilities_have_no_cut_of_their_own() -> None:
    labels, p = sample(3)
    p[:, 1] = 0.5
    got = thresholds.fit_f1(labels, p)
    assert np.isnan(got.fitted[1])
    assert got.values[1] == got.shared


def test_neither_nobody_nor_everybody_is_found() -> None:
    # Probabilities that tell nothing of a common class: finding everybody would have the best F1.
    rng = np.random.default_rng(0)
    labels, p = rng.random((200, 1)) < 0.9, rng.random((200, 1))
    decided = p > thresholds.fit_f1(labels, p).fitted
    assert 0 < decided.sum() < 200


def test_thresholds_stay_off_the_ends() -> None:
    labels = np.zeros((1000, 1), bool)
    labels[:500] = True
    got = thresholds.fit_f1(labels, np.where(labels, 1e-6, 0.0))
    assert got.values[0] >= thresholds.LOWEST


def test_neighboring_floats_are_told_apart() -> None:
    upper = 0.3
    lower = np.nextafter(upper, 0)
    p = np.array([[upper]] * 3 + [[lower]] * 3)
    labels = p == upper
    assert (thresholds.fit_f1(labels, p).fitted < p).sum() == 3


def test_challenge_ascent_is_no_worse_than_f1_and_ends_at_a_maximum() -> None:
    weights = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.3], [0.2, 0.3, 1.0]])

    def reached(cuts: np.ndarray) -> float:
        return float(challenge_metric(weights, labels, p > cuts, normal=0))

    for seed in range(5):
        labels, p = sample(seed)
        start, got = thresholds.fit_f1(labels, p), thresholds.fit_challenge(labels, p, weights)
        assert reached(got.fitted) >= reached(start.fitted) - 1e-9
        for k in range(3):
            for cut in np.unique(p[:, k])[:-1]:
                moved = got.fitted.copy()
                moved[k] = cut
                assert reached(moved) <= reached(got.fitted) + 1e-9


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="within"):
        thresholds.fit_f1(np.zeros((3, 1), bool), np.full((3, 1), 1.5))
    with pytest.raises(ValueError, match="records, classes"):
        thresholds.fit_f1(np.zeros((3, 2), bool), np.zeros((3, 1)))


def test_thresholds_are_fitted_on_other_patients_only(made_up: Any) -> None:
    valid, test = made_up(400, split="fold 8"), made_up(200, first=400, seed=1)
    got = thresholds.with_fitted_thresholds(valid, test)
    assert got.thresholds.tolist() == thresholds.fit_f1(valid.truth, valid.probabilities).values.tolist()
    assert np.array_equal(got.logits, test.logits)
    assert got.facts["thresholds"] == "fitted for F1 of each class on 400 validation records (fold 8)"
    weights = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.3], [0.2, 0.3, 1.0]])
    got = thresholds.with_fitted_thresholds(valid, test, weights)
    want = thresholds.fit_challenge(valid.truth, valid.probabilities, weights).values
    assert got.thresholds.tolist() == want.tolist()
    # Whatever the labels reported on are, the thresholds are the same.
    flipped = thresholds.with_fitted_thresholds(valid, replace(test, truth=~test.truth), weights)
    assert (flipped.thresholds == got.thresholds).all()


def test_reporting_on_what_thresholds_are_fitted_on_is_refused(made_up: Any) -> None:
    valid = made_up(400)
    with pytest.raises(PredictionsError, match="fit on other patients"):
        thresholds.with_fitted_thresholds(valid, valid)
    with pytest.raises(PredictionsError, match="p199 is among"):  # another record of the same patient
        thresholds.with_fitted_thresholds(made_up(399), made_up(2, first=399))
    with pytest.raises(PredictionsError, match="other classes"):
        thresholds.with_fitted_thresholds(valid, made_up(classes=2, first=400))
