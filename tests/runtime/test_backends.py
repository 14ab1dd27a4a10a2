"""Which backend runs a model, and what is said where none can."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from ecg_edge.runtime.backends import choose, open_backend, open_model, tflite
from ecg_edge.runtime.bundle import Bundle, BundleError, load


class Fake:
    """A backend that takes a while and answers with what it was opened with."""

    name = "fake"
    seconds: ClassVar[float] = 0.0
    broken: ClassVar[bool] = False

    def __init__(self, model: bytes, threads: int = 1) -> None:
        if self.broken:
            raise BundleError(f"{self.name} cannot open the model: mend it")
        self.threads = threads

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        time.sleep(self.seconds)
        return np.zeros(1, np.float32)


def fake(name: str, seconds: float = 0.0, broken: bool = False) -> type[Fake]:
    return type(name, (Fake,), {"name": name, "seconds": seconds, "broken": broken})


@pytest.fixture
def bundle(tiny_bundle: Any, tmp_path: Path) -> Bundle:
    """A bundle that says it has two models."""
    made = load(tiny_bundle(tmp_path / "tiny"))
    return replace(made, manifest=replace(made.manifest, models={"tflite": "model.onnx", "onnx": "model.onnx"}))


@pytest.fixture
def with_backends(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that puts these in the place of onnx and tflite, both installed or those named."""

    def put(onnx: type[Fake], tflite: type[Fake], there: tuple[str, ...] = ("onnx", "tflite")) -> None:
        monkeypatch.setattr(choose, "BACKENDS", {"onnx": onnx, "tflite": tflite})
        monkeypatch.setattr(choose, "installed", lambda kind: kind in there)

    return put


def test_auto_without_timing_never_depends_on_speed(bundle: Bundle, with_backends: Callable[..., None]) -> None:
    with_backends(fake("onnx", seconds=0.01), fake("tflite"))
    assert open_backend(bundle).name == "onnx"
    assert open_backend(bundle, "tflite").name == "tflite"
    with_backends(fake("onnx"), fake("tflite"), there=("tflite",))
    assert open_backend(bundle).name == "tflite"


def test_auto_with_timing_takes_the_faster(bundle: Bundle, with_backends: Callable[..., None]) -> None:
    with_backends(fake("onnx", seconds=0.002), fake("tflite", seconds=0.0005))
    assert open_backend(bundle, timed=True).name == "tflite"
    with_backends(fake("onnx", seconds=0.0005), fake("tflite", seconds=0.002))
    assert open_backend(bundle, timed=True).name == "onnx"


def test_auto_leaves_out_what_does_not_open(bundle: Bundle, with_backends: Callable[..., None]) -> None:
    with_backends(fake("onnx", broken=True), fake("tflite"))
    assert open_backend(bundle, timed=True).name == "tflite"
    with pytest.raises(BundleError, match="onnx cannot open"):
        open_backend(bundle)
    with_backends(fake("onnx", broken=True), fake("tflite", broken=True))
    with pytest.raises(BundleError, match="tflite cannot open"):
        open_backend(bundle, timed=True)


def test_timing_is_over_at_once(bundle: Bundle, with_backends: Callable[..., None]) -> None:
    with_backends(fake("onnx", seconds=0.0005), fake("tflite", seconds=0.0005))
    begin = time.perf_counter()
    open_backend(bundle, timed=True)
    assert time.perf_counter() - begin < 0.5


def test_names_that_are_no_backend(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="--backend"):
        open_backend(bundle, "torch")
    with pytest.raises(BundleError, match="no backend runs torch"):
        open_model("torch", b"")


def test_bundle_for_backends_of_another_time(bundle: Bundle) -> None:
    strange = replace(bundle, manifest=replace(bundle.manifest, models={"quantum": "model.onnx"}))
    with pytest.raises(BundleError, match="has no model for onnx or tflite"):
        open_backend(strange)


def test_without_an_interpreter_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setattr(tflite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BundleError, match=r"pip install ecg-edge\[tflite\]"):
        open_model("tflite", b"")


def test_the_older_interpreter_needs_the_older_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interpreter:
        def __init__(self, **settings: object) -> None:
            raise ValueError("opened the older one")

    module = ModuleType("tflite_runtime.interpreter")
    module.Interpreter = Interpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", module)
    monkeypatch.setattr(tflite.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(tflite.np, "__version__", "2.1.0")
    with pytest.raises(BundleError, match="numpy below 2"):
        open_model("tflite", b"")
    monkeypatch.setattr(tflite.np, "__version__", "1.26.4")
    with pytest.raises(BundleError, match="opened the older one"):
        open_model("tflite", b"")


@pytest.mark.parametrize("blob", [b"", b"no graph", bytes(64), b"\x1c\0\0\0TFL3" + bytes(100)])
def test_bytes_that_are_no_tflite_graph(blob: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    with pytest.raises(BundleError, match="LiteRT cannot open the model"):
        open_model("tflite", blob)
    assert capfd.readouterr().err == ""
