"""What the writer of bundles refuses, and that it writes a bundle whole or not at all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from ecg_edge.export import bundle_writer
from ecg_edge.export.bundle_writer import BundleParts, BundleWriteError, write_bundle
from ecg_edge.runtime import bundle
from ecg_edge.runtime.bundle import Metric
from ecg_edge.runtime.contract import Contract


@pytest.fixture(scope="module")
def source(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose model and classes are taken."""
    return tiny_bundle(tmp_path_factory.mktemp("source") / "bundle")


def parts(source: Path, **changes: object) -> BundleParts:
    there = bundle.load(source)
    m = there.manifest
    made_parts = BundleParts(m.name, "1", m.classes, Contract(), {"onnx": there.model("onnx")}, "# card\n", (), {})
    return replace(made_parts, **changes)  # type: ignore[arg-type]


def test_a_folder_that_is_no_bundle_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(BundleWriteError, match="no bundle"):
        write_bundle(parts(source), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_a_bundle_too_large_is_not_written(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_writer, "LARGEST_BUNDLE", 1000)
    with pytest.raises(BundleWriteError, match="bytes"):
        write_bundle(parts(source), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_metrics_are_kept_as_given(source: Path, tmp_path: Path) -> None:
    figure = Metric("made", "none", "macro_auroc", 0.75, 0.5, 0.9)
    written = write_bundle(parts(source, metrics=(figure,)), tmp_path / "bundle")
    assert written.manifest.metrics == (figure,)
