"""The model as C: it compiles, computes the runtime's integers, holds the model, and TensorFlow Lite Micro runs it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tflite_micro", reason="needs the extra micro, on Python 3.11")

from ecg_edge.export.c_array import ADD_METHODS, write_c_array
from ecg_edge.export.micro import MicroError, arena_bytes, micro_logits
from ecg_edge.export.tflite import tflite_logits
from ecg_edge.runtime.backends.tflite_inputs import compand
from ecg_edge.runtime.bundle import BundleError, load, shipped
from ecg_edge.runtime.cli.main import main

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


@pytest.mark.parametrize("name", shipped())
def test_what_ships_fits_a_microcontroller_and_decides_there_as_here(name: str, data_dir: Path) -> None:
    """On real windows, but for logits nearer to the threshold than the two kernels' rounding."""
    bundle = load(name)
    if "tflite" not in bundle.manifest.models:
        pytest.skip(f"{name} ships without a TFLite model")
    from ecg_edge.runtime.conditioning import condition
    from ecg_edge.runtime.sources.records import read_recording
    from ecg_edge.runtime.stft import spectrogram
    from ecg_edge.train.windows import Windows

    contract = bundle.manifest.contract
    records = sorted((data_dir / "ptbxl" / "records500").rglob("*.hea"))[:30]
    assert records
    signals = [
        condition(read_recording(str(r.with_suffix(""))), contract).signal[-contract.window :].T for r in records
    ]
    signal = np.ascontiguousarray(np.stack(signals))
    windows = Windows(signal, np.stack([spectrogram(one, contract) for one in signal]))
    model = bundle.model("tflite")
    arena = arena_bytes(model)
    assert arena <= ARENA_LIMIT
    there, here = micro_logits(model, windows, arena), tflite_logits(model, windows)
    thresholds = np.array([c.threshold for c in bundle.manifest.classes])
    logits = np.log(thresholds / (1 - thresholds))
    differ = (there > logits) != (here > logits)
    assert differ.mean() <= 0.002
    assert np.abs(here - logits)[differ].max(initial=0.0) < 0.15
