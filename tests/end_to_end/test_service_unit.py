"""`ecg-edge stream` as systemd runs it: told when ready, fed while data flow or are waited for, told of the end."""

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.firmware_bridge.device import SimulatedDevice
from ecg_edge.runtime.sources.records import read_recording

from ..runtime.test_systemd import Manager

PATIENCE_S = 60.0
DOCS = Path(__file__).resolve().parents[2] / "docs" / "service.md"


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """systemd's end, for processes that are started from here."""
    with tempfile.TemporaryDirectory() as folder:
        made = Manager(str(Path(folder) / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", made.address)
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        yield made
        made.close()


def test_a_service_s_life(process: Any, bundle: Path, record: Path, manager: Manager, tmp_path: Path) -> None:
    link = tmp_path / "board"
    board = SimulatedDevice(read_recording(record), speed=1.0, link=link)
    child = process("stream", "--device", link, "--json", "--bundle", bundle)
    heard: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while "READY=1" not in heard or heard.count("WATCHDOG=1") < 3:
        assert time.monotonic() < deadline
        heard += manager.heard()
    board.close()  # the cable is out
    while not any(text.startswith("STATUS=link lost: lost the link to") for text in heard):
        assert time.monotonic() < deadline
        heard += manager.heard()
    manager.heard()
    time.sleep(1.5)
    assert manager.heard().count("WATCHDOG=1") >= 3, "waiting for a cable is no hanging"
    child.send_signal(signal.SIGSTOP)  # now it hangs
    manager.heard()
    time.sleep(1.5)
    assert manager.heard() == []
    child.send_signal(signal.SIGCONT)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, err) == (0, "")
    assert '"summary"' in out.splitlines()[-1]
    assert manager.heard()[-1] == "STOPPING=1"


def test_a_recording_is_no_service(process: Any, bundle: Path, record: Path, manager: Manager) -> None:
    assert process("replay", record, "--bundle", bundle).wait(PATIENCE_S) == 0
    assert manager.heard() == []


def test_the_unit_in_the_documentation(tmp_path: Path) -> None:
    (unit,) = re.findall(r"```ini\n(\[Unit\].*?)```", DOCS.read_text(), re.DOTALL)
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    assert settings["Type"] == "notify"
    # An attempt to connect to a socket may take 5 s, and a sign of life is due four times a period.
    assert int(settings["WatchdogSec"].removesuffix("s")) >= 20
    assert settings["KillSignal"] == "SIGTERM"
    verify = shutil.which("systemd-analyze")
    if verify:
        path = tmp_path / "ecg-edge.service"
        path.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", unit))
        done = subprocess.run([verify, "verify", path], capture_output=True, text=True, check=False)
        assert "ecg-edge.service" not in done.stderr, done.stderr
