"""Builds the C library, and programs around it that use stdin and stdout, for this machine or for a Cortex-M4."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "firmware_bridge" / "c"
PROGRAMS = Path(__file__).parent / "c_programs"
SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb")
CORTEX_M4_TOOLS = ("make", "arm-none-eabi-gcc", "qemu-system-arm")
CORTEX_M4_PACKAGES = "Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
QEMU = ("qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "null")
SEMIHOSTING = ("-semihosting-config", "enable=on,target=native")  # the programs' stdin and stdout are ours
TIME_LIMIT = 600  # seconds that one program may run; the default trials take a few


def missing(*tools: str) -> str:
    """Return which of the tools are not on this machine, in words; empty where all are."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f"no {' and no '.join(absent)} on this machine" if absent else ""


def make(folder: Path, sources: Path, *settings: str) -> None:
    """Build the library in `sources` as folder/libecg.a."""
    command = ["make", "-j2", "-s", "-f", str(sources / "Makefile"), f"BUILD={folder}", *settings]
    subprocess.run(command, check=True, timeout=TIME_LIMIT)


def make_for_cortex_m4(folder: Path, sources: Path = LIBRARY) -> None:
    """Build the library for a Cortex-M4, with the stack use of each function beside it (.su)."""
    make(folder, sources, "CROSS=arm-none-eabi-", f"TARGET={' '.join(CORTEX_M4)}", "EXTRA=-fstack-usage")


def link(folder: Path, compiler: Sequence[str], sources: Path, files: Sequence[Path | str]) -> Path:
    """Link `files` with folder/libecg.a and return the program."""
    binary = folder / Path(files[0]).stem
    includes = (f"-I{sources}", f"-I{sources / 'examples'}")
    command = [*compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", *includes, *map(str, files)]
    subprocess.run([*command, str(folder / "libecg.a"), "-o", str(binary)], check=True, timeout=TIME_LIMIT)
    return binary


def link_for_cortex_m4(folder: Path, name: str, sources: Path = LIBRARY) -> Path:
    """Link c_programs/name.c for QEMU's board without an operating system, and return the program."""
    script = f"-T{PROGRAMS / 'cortex_m.ld'}"
    files = (PROGRAMS / f"{name}.c", "--specs=rdimon.specs", script, PROGRAMS / "cortex_m_start.c")
    return link(folder, ("arm-none-eabi-gcc", *CORTEX_M4, "-O2"), sources, files)
