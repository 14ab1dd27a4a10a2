"""The package as installed: what it imports, who imports whom, what it lists, what it explains."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("firmware_bridge", "runtime", "train", "export")
"""From what needs least to what needs most: each may import itself and those before it."""

HEAVY = ("torch", "scipy", "wfdb", "pandas", "matplotlib", "onnx", "tqdm", "hypothesis", "pytest")
"""What a device must do without."""

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> Iterator[str]:
    """Yield the absolute name of every module that a file imports anywhere in it."""
    here = ["ecg_edge", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "work",
    [
        "import ecg_edge.runtime.engine",
        "import ecg_edge.firmware_bridge.device, ecg_edge.runtime.cli.stream",
        "from ecg_edge.runtime.cli.main import main; assert main(['--help']) == 0",
        "from ecg_edge.runtime.cli.main import main\ntry: main(['replay', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_a_device_needs_nothing_heavy(work: str) -> None:
    script = f"import sys, json\n{work}\nprint(); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120, check=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    assert "ecg_edge.runtime" in modules
    assert {name.partition(".")[0] for name in modules}.isdisjoint(HEAVY)
    if "'--help'" in work and "replay" not in work:
        assert "numpy" not in modules, "the list of commands is there at once"


def test_sources_were_found() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = PACKAGES.index(path.relative_to(ROOT).parts[0])
    for name in imported(path):
        parts = name.split(".")
        assert parts[0] not in (*PACKAGES, "tests"), f"{name}: not in the namespace"
        if parts[0] == "ecg_edge" and len(parts) > 1:
            assert PACKAGES.index(parts[1]) <= own, f"{path} imports {name}"
        if own <= PACKAGES.index("runtime"):
            assert parts[0] not in HEAVY, f"{path} imports {name}, which a device lacks"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_is_public_is_explained(path: Path) -> None:
    tree = parsed(path)
    bare: list[str] = [] if ast.get_docstring(tree) or not tree.body else ["the module"]

    def look(body: list[ast.stmt], within: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                if not ast.get_docstring(node) and not overridden(node):
                    bare.append(within + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node.body, f"{node.name}.")

    look(tree.body, "")
    assert not bare, f"{path.relative_to(ROOT)}: no docstring: {', '.join(bare)}"


def overridden(node: ast.stmt) -> bool:
    """Return whether a definition only implements what is explained elsewhere."""
    decorators = getattr(node, "decorator_list", [])
    return any("override" in ast.dump(d) or "overload" in ast.dump(d) for d in decorators)


def test_every_package_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    there = {
        ".".join(["ecg_edge", *path.parent.relative_to(ROOT).parts]) for path in FILES if path.name == "__init__.py"
    }
    assert set(project["tool"]["setuptools"]["packages"]) == there
    folders = project["tool"]["setuptools"]["package-dir"]
    assert folders == {f"ecg_edge.{name}": name for name in PACKAGES}
    lost = [p for p in FILES if not (p.parent / "__init__.py").is_file()]
    assert not lost, "a folder without __init__.py is not installed"


def test_every_preset_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["ecg_edge.train"]
    installed = {path for pattern in patterns for path in (ROOT / "train").glob(pattern)}
    presets = set((ROOT / "train" / "presets").rglob("*.toml"))
    assert {path.parent.name for path in presets} == {"distill", "finetune", "pretrain", "study", "trees"}
    assert presets <= installed


def test_every_command_is_there() -> None:
    from ecg_edge.runtime.cli.main import COMMANDS

    for name, (module, _) in COMMANDS.items():
        path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
        assert path.is_file(), f"{name}: no {path}"
        defined = {node.name for node in parsed(path).body if isinstance(node, ast.FunctionDef)}
        assert {"add_arguments", "run"} <= defined, name


def test_every_extra_brings_what_it_promises() -> None:
    from ecg_edge.runtime.cli.main import EXTRAS

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for module, extra in EXTRAS.items():
        assert any(line.startswith(module) for line in extras[extra]), f"{extra} does not bring {module}"


def test_version(cli: Any) -> None:
    done = cli("--version")
    assert (done.status, done.err) == (0, "")
    assert done.out == f"ecg-edge {version('ecg-edge')}\n"


def test_no_command_is_wrong_use_with_help(cli: Any) -> None:
    done = cli()
    assert done.status == 2
    assert "replay demo" in done.out
    assert cli("--help").status == 0
