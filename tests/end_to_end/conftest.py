"""What the end-to-end tests share: a bundle, recordings as files, and the command line as its user meets it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.runtime import events
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.sources.records import write_recording

Lines = list[dict[str, Any]]

COMMAND = (sys.executable, "-m", "ecg_edge.runtime.cli.main")
TIMEOUT_S = 120  # generous: a busy machine is slow and not wrong


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle that reacts to the signal."""
    folder: Path = tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")
    return folder


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a record of 30 s, 8 leads at 250 Hz, with rhythms that differ in amplitude and V2 off for 4 s."""
    episodes = (Episode("sinus rhythm", 12), Episode("ventricular tachycardia", 10), Episode("sinus rhythm", 8))
    simulated = simulate(episodes, rate=250, seed=3, lead_off=[("V2", 20, 24)], name="half_minute")
    return write_recording(simulated.recording, tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="session")
def short_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a record of 3 s, too short for a diagnosis."""
    simulated = simulate([Episode("sinus rhythm", 3)], rate=250, seed=4, name="three_seconds")
    return write_recording(simulated.recording, tmp_path_factory.mktemp("records"))


@dataclass(frozen=True)
class Done:
    """How a run of the command line ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Return a function that runs the command line in this process, which spares its start."""

    def run(*arguments: str | Path, stdin: str | bytes = b"") -> Done:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        with TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            monkeypatch.setattr(sys, "stdin", TextIOWrapper(file))
            capsys.readouterr()
            try:
                status = main(list(map(str, arguments)))
            except SystemExit as end:  # argparse ends the process itself
                status = end.code if isinstance(end.code, int) else -1
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def process() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Return a function that starts the command line in a process of its own, which ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> "subprocess.Popen[str]":
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        child = subprocess.Popen([*COMMAND, *map(str, arguments)], **pipes, text=True)  # type: ignore[call-overload]
        started.append(child)
        return child  # type: ignore[no-any-return]

    yield start
    for child in started:
        child.kill()
        child.communicate(timeout=TIMEOUT_S)


@pytest.fixture(scope="session")
def lines_of() -> Callable[[str], Lines]:
    """Return a function that reads the lines of a run and checks what every run must keep to."""

    def read(output: str) -> Lines:
        found: Lines = [json.loads(line) for line in output.splitlines()]
        for line in found:
            events.validate(line)
        assert [line["seq"] for line in found] == list(range(len(found)))
        assert [line["type"] for line in found].count("summary") == 1
        assert found[-1]["type"] == "summary"
        return found

    return read


@pytest.fixture(scope="session")
def of_signal() -> Callable[[Lines], Lines]:
    """Return a function that leaves out what depends on the clock, the machine and the link."""

    def strip(lines: Sequence[dict[str, Any]]) -> Lines:
        kept: Lines = []
        for line in lines:
            bare = {k: v for k, v in line.items() if k not in events.EVENT_FIELDS_OF_MACHINE}
            if "losses" in bare:
                bare["losses"] = {k: v for k, v in bare["losses"].items() if not k.startswith(("link_", "frames_"))}
            kept.append(bare)
        return kept

    return strip
