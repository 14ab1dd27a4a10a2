"""The C library, built under the sanitizers, and programs around it that speak over stdin and stdout."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "firmware_bridge" / "c"
PROGRAMS = Path(__file__).parent / "c_programs"
SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
TIME_LIMIT = 600  # seconds that one program may run; the default trials take a few

Run = Callable[[bytes], tuple[bytes, bytes]]
"""Takes stdin, gives stdout and stderr; fails where the program does."""


def _flags(sources: Path) -> tuple[str, ...]:
    return SANITIZE if sources == LIBRARY else ("-O0",)  # a library made wrong on purpose is only to be built fast


def _make(folder: Path, sources: Path) -> None:
    """Build the library in `sources` as folder/libecg.a."""
    for tool in ("cc", "make"):
        if shutil.which(tool) is None:
            reason = f"no {tool} on this machine: the C library cannot be built"
            if os.environ.get("CI", "").lower() in ("", "0", "false", "no"):
                pytest.skip(reason)
            pytest.fail(reason)
    command = ["make", "-j2", "-s", "-f", str(sources / "Makefile"), f"BUILD={folder}"]
    subprocess.run([*command, f"OPTIMIZE={' '.join(_flags(sources))}"], check=True, timeout=TIME_LIMIT)


def _program(folder: Path, sources: Path, files: tuple[Path, ...]) -> Run:
    """Link `files` with folder/libecg.a and return what runs them."""
    binary = folder / files[0].stem
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", *_flags(sources)]
    command += [f"-I{sources}", f"-I{sources / 'examples'}", *map(str, files), str(folder / "libecg.a")]
    subprocess.run([*command, "-o", str(binary)], check=True, timeout=TIME_LIMIT)

    def run(data: bytes) -> tuple[bytes, bytes]:
        done = subprocess.run([binary], input=data, capture_output=True, timeout=TIME_LIMIT)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout, done.stderr

    return run


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Return a function: name of a program in c_programs, sources of the library, more files to link -> its Run."""
    folders: dict[Path, Path] = {}
    programs: dict[tuple[Path, str], Run] = {}

    def program(name: str, sources: Path = LIBRARY, *more: Path) -> Run:
        if sources not in folders:
            folders[sources] = tmp_path_factory.mktemp("c")
            _make(folders[sources], sources)
        if (sources, name) not in programs:
            programs[sources, name] = _program(folders[sources], sources, (PROGRAMS / f"{name}.c", *more))
        return programs[sources, name]

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
