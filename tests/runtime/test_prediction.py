"""A whole record's answer: the mean over its windows, and nothing where nothing could be judged."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.prediction import predict


class Script:
    """A backend that gives the logits of its list, one after the other."""

    name = "onnx"

    def __init__(self, answers: Sequence[Sequence[float]]) -> None:
        self.answers = list(answers)

    def logits(self, signal: np.ndarray, spectrogram: np.ndarray) -> np.ndarray:
        return np.array(self.answers.pop(0), dtype=np.float32)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(tiny_bundle(tmp_path_factory.mktemp("tiny")))


def recording(seconds: float) -> Recording:
    ecg = simulate([Episode("sinus rhythm", 20)], rate=125, leads=("I", "II"), seed=4).recording
    return replace(ecg, name="00007_lr", counts=ecg.counts[: int(seconds * 125)])


def sigmoid(x: float) -> float:
    return 1 / (1 + float(np.exp(-x)))


def test_probabilities_are_the_mean_over_the_windows(bundle: Bundle) -> None:
    answers = [(4.0, -4.0, 0.0), (4.0, -4.0, 0.0), (-4.0, 1.0, 0.0)]  # 12 s: three windows
    found = predict(recording(12), "data/00007_lr", bundle, Script(answers), load_policy())
    assert found.windows == 3
    assert found.probabilities == pytest.approx(
        {
            "AF": (2 * sigmoid(4) + sigmoid(-4)) / 3,  # of probabilities, not of logits
            "NSR": (2 * sigmoid(-4) + sigmoid(1)) / 3,
            "PVC": 0.5,
        }
    )
    # Labels are above their threshold of 0.5, not at it.
    assert found.labels == ("AF",)
    assert (found.record, found.name) == ("data/00007_lr", "00007_lr")
    assert found.leads == LEADS[:6]
    assert found.quality == 1.0
    assert found.technical == ()


def test_json_is_rounded_and_complete(bundle: Bundle) -> None:
    found = predict(recording(10), "x", bundle, Script([(1.0, -1.0, 0.3)]), load_policy())
    assert found.to_dict() == {
        "record": "x",
        "probabilities": {"AF": 0.7311, "NSR": 0.2689, "PVC": 0.5744},
        "labels": ["AF", "PVC"],
        "quality": 1.0,
        "leads": ["I", "II", "III", "aVR", "aVL", "aVF"],
        "windows": 1,
        "technical": [],
    }


def test_windows_without_a_diagnosis_do_not_count(bundle: Bundle) -> None:
    answers = [(9.0, 0.0, 0.0), (np.nan, 0.0, 0.0), (-9.0, 0.0, 0.0)]
    found = predict(recording(12), "x", bundle, Script(answers), load_policy())
    assert found.windows == 2
    assert found.probabilities is not None
    assert found.probabilities["AF"] == pytest.approx(0.5)
    assert any("no finite numbers" in message for message in found.technical)


@pytest.mark.parametrize("seconds", [0, 3])
def test_record_too_short_has_no_probabilities(bundle: Bundle, seconds: float) -> None:
    found = predict(recording(seconds), "x", bundle, Script([]), load_policy())
    assert (found.probabilities, found.labels, found.windows, found.quality) == (None, (), 0, 0.0)
    assert found.to_dict()["probabilities"] is None
    assert len(found.technical) == 1


def test_record_without_a_usable_lead_has_no_probabilities(bundle: Bundle) -> None:
    ecg = recording(20)
    flat = replace(ecg, counts=np.zeros_like(ecg.counts))
    found = predict(flat, "x", bundle, Script([]), load_policy())
    assert found.probabilities is None
    assert found.leads == ()
    off = replace(ecg, invalid=np.ones(ecg.counts.shape, dtype=bool))
    assert predict(off, "x", bundle, Script([]), load_policy()).probabilities is None


def test_lead_off_for_the_whole_record_is_left_out(bundle: Bundle) -> None:
    ecg = recording(12)
    invalid = np.zeros(ecg.counts.shape, dtype=bool)
    invalid[:, 0] = True
    found = predict(replace(ecg, invalid=invalid), "x", bundle, Script([(0.0, 0.0, 0.0)] * 3), load_policy())
    assert found.leads == ("II",)
    assert found.quality == pytest.approx(1 / 6)
