"""Turns, and bundles side by side: what the tables hold, never how fast it is."""

from typing import Any

import numpy as np
import pytest

from ecg_edge.runtime.benchmark import Settings
from ecg_edge.runtime.benchmark_compare import compare
from ecg_edge.runtime.benchmark_turns import WARM_UP, in_turns, percentiles
from ecg_edge.runtime.bundle import Bundle, load


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a float model of a few nodes."""
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


def test_calls_take_turns_and_the_first_are_not_counted() -> None:
    order: list[str] = []
    taken = in_turns([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert "".join(order) == "ab" * (WARM_UP + 3)
    assert [len(ms) for ms in taken] == [3, 3]
    assert all((ms >= 0).all() for ms in taken)


def test_percentiles_are_those_of_hand() -> None:
    assert percentiles(np.arange(101.0)) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


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
