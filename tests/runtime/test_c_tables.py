"""The C library's generated tables: those in the tree are the contract's, and others can be made."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.runtime.c_tables import BUILT_IN_RATES, resampler, tables
from ecg_edge.runtime.conditioning import Conditioner
from ecg_edge.runtime.contract import Contract

LIBRARY = Path(__file__).resolve().parents[2] / "firmware_bridge" / "c"


def kernels(source: str) -> np.ndarray:
    """The numbers of the one array in a resampler's source."""
    body = source[source.index("= {") + 3 : source.index("};")]
    return np.array([int(word) for word in body.replace(",", " ").split()])


def test_the_tables_in_the_tree_are_the_contracts() -> None:
    found = {path.name: path.read_text() for path in [*LIBRARY.glob("ecg_tables.*"), *LIBRARY.glob("ecg_resampler_*")]}
    assert found == tables(Contract())


def test_another_contract_gives_other_tables() -> None:
    changed = tables(replace(Contract(), stft_bins=20))
    assert changed["ecg_tables.h"] != (LIBRARY / "ecg_tables.h").read_text()


@pytest.mark.parametrize("rate", [*BUILT_IN_RATES, 101, 125, 400, 512, 2000])
def test_every_kernel_passes_a_constant_exactly(rate: int) -> None:
    taps = 2 * Conditioner(Contract(), rate, 1, ("II",))._half
    numbers = kernels(resampler(Contract(), rate)).reshape(-1, taps)
    assert (numbers.sum(axis=1) == 2**20).all()


def test_a_notch_nulls_the_mains() -> None:
    numbers = kernels(resampler(Contract(), 500, 50))
    response = abs(numbers @ np.exp(-2j * np.pi * 50 / 500 * np.arange(len(numbers)))) / 2**20
    assert response < 1e-4  # what 20-bit taps leave of it: 80 dB, whose power is beyond int16


@pytest.mark.parametrize(("rate", "mains"), [(99, None), (2001, None), (500, 55), (100, 50)])
def test_what_the_conditioner_does_not_serve_is_refused(rate: int, mains: int | None) -> None:
    with pytest.raises(ValueError, match="no resampler"):
        resampler(Contract(), rate, mains)


def test_the_command_writes_a_resampler_that_compiles(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ecg_edge.runtime.c_tables", str(tmp_path), "--rate", "400", "--mains", "60"]
    subprocess.run(command, check=True, timeout=60)
    (made,) = tmp_path.iterdir()
    assert made.name == "ecg_resampler_400_notch_60.c"
    if shutil.which("cc") is None:
        pytest.skip("no cc on this machine: the source cannot be compiled")
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["cc", *warnings, f"-I{LIBRARY}", "-c", str(made), "-o", str(tmp_path / "x.o")], check=True)
