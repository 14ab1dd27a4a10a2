"""The C library, built under the sanitizers or for a Cortex-M4, and programs around it that use stdin and stdout."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from .c_build import (
    CORTEX_M4_PACKAGES,
    CORTEX_M4_TOOLS,
    LIBRARY,
    PROGRAMS,
    QEMU,
    SANITIZE,
    SEMIHOSTING,
    TIME_LIMIT,
    link,
    link_for_cortex_m4,
    make,
    make_for_cortex_m4,
    missing,
)

Run = Callable[[bytes], tuple[bytes, bytes]]
"""Takes stdin, gives stdout and stderr; fails where the program does."""


def _runner(command: Sequence[str | Path]) -> Run:
    def run(data: bytes) -> tuple[bytes, bytes]:
        done = subprocess.run(command, input=data, capture_output=True, timeout=TIME_LIMIT)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout, done.stderr

    return run


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Return a function: name of a program in c_programs, sources of the library, more files to link -> its Run."""
    reason = missing("cc", "make")
    if reason and os.environ.get("CI", "").lower() in ("", "0", "false", "no"):
        pytest.skip(f"{reason}: the C library cannot be built")
    elif reason:
        pytest.fail(f"{reason}: the C library cannot be built")
    folders: dict[Path, Path] = {}
    programs: dict[tuple[Path, str], Run] = {}

    def program(name: str, sources: Path = LIBRARY, *more: Path) -> Run:
        flags = SANITIZE if sources == LIBRARY else ("-O0",)  # one made wrong on purpose is only to be built fast
        if sources not in folders:
            folders[sources] = tmp_path_factory.mktemp("c")
            make(folders[sources], sources, f"OPTIMIZE={' '.join(flags)}")
        if (sources, name) not in programs:
            files = (PROGRAMS / f"{name}.c", *more)
            programs[sources, name] = _runner([link(folders[sources], ("cc", *flags), sources, files)])
        return programs[sources, name]

    return program


@pytest.fixture(scope="session")
def cortex_m4_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library built for a Cortex-M4, with the stack use of each function beside it (.su)."""
    reason = missing(*CORTEX_M4_TOOLS)
    if reason:
        pytest.skip(f"{reason}: no test on a Cortex-M4 ({CORTEX_M4_PACKAGES})")
    folder = tmp_path_factory.mktemp("cortex_m4")
    make_for_cortex_m4(folder)
    return folder


@pytest.fixture(scope="session")
def cortex_m4_program(cortex_m4_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """As c_program, on an emulated Cortex-M4 without an operating system; `options` are QEMU's."""

    def program(name: str, sources: Path = LIBRARY, options: Sequence[str] = ()) -> Run:
        folder = cortex_m4_library
        if sources != LIBRARY:
            folder = tmp_path_factory.mktemp("changed")
            make_for_cortex_m4(folder, sources)
        binary = link_for_cortex_m4(folder, name, sources)
        return _runner([*QEMU, *SEMIHOSTING, *options, "-kernel", binary])

    return program


@pytest.fixture(params=["host", "cortex-m4"])
def c_anywhere(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Return a function: name of a program, sources of the library -> its Run.

    Under the sanitizers, and then on an emulated Cortex-M4.
    """
    name = {"host": "c_program", "cortex-m4": "cortex_m4_program"}[request.param]
    program: Callable[..., Run] = request.getfixturevalue(name)
    return program


@pytest.fixture(scope="session")
def c_scale() -> int:
    """How many times the default number of random trials to make; ECG_EDGE_C_SCALE sets it."""
    return int(os.environ.get("ECG_EDGE_C_SCALE", "1"))


@pytest.fixture
def c_with_change(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Return a function that copies the library with one text in one file replaced, and returns the folder."""

    def change(file: str, old: str, new: str) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(LIBRARY, folder)
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))
        return folder

    return change
