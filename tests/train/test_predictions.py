"""The file of predictions: there and back, what is refused, ensembles and folds put together."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from ecg_edge.train import predictions
from ecg_edge.train.predictions import PredictionsError


def test_there_and_back(tmp_path: Path, made_up: Any) -> None:
    given = made_up(seed=[1, 2], note="µV, and None: ", nothing=None)
    path = tmp_path / "new" / "fold9.npz"
    given.save(path)
    got = predictions.load(path)
    for field in fields(given):
        want, have = getattr(given, field.name), getattr(got, field.name)
        if isinstance(want, np.ndarray):
            assert have.dtype == want.dtype
            assert np.array_equal(have, want)
        else:
            assert have == want, field.name
    assert list(path.parent.iterdir()) == [path], "no working file is left"
    first = path.read_bytes()
    got.save(path)
    assert path.read_bytes() == first


def test_probabilities_and_decisions(made_up: Any) -> None:
    given = made_up()
    assert given.probabilities == pytest.approx(expit(given.logits.astype(float)), abs=1e-15)
    assert (given.decisions == (given.probabilities > [0.3, 0.35, 0.4])).all()
    far = replace(given, logits=np.full_like(given.logits, -200))
    assert (far.probabilities == 0).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"patients": ("a",)}, "do not make predictions"),
        ({"truth": np.zeros((120, 2), bool)}, "do not make predictions"),
        ({"truth": np.zeros((120, 3))}, "not bool"),
        ({"logits": np.full((120, 3), np.inf, np.float32)}, "not finite"),
        ({"records": ("r0",) * 120}, "twice"),
        ({"facts": {"task": "x", "seed": 1}}, "facts lack model, split"),
    ],
)
def test_what_does_not_agree_is_refused(made_up: Any, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(made_up(), **change)


def test_wrong_files_are_named(tmp_path: Path, made_up: Any) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(PredictionsError, match="no file"):
        predictions.load(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(PredictionsError, match=r"x\.npz does not hold predictions"):
        predictions.load(path)
    path.write_bytes(b"")
    with pytest.raises(PredictionsError, match="does not hold predictions"):
        predictions.load(path)
    np.savez(path, anything=np.zeros(3))
    with pytest.raises(PredictionsError, match="not a file of predictions"):
        predictions.load(path)
    np.savez(path, format=np.array(99))
    with pytest.raises(PredictionsError, match="this version"):
        predictions.load(path)
    np.savez(path, format=np.array(predictions.FORMAT), records=np.array(["a"]))
    with pytest.raises(PredictionsError, match="it has no 'patients"):
        predictions.load(path)
    made_up().save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(PredictionsError):
            predictions.load(path)


def test_a_pickle_in_the_archive_is_not_opened(tmp_path: Path, made_up: Any) -> None:
    path = tmp_path / "x.npz"
    made_up().save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "records": np.array([{"any": "object"}], dtype=object)})
    with pytest.raises(PredictionsError, match="does not hold predictions"):
        predictions.load(path)


def test_ensemble_is_the_mean_of_logits_and_decides_at_the_mean_threshold(made_up: Any) -> None:
    one = made_up()
    two = replace(one, logits=one.logits + 1, facts={**one.facts, "seed": 7, "model": "coins"}).with_thresholds(
        [0.6, 0.7, 1.0], "by hand"
    )
    both = predictions.ensemble([one, two])
    assert both.logits == pytest.approx(one.logits + 0.5, abs=1e-6)
    assert logit(both.thresholds[:2]) == pytest.approx(
        (logit(one.thresholds[:2]) + logit(two.thresholds[:2])) / 2, abs=1e-9
    )
    assert not both.decisions[:, 2].any(), "a threshold of 1 in one member keeps the class out"
    assert (both.facts["seed"], both.facts["model"], both.facts["split"]) == ([0, 7], "dice + coins", "none")
    assert (predictions.ensemble([one]).decisions == one.decisions).all()


def test_ensembles_of_different_things_are_refused(made_up: Any) -> None:
    one = made_up()
    with pytest.raises(PredictionsError, match="other records or labels"):
        predictions.ensemble([one, made_up(first=2)])
    with pytest.raises(PredictionsError, match="other classes"):
        predictions.ensemble([one, made_up(classes=2)])


def test_folds_are_put_together_and_share_no_patient(made_up: Any) -> None:
    one, two = made_up(records=10), made_up(records=6, seed=1, first=10)
    whole = predictions.concatenate([one, two])
    assert whole.records == tuple(f"r{k}" for k in range(16))
    assert np.array_equal(whole.logits, np.concatenate([one.logits, two.logits]))
    with pytest.raises(PredictionsError, match="p4 is in two of the test sets"):
        predictions.concatenate([one, made_up(records=2, first=9)])
