"""Model files, the spectrogram and several bundles beside each other: what the tables hold, never how fast it is."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime import benchmark_stft
from ecg_edge.runtime.benchmark import Settings
from ecg_edge.runtime.benchmark_compare import compare
from ecg_edge.runtime.benchmark_models import Opened, measure_models, open_bundle, open_file
from ecg_edge.runtime.benchmark_stft import NoCompilerError, compile_library, measure_stft
from ecg_edge.runtime.benchmark_turns import WARM_UP, in_turns, percentiles
from ecg_edge.runtime.bundle import SHIPPED, Bundle, load
from ecg_edge.runtime.cli.main import main


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


def test_calls_take_turns_and_the_first_are_not_counted() -> None:
    order: list[str] = []
    taken = in_turns([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert "".join(order) == "ab" * (WARM_UP + 3)
    assert [len(ms) for ms in taken] == [3, 3]
    assert all((ms >= 0).all() for ms in taken)


def test_percentiles_are_those_of_hand() -> None:
    assert percentiles(np.arange(101.0)) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


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


def test_without_a_float_model_there_is_no_ratio(bundle: Bundle) -> None:
    (only,) = measure_models([Opened("int8", 3, Slow(10), True)], bundle, 2)
    assert only["times_fastest_float"] is None


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


@pytest.mark.skipif(not any(map(shutil.which, benchmark_stft.COMPILERS)), reason="no C compiler")
def test_the_spectrogram_is_measured_in_numpy_and_in_c(bundle: Bundle) -> None:
    report = measure_stft(bundle, open_bundle(bundle), 3)
    assert (report["leads"], report["frames"]) == (12, 5)
    assert report["c_missing"] is None
    for name in ("numpy", "c"):
        ratio = report[name]["ms"]["p50"] / report["inference_ms"]["tiny/onnx"]["p50"]
        assert report[name]["of_a_call"]["tiny/onnx"] == pytest.approx(ratio, rel=0.05)


@pytest.mark.skipif(not any(map(shutil.which, benchmark_stft.COMPILERS)), reason="no C compiler")
def test_a_c_library_that_gives_other_bits_is_not_timed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    shifted = benchmark_stft._LOOP.replace("signal + lead", "signal + 1 + lead")
    monkeypatch.setattr(benchmark_stft, "_LOOP", shifted)
    with pytest.raises(EcgEdgeError, match="disagree"):
        measure_stft(bundle, open_bundle(bundle), 1)


def test_without_a_compiler_numpy_alone_is_measured(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main(["bench", "--bundle", str(bundle.folder), "--stft", "--seconds", "2"]) == 0
    text = capsys.readouterr().out
    assert "STFT in NumPy" in text
    assert "C was not measured: no C compiler was found (no-such-compiler)" in text


def test_a_compiler_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", sys.executable)
    with pytest.raises(NoCompilerError, match="does not compile"):
        compile_library(tmp_path)


def test_bundles_stand_side_by_side(bundle: Bundle) -> None:
    settings = Settings(seconds=3, cold_starts=1, memory_seconds=12)
    first, second = compare([bundle, load("superclass")], "onnx", settings)
    assert (first["bundle"], second["bundle"]) == ("tiny", "superclass")
    assert first["hop_of_first"] == 1.0
    assert second["hop_of_first"] == pytest.approx(second["hop_ms"]["p50"] / first["hop_ms"]["p50"], rel=0.01)
    assert first["bytes"] == bundle.manifest.files["model.onnx"].bytes
    for row in (first, second):
        assert row["overhead_ratio"] == pytest.approx(row["hop_ms"]["p50"] / row["inference_ms"]["p50"], rel=0.01)
        assert row["rss_mb"] > 10


def test_model_files_are_printed_as_one_object_and_as_a_table(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "--bundle", str(bundle.folder), "--seconds", "2"]
    arguments += ["--model", str(SHIPPED / "arrhythmia" / "model.onnx")] * 2
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [m["format"] for m in report["models"]] == ["float", "int8", "int8"]
    assert report["machine"]["cpu"]
    assert main(arguments) == 0
    assert "tiny/onnx" in capsys.readouterr().out


def test_two_measurements_at_once_are_wrong_use() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--stft", "--streams"])
    assert stop.value.code == 2
