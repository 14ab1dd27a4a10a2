"""The C library, built under the sanitizers or for a Cortex-M4, and programs around it that use stdin and stdout."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "firmware_bridge" / "c"
PROGRAMS = Path(__file__).parent / "c_programs"
SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb")
CORTEX_M4_PROGRAM = ("--specs=rdimon.specs", f"-T{PROGRAMS / 'cortex_m.ld'}", str(PROGRAMS / "cortex_m_start.c"))
QEMU = ("qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "null")
SEMIHOSTING = ("-semihosting-config", "enable=on,target=native")  # the programs' stdin and stdout are ours
TIME_LIMIT = 600  # seconds that one program may run; the default trials take a few

Run = Callable[[bytes], tuple[bytes, bytes]]
"""Takes stdin, gives stdout and stderr; fails where the program does."""


def _missing(*tools: str) -> str:
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f"no {' and no '.join(absent)} on this machine" if absent else ""


def _make(folder: Path, sources: Path, *settings: str) -> None:
    """Build the library in `sources` as folder/libecg.a."""
    command = ["make", "-j2", "-s", "-f", str(sources / "Makefile"), f"BUILD={folder}", *settings]
    subprocess.run(command, check=True, timeout=TIME_LIMIT)


def _compile(folder: Path, compiler: Sequence[str], sources: Path, files: Sequence[Path | str]) -> Path:
    """Link `files` with folder/libecg.a and return the program."""
    binary = folder / Path(files[0]).stem
    includes = (f"-I{sources}", f"-I{sources / 'examples'}")
    command = [*compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", *includes, *map(str, files)]
    subprocess.run([*command, str(folder / "libecg.a"), "-o", str(binary)], check=True, timeout=TIME_LIMIT)
    return binary


def _runner(command: Sequence[str | Path]) -> Run:
    def run(data: bytes) -> tuple[bytes, bytes]:
        done = subprocess.run(command, input=data, capture_output=True, timeout=TIME_LIMIT)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout, done.stderr

    return run


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Return a function: name of a program in c_programs, sources of the library, more files to link -> its Run."""
    reason = _missing("cc", "make")
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
            _make(folders[sources], sources, f"OPTIMIZE={' '.join(flags)}")
        if (sources, name) not in programs:
            files = (PROGRAMS / f"{name}.c", *more)
            programs[sources, name] = _runner([_compile(folders[sources], ("cc", *flags), sources, files)])
        return programs[sources, name]

    return program


@pytest.fixture(scope="session")
def cortex_m4_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library built for a Cortex-M4, with the stack use of each function beside it (.su)."""
    reason = _missing("make", "arm-none-eabi-gcc", "qemu-system-arm")
    if reason:
        pytest.skip(
            f"{reason}: no test on a Cortex-M4 (Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm)"
        )
    return _make_for_cortex_m4(tmp_path_factory.mktemp("cortex_m4"), LIBRARY)


def _make_for_cortex_m4(folder: Path, sources: Path) -> Path:
    _make(folder, sources, "CROSS=arm-none-eabi-", f"TARGET={' '.join(CORTEX_M4)}", "EXTRA=-fstack-usage")
    return folder


@pytest.fixture(scope="session")
def cortex_m4_program(cortex_m4_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """As c_program, on an emulated Cortex-M4 without an operating system; `options` are QEMU's."""

    def program(name: str, sources: Path = LIBRARY, options: Sequence[str] = ()) -> Run:
        changed = sources != LIBRARY
        folder = _make_for_cortex_m4(tmp_path_factory.mktemp("changed"), sources) if changed else cortex_m4_library
        compiler = ("arm-none-eabi-gcc", *CORTEX_M4, "-O2")
        binary = _compile(folder, compiler, sources, (PROGRAMS / f"{name}.c", *CORTEX_M4_PROGRAM))
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
