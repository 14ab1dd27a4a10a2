"""The spectrogram beside the model: that NumPy and C give the same bits, and what is told where C is not there."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime import benchmark_stft, native
from ecg_edge.runtime.benchmark_models import open_bundle
from ecg_edge.runtime.benchmark_stft import NoCompilerError, compile_library, measure_stft
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.cli.main import main


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a float model of a few nodes."""
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


@pytest.mark.skipif(not any(map(shutil.which, benchmark_stft.COMPILERS)), reason="no C compiler")
def test_the_spectrogram_is_measured_in_numpy_and_in_c(bundle: Bundle) -> None:
    report = measure_stft(bundle, open_bundle(bundle), 3)
    assert (report["leads"], report["frames"]) == (12, 5)
    assert report["c_missing"] is None
    figures = report["models"]["tiny/onnx"]
    assert (figures["compiled_ms"] is None) == (native.kernels is None)
    for name in ("numpy", "c", *(["compiled"] if native.kernels else [])):
        ratio = figures[f"{name}_ms"]["p50"] / figures["inference_ms"]["p50"]
        assert figures[f"{name}_of_a_call"] == pytest.approx(ratio, rel=0.05)


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
    assert "The C library was not measured: no C compiler was found (no-such-compiler)" in text


def test_a_compiler_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", sys.executable)
    with pytest.raises(NoCompilerError, match="does not compile"):
        compile_library(tmp_path)


def test_two_measurements_at_once_are_wrong_use() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--stft", "--streams"])
    assert stop.value.code == 2
