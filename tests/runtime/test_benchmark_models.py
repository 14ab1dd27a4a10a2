"""Bare calls of model files, and many engines in one process: what is reported, not how fast it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends import open_backend
from ecg_edge.runtime.benchmark import first_window, make_recording
from ecg_edge.runtime.benchmark_models import Opened, measure_models, open_bundle, open_file
from ecg_edge.runtime.benchmark_streams import measure_streams
from ecg_edge.runtime.bundle import SHIPPED, Bundle, load
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.policy import load_policy


class Sleeper:
    """A backend that counts its calls."""

    name = "onnx"

    def __init__(self) -> None:
        self.calls = 0

    def logits(self, signal: Any, spectrogram: Any) -> Any:
        self.calls += 1
        return np.zeros(3, np.float32)


def test_each_model_is_called_as_often_and_held_against_the_fastest_float_one() -> None:
    backends = [Sleeper() for _ in range(3)]
    models = [Opened(f"m{k}", 10, backend, integer=k == 0) for k, backend in enumerate(backends)]
    bundle = load("arrhythmia")
    found = measure_models(models, bundle, 20)
    assert len({backend.calls for backend in backends}) == 1
    assert [one["format"] for one in found] == ["int8", "float", "float"]
    assert max(one["times_fastest_float"] for one in found[1:]) == 1.0
    for one in found:
        assert one["ms"]["p50"] <= one["ms"]["p95"] <= one["ms"]["p99"] <= one["ms"]["max"]
    assert measure_models(models[:1], bundle, 5)[0]["times_fastest_float"] is None, "there is no float one"


def test_a_file_says_by_its_content_whether_it_is_quantized(tmp_path: Path) -> None:
    assert open_file(SHIPPED / "arrhythmia" / "model.onnx", 1).integer
    other = tmp_path / "model.txt"
    other.write_text("no model")
    with pytest.raises(EcgEdgeError, match="name one that ends in"):
        open_file(other, 1)


def test_bench_prints_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    path = SHIPPED / "superclass" / "model.onnx"
    assert main(["bench", "--seconds", "3", "--model", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert found[0]["name"] == "arrhythmia/onnx"
    assert found[-1]["name"] == "model.onnx"
    assert found[-1]["bytes"] == path.stat().st_size
    assert main(["bench", "--seconds", "3", "--model", str(path)]) == 0
    assert "model.onnx" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["bench", "--model", str(path), "--streams"])


def test_the_spectrogram_stands_beside_the_calls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--stft", "--seconds", "3", "--backend", "onnx", "--json"]) == 0
    assert "arrhythmia/onnx" in capsys.readouterr().out


def test_streams_judge_every_window_until_one_number_is_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load("arrhythmia")
    policy = load_policy(labels=[c.abbreviation for c in bundle.manifest.classes])
    backend, recording = open_backend(bundle, "onnx"), make_recording()
    assert first_window(bundle, recording)[0].shape == (12, 1000)
    found = measure_streams(bundle, backend, policy, recording, rules=True, curve=(1, 2), seconds=2)
    assert [one["streams"] for one in found] == [1, 2]
    assert [one["windows"] for one in found] == [2, 4], "a window a second of each stream"
    clock = iter(range(0, 10**15, 2 * 10**9))
    monkeypatch.setattr("time.process_time_ns", lambda: next(clock))
    slow = measure_streams(bundle, backend, policy, recording, rules=False, curve=(1, 2), seconds=1)
    assert [(one["streams"], one["sustained"]) for one in slow] == [(1, False)]


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a float model of a few nodes."""
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


class Slow:
    """A model that takes a number of additions."""

    name = "onnx"

    def __init__(self, size: int) -> None:
        self.size = size

    def logits(self, signal: np.ndarray, spectrogram: np.ndarray) -> np.ndarray:
        assert signal.shape == (12, 1000)
        assert spectrogram.dtype == np.uint8
        return np.zeros(self.size).cumsum()[:1].astype(np.float32)


def test_a_float_graph_is_told_from_a_quantized_one(bundle: Bundle) -> None:
    (model,) = open_bundle(bundle)
    assert model.name == "tiny/onnx"
    assert not model.integer
    shipped = open_file(SHIPPED / "arrhythmia" / "model.onnx")
    assert shipped.integer
    assert shipped.size == (SHIPPED / "arrhythmia" / "model.onnx").stat().st_size


def test_a_quantized_tflite_graph_is_told_by_its_inputs() -> None:
    pytest.importorskip("ai_edge_litert")
    assert open_file(SHIPPED / "arrhythmia" / "model.tflite").integer


def test_speed_is_by_the_fastest_float_model(bundle: Bundle) -> None:
    models = [
        Opened("slow", 1, Slow(400_000), False),
        Opened("float", 2, Slow(100_000), False),
        Opened("int8", 3, Slow(10), True),
    ]
    slow, fast, int8 = measure_models(models, bundle, 5)
    assert fast["times_fastest_float"] == 1.0
    assert slow["times_fastest_float"] == pytest.approx(fast["ms"]["p50"] / slow["ms"]["p50"], rel=0.02)
    assert int8["times_fastest_float"] == pytest.approx(fast["ms"]["p50"] / int8["ms"]["p50"], rel=0.1)
    assert [m["format"] for m in (slow, fast, int8)] == ["float", "float", "int8"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [("model.pt", b"", "ends in"), ("none.onnx", None, "cannot be read"), ("bad.onnx", b"\x08x", "cannot open")],
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EcgEdgeError, match=says) as caught:
        open_file(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_model_that_takes_no_such_window_is_named(bundle: Bundle) -> None:
    class Other(Slow):
        def logits(self, signal: np.ndarray, spectrogram: np.ndarray) -> np.ndarray:
            raise RuntimeError("got 12, expected 2\nand more")

    with pytest.raises(EcgEdgeError, match=r"other does not take .* bundle tiny \(got 12, expected 2\)") as caught:
        measure_models([Opened("other", 1, Other(1), False)], bundle, 1)
    assert "\n" not in str(caught.value)
