"""The benchmark: what its report holds and what must be true of it; never how fast anything is."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime import backends, benchmark
from ecg_edge.runtime.benchmark import Settings
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.engine import Engine
from ecg_edge.runtime.machine import Machine, describe
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.sources.items import format_of

SMALL = Settings(seconds=4, cold_starts=1, memory_seconds=12)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a model of a few nodes."""
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


@pytest.fixture(scope="module")
def report(bundle: Bundle) -> dict[str, Any]:
    """Return the report of a short run."""
    return benchmark.run(bundle, "auto", SMALL)


def test_the_report_holds_what_the_command_line_promises(report: dict[str, Any]) -> None:
    assert report["backend"] == "onnx"
    assert report["bundle"] == "tiny"
    assert report["seconds"] == report["windows"] == SMALL.seconds
    assert report["chunk_samples"] == 125
    for name in ("rss_mb", "cold_start_s", "overhead_ratio"):
        assert math.isfinite(report[name])
        assert report[name] > 0
    assert {"cpu", "python", "numpy", "onnxruntime", "governor", "temperature_c"} <= set(report["machine"])
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("name", ["hop_ms", "inference_ms"])
def test_percentiles_rise(report: dict[str, Any], name: str) -> None:
    figures = report[name]
    assert list(figures) == ["p50", "p95", "p99", "max"]
    assert 0 < figures["p50"] <= figures["p95"] <= figures["p99"] <= figures["max"]


def test_figures_follow_from_each_other(report: dict[str, Any]) -> None:
    ratio = report["hop_ms"]["p50"] / report["inference_ms"]["p50"]
    assert report["overhead_ratio"] == pytest.approx(ratio, rel=1e-2)
    assert report["streams_per_core"] == pytest.approx(1000 / report["hop_ms"]["p50"], rel=1e-2, abs=1)
    assert report["backends"]["onnx"]["hop_ms"] == report["hop_ms"]


def test_stages_are_all_of_the_hop(report: dict[str, Any]) -> None:
    stages = report["stages_ms"]
    assert set(stages) == {"conditioning", "spectrogram", "quality", "inference", "alerts", "other"}
    assert min(stages.values()) >= 0
    # "other" is what the hop has beyond the stages, so together they are never less than the hop.
    assert sum(stages.values()) >= report["hop_ms"]["p50"] - 1e-3


def test_streams_per_core_is_the_whole_number_of_hops_in_a_second() -> None:
    assert benchmark.streams_per_core(3.0) == 333
    assert benchmark.streams_per_core(1500.0) == 0


@pytest.mark.parametrize(("ms", "samples"), [(250, 125), (20, 10), (1, 1), (1000, 500), (5000, 500)])
def test_chunks_hold_whole_frames_up_to_a_second(ms: int, samples: int) -> None:
    assert benchmark.chunk_samples(500, ms) == samples


def test_a_chunk_is_never_empty() -> None:
    assert benchmark.chunk_samples(125, 1) == 1


@pytest.mark.parametrize("chunk_ms", [20, 300, 1000])  # 300 does not divide a second: the last chunk is shorter
def test_every_measured_hop_has_one_window(bundle: Bundle, chunk_ms: int) -> None:
    backend = backends.open_backend(bundle)
    settings = replace(SMALL, chunk_ms=chunk_ms)
    costs = benchmark.measure_hops(bundle, backend, load_policy(), benchmark.make_recording(), settings)
    assert costs.windows == len(costs.hop) == len(costs.inference) == SMALL.seconds
    assert (costs.inference > 0).all()


def test_the_stream_goes_on_where_the_recording_ends(bundle: Bundle) -> None:
    recording = benchmark.make_recording()
    short = replace(recording, counts=recording.counts[:6250], invalid=None)  # 12.5 s: the half second is left out
    costs = benchmark.measure_hops(bundle, backends.open_backend(bundle), load_policy(), short, replace(SMALL))
    assert costs.windows == SMALL.seconds


def test_the_recording_is_laid_out_as_a_decoder_delivers_it() -> None:
    assert benchmark.make_recording().counts.flags.c_contiguous


class Counting:
    """A model that counts its calls."""

    name = "counting"

    def __init__(self) -> None:
        self.calls = 0

    def logits(self, signal: np.ndarray, spectrogram: np.ndarray) -> np.ndarray:
        assert signal.any()
        assert spectrogram.any()
        self.calls += 1
        return np.zeros(3, dtype=np.float32)


def test_hops_and_bare_calls_take_turns(bundle: Bundle) -> None:
    model, recording = Counting(), benchmark.make_recording()
    benchmark.measure_hops(bundle, model, load_policy(), recording, SMALL)
    window = bundle.manifest.contract.window_seconds
    seconds = window + benchmark.SETTLE_SECONDS + SMALL.seconds
    engine = Engine(bundle, model, load_policy(), format_of(recording))
    hops = math.floor(seconds - engine.delay_seconds)
    assert model.calls == seconds + hops - window + 1


def test_children_find_one_blas_thread_and_keep_the_callers_choice(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        seen.append(options["env"]["OPENBLAS_NUM_THREADS"])
        assert command[0] == sys.executable
        return subprocess.CompletedProcess(command, 0, b'{"ready": 1e9, "peak_rss_bytes": 5000000}', b"")

    monkeypatch.setattr(benchmark.subprocess, "run", run)
    recording = benchmark.make_recording()
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    peak, _ = benchmark.measure_process(bundle, "onnx", recording, SMALL)
    assert peak == 5_000_000
    assert seen == ["1", "1"]
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    benchmark.measure_process(bundle, "onnx", recording, SMALL)
    assert seen[2:] == ["2", "2"]


def test_a_failing_child_is_one_line_with_its_reason(bundle: Bundle, tmp_path: Path) -> None:
    gone = replace(bundle, folder=tmp_path / "gone")
    with pytest.raises(EcgEdgeError, match="no bundle") as caught:
        benchmark.measure_process(gone, "onnx", benchmark.make_recording(), SMALL)
    assert "\n" not in str(caught.value)


def test_bench_prints_one_object(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--bundle", str(bundle.folder), "--seconds", "2", "--chunk-ms", "20", "--json"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert json.loads(text)["chunk_samples"] == 10


def test_bench_prints_a_table(
    bundle: Bundle, report: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecg_edge.runtime.cli.bench.measure", lambda *_: report)
    assert main(["bench", "--bundle", str(bundle.folder)]) == 0
    text = capsys.readouterr().out
    for word in (
        "hop (onnx)",
        "inference (onnx)",
        "conditioning",
        "overhead ratio",
        "MB",
        "cold start",
        "estimate",
        "energy of a hop",
    ):
        assert word in text


@pytest.mark.parametrize(
    "wrong", [["--seconds", "0"], ["--chunk-ms", "0"], ["--chunk-ms", "1001"], ["--chunk-ms", "x"]]
)
def test_wrong_use_exits_with_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", *wrong])
    assert stop.value.code == 2


def test_a_machine_without_proc_and_sys_is_described_all_the_same(tmp_path: Path) -> None:
    known = describe(Machine(tmp_path))
    assert known["governor"] is known["temperature_c"] is known["cores"] is None
    assert known["cpu"]
    assert known["numpy"] == np.__version__
