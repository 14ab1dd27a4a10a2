"""The model of one branch: which bundle may stand in for which, and what the engine makes of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.runtime import one_branch
from ecg_edge.runtime.bundle import Bundle, load, shipped
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.engine import Engine
from ecg_edge.runtime.events import Status
from ecg_edge.runtime.one_branch import OneBranch, open_one_branch
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.sources.items import format_of


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle whose model reads the signal alone."""
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


def test_a_bundle_of_the_same_classes_that_reads_the_signal_alone_stands_in(bundle: Bundle) -> None:
    light = open_one_branch(str(bundle.folder), bundle, "tflite")
    assert light is not None
    assert light.bundle.sha256 == bundle.sha256
    assert light.backend.name == "onnx", "what it has a model for"


def test_nothing_stands_in_where_nothing_is_asked_for_or_belongs(bundle: Bundle) -> None:
    assert open_one_branch("none", load("arrhythmia"), "onnx") is None
    assert open_one_branch("auto", bundle, "onnx") is None


@pytest.mark.parametrize("name", ["arrhythmia", "superclass"])
def test_a_shipped_bundle_has_one_that_belongs_to_it(name: str) -> None:
    light = open_one_branch("auto", load(name), "onnx")
    assert light is not None
    assert light.bundle.manifest.name == f"{name}-signal"


def test_a_bundle_of_ones_own_under_a_shipped_name_is_not_the_shipped_one(bundle: Bundle) -> None:
    own = replace(bundle, manifest=replace(bundle.manifest, name="arrhythmia"))
    assert f"arrhythmia{one_branch.SUFFIX}" in shipped()
    assert open_one_branch("auto", own, "onnx") is None


def test_other_classes_are_refused(bundle: Bundle, tiny_bundle: Any, tmp_path: Path) -> None:
    other = tiny_bundle(tmp_path / "other", classes=(ClassInfo("1", "AF", "atrial fibrillation", 0.5),))
    with pytest.raises(EcgEdgeError, match="has other classes than tiny"):
        open_one_branch(str(other), bundle, "onnx")


def test_another_contract_is_refused(bundle: Bundle) -> None:
    contract = replace(bundle.manifest.contract, stft_hop=2 * bundle.manifest.contract.stft_hop)
    other = replace(bundle, manifest=replace(bundle.manifest, contract=contract))
    with pytest.raises(EcgEdgeError, match="another signal contract than tiny"):
        open_one_branch(str(bundle.folder), other, "onnx")


def test_a_model_that_reads_the_spectrogram_is_refused() -> None:
    with pytest.raises(EcgEdgeError, match=r"reads the spectrogram.*network\.fusion = time"):
        open_one_branch("arrhythmia", load("arrhythmia"), "onnx")


class Spy:
    """A model that remembers what it was shown, and answers `logit` to everything."""

    name = "onnx"

    def __init__(self, logit: float) -> None:
        self.answer = np.full(3, logit, dtype=np.float32)
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def logits(self, signal: np.ndarray, spectrogram: np.ndarray) -> np.ndarray:
        self.seen.append((signal.copy(), spectrogram.copy()))
        return self.answer


@pytest.fixture
def play(bundle: Bundle) -> Callable[[list[bool]], tuple[Spy, Spy, list[float]]]:
    """Return a function that takes, for each second of a stream, whether one branch judges it."""
    recording = simulate([Episode("sinus rhythm", 40)], rate=250, leads=("I", "II"), seed=5).recording

    def play(choices: list[bool]) -> tuple[Spy, Spy, list[float]]:
        whole, light = Spy(2.0), Spy(-2.0)
        engine = Engine(
            bundle,
            whole,
            load_policy(),
            format_of(recording),
            every_probability=True,
            light=OneBranch(bundle, light),
        )
        events = []
        for second, choice in enumerate(choices):
            engine.one_branch = choice
            assert engine.one_branch is choice
            events += engine.push(recording.counts[second * 250 : (second + 1) * 250])
        told = [e.probabilities["AF"] for e in events if isinstance(e, Status) and e.probabilities]
        return whole, light, told

    return play


def test_each_model_judges_its_windows_and_the_spectrogram_is_whole_again_afterwards(play: Any) -> None:
    whole, light, told = play([False] * 20 + [True] * 6 + [False] * 6)
    reference, nobody, _ = play([False] * 32)
    assert len(nobody.seen) == 0
    assert len(light.seen) == 6
    assert len(whole.seen) == len(reference.seen) - 6
    first = len(reference.seen) - 12
    assert [round(p, 2) for p in told] == [0.88] * first + [0.12] * 6 + [0.88] * 6
    for (signal, _), (expected, _) in zip(light.seen, reference.seen[first:], strict=False):
        np.testing.assert_array_equal(signal, expected)
    for seen, expected in zip(whole.seen[first:], reference.seen[first + 6 :], strict=True):
        np.testing.assert_array_equal(seen[0], expected[0])
        np.testing.assert_array_equal(seen[1], expected[1])


def test_without_a_model_of_one_branch_the_switch_does_nothing(bundle: Bundle) -> None:
    recording = simulate([Episode("sinus rhythm", 12)], rate=250, leads=("I", "II"), seed=5).recording
    whole = Spy(2.0)
    engine = Engine(bundle, whole, load_policy(), format_of(recording))
    engine.one_branch = True
    assert not engine.one_branch
    assert engine.light_model is None
    engine.push(recording.counts)
    assert whole.seen
