"""The model as C: it compiles, computes the runtime's integers, holds the model, and TensorFlow Lite Micro runs it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tflite_micro", reason="needs the extra micro, on Python 3.11")

from ecg_edge.export import c_array
from ecg_edge.export.c_array import ADD_METHODS, write_c_array
from ecg_edge.export.micro import MicroBackend, MicroError, arena_bytes, micro_logits
from ecg_edge.export.micro_check import check_decisions
from ecg_edge.export.tflite import tflite_logits
from ecg_edge.runtime.backends import open_backend
from ecg_edge.runtime.backends.tflite_inputs import compand
from ecg_edge.runtime.bundle import Bundle, BundleError, load, shipped
from ecg_edge.runtime.cli.common import open_record
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.prediction import Prediction, predict
from ecg_edge.runtime.sources.records import read_recording
from ecg_edge.train.windows import Windows

ARENA_LIMIT = 192 * 1024  # bytes: what a microcontroller of 320 kB has left for it
PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include "ecg_model.h"
int main(void)
{
    unsigned sum = 0;
    for (unsigned k = 0; k < ECG_MODEL_BYTES; k++) sum = sum * 31u + ecg_model[k];
    printf("%u %u %d\n", sum, (unsigned)((size_t)ecg_model % 16), ecg_model_power(200));
    for (unsigned k = 0; k < ECG_MODEL_CLASSES; k++) printf("%s|%.4f\n", ecg_model_classes[k], ecg_model_thresholds[k]);
    for (long x = -32768; x < 32768; x++) printf("%d ", ecg_model_signal((int16_t)x));
    return 0;
}
"""


def test_it_compiles_and_computes_the_runtimes_integers(both_bundle: Path, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler on this machine")
    bundle = load(both_bundle)
    written = write_c_array(bundle, tmp_path)
    (tmp_path / "main.c").write_text(PROGRAM)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
    command = ["cc", *strict, "main.c", "ecg_model.c", "-o", "program"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    done = subprocess.run([str(tmp_path / "program")], capture_output=True, check=True, text=True, timeout=60)
    first, *classes, steps = done.stdout.splitlines()
    model = bundle.model("tflite")
    expected = 0
    for byte in model:
        expected = (expected * 31 + byte) % 2**32
    assert first == f"{expected} 0 72"
    assert classes == ["AF|0.0000", "NSR|0.0000", "PVC|0.0000", "X|-1.0986"]
    every = np.arange(-(2**15), 2**15).astype(np.int16)
    np.testing.assert_array_equal([int(word) for word in steps.split()], compand(every))
    assert written.model_bytes == len(model)
    resolver = (tmp_path / "ecg_model_operators.h").read_text()
    assert f"MicroMutableOpResolver<{len(written.operators)}>" in resolver
    assert all(f"resolver.{ADD_METHODS[name]}()" in resolver for name in written.operators)


def test_the_arena_is_the_smallest_that_works(both_models: dict[str, bytes], small_network: object) -> None:
    model = both_models["tflite"]
    arena = arena_bytes(model)
    windows = small_network("csca").windows  # type: ignore[operator]
    found = micro_logits(model, windows, arena)
    exact = tflite_logits(model, windows)
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.05 * np.std(exact)
    with pytest.raises(MicroError, match="larger arena"):
        micro_logits(model, windows, arena - 1024)


def test_bundle_without_a_tflite_model(tiny_bundle: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_bundle(tmp_path / "tiny")  # type: ignore[operator]
    with pytest.raises(BundleError, match="no tflite model"):
        write_c_array(load(folder), tmp_path / "c")
    assert main(["c-array", str(folder), str(tmp_path / "c")]) == 1
    assert "no tflite model" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def predict_record(name: str, bundle: Bundle) -> Prediction:
    policy = load_policy(None, labels=[c.abbreviation for c in bundle.manifest.classes])
    return predict(open_record(name), name, bundle, open_backend(bundle, "tflite"), policy)


def hostile(windows: Windows) -> Windows:
    """Return windows at the ends of the inputs' range, all zeros, and of noise, beside those given."""
    rng = np.random.default_rng(1)
    signal, power = windows.signal[:1], np.asarray(windows.spectrogram[:1], np.uint8)
    noise = rng.integers(-(2**15), 2**15, (12, *signal.shape[1:])).astype(np.int16)
    bursts = rng.integers(0, 256, (12, *power.shape[1:])).astype(np.uint8)
    ends = [np.full_like(signal, value) for value in (0, -(2**15), 2**15 - 1)]
    powers = [np.full_like(power, value) for value in (0, 0, 255)]
    spectrograms = np.asarray(windows.spectrogram, np.uint8)
    return Windows(np.concatenate([windows.signal, *ends, noise]), np.concatenate([spectrograms, *powers, bursts]))


def test_the_logits_are_those_of_the_reference_kernels_to_the_bit(
    both_models: dict[str, bytes], small_network: Any
) -> None:
    model, windows = both_models["tflite"], hostile(small_network("csca").windows)
    there = micro_logits(model, windows, arena_bytes(model))
    np.testing.assert_array_equal(there, tflite_logits(model, windows, reference=True))
    assert len(np.unique(there, axis=0)) > 20
    assert np.abs(there - tflite_logits(model, windows)).max() > 0, "the others round otherwise, or this shows nothing"


def test_decisions_are_counted(both_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["c-array", str(both_bundle), str(tmp_path), "--check", "demo", "heart:asystole/12", "--json"]) == 0
    reference, default = json.loads(capsys.readouterr().out)["checks"]
    bundle = load(both_bundle)
    windows = sum(predict_record(name, bundle).windows for name in ("demo", "heart:asystole/12"))
    assert reference["windows"] == reference["same_windows"] == windows > 10
    assert reference["decisions"] == 4 * windows
    assert (reference["differ"], reference["largest_difference"]) == (0, 0.0)
    assert default["largest_difference"] > 0
    assert main(["c-array", str(both_bundle), str(tmp_path), "--check", "demo"]) == 0
    assert "every logit is that of LiteRT's reference kernels" in capsys.readouterr().out


def test_a_model_that_decides_otherwise_is_not_written(
    both_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = MicroBackend.logits
    monkeypatch.setattr(MicroBackend, "logits", lambda self, *inputs: -honest(self, *inputs))
    monkeypatch.setattr(c_array, "LARGEST_DIFFERENCE", np.inf)
    assert main(["c-array", str(both_bundle), str(tmp_path / "c"), "--check", "demo"]) == 1
    assert "decisions otherwise than LiteRT's reference kernels" in capsys.readouterr().err
    assert main(["c-array", str(both_bundle), str(tmp_path / "c"), "--check", "heart:sinus rhythm/3"]) == 1
    assert "no window of the records can be judged" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", shipped())
def test_what_ships_fits_a_microcontroller_and_decides_there_as_here(name: str, data_dir: Path) -> None:
    """On real windows: as LiteRT's reference kernels, and as a host's but for a logit at the threshold."""
    bundle = load(name)
    if "tflite" not in bundle.manifest.models:
        pytest.skip(f"{name} ships without a TFLite model")
    records = sorted((data_dir / "ptbxl" / "records500").rglob("*.hea"))[:30]
    assert records
    arena = arena_bytes(bundle.model("tflite"))
    assert arena <= ARENA_LIMIT
    recordings = [read_recording(str(record.with_suffix(""))) for record in records]
    recordings.append(read_recording(str(data_dir / "mitdb" / "207"), leads=("II", "V1"), stop_seconds=120))
    reference, default = check_decisions(bundle, recordings, arena)
    assert reference.windows == default.windows > 100
    assert reference.same_windows == reference.windows, "to the bit"
    assert reference.differ == 0
    assert default.differ <= 0.01 * default.decisions  # those of one long record lie near a threshold together
    assert default.farthest < 0.15
