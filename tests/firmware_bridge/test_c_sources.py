"""The C sources as someone finds them who copies them into a project."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "firmware_bridge" / "c"
SOURCES = sorted([*LIBRARY.glob("*.[ch]"), *LIBRARY.glob("*/*.[ch]")])
HEADERS = [path for path in SOURCES if path.suffix == ".h"]
LIBC = {"stddef.h", "stdint.h", "string.h"}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parent == LIBRARY], ids=lambda path: path.name)
def test_nothing_is_included_but_the_library_and_three_headers(path: Path) -> None:
    system = set(re.findall(r"#include <(.*)>", path.read_text()))
    own = set(re.findall(r'#include "(.*)"', path.read_text()))
    assert system <= LIBC
    assert own <= {header.name for header in HEADERS if header.parent == LIBRARY}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_line_is_too_long(path: Path) -> None:
    assert max(map(len, path.read_text().splitlines())) <= 100


@pytest.mark.parametrize("path", HEADERS, ids=lambda path: path.name)
def test_every_header_stands_alone_in_c_and_in_cpp(path: Path) -> None:
    for compiler, standard, language in (("cc", "c99", "c"), ("c++", "c++11", "c++")):
        if shutil.which(compiler) is None:
            pytest.skip(f"no {compiler} on this machine")
        command = [compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
        command += [f"-I{path.parent}", "-x", language, "-"]
        subprocess.run(command, input=f'#include "{path.name}"\n', text=True, check=True, timeout=60)


@pytest.mark.parametrize("path", [*HEADERS, LIBRARY / "README.md"], ids=lambda path: path.name)
def test_what_the_headers_and_the_readme_name_is_there(path: Path) -> None:
    """Every ecg_ or ECG_ name that they mention is in a header or begins the name of a file."""
    there = " ".join(header.read_text() for header in HEADERS if header != path) + " ".join(p.name for p in SOURCES)
    code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL) if path in HEADERS else ""
    names = set(re.findall(r"\b(?:ecg_[a-z0-9_]*[a-z0-9]|ECG_[A-Z0-9_]*[A-Z0-9])\b", path.read_text()))
    examples = {"ecg_edge", "ECG_EDGE_C_SCALE", "ecg_resampler_400"}
    assert {name for name in names - examples if name not in there + code} == set()
