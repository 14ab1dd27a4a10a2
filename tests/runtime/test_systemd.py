"""What systemd is told, over a real datagram socket."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime import systemd
from ecg_edge.runtime.systemd import Notifier


class Manager:
    """systemd's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0.05)

    def heard(self) -> list[str]:
        found = []
        try:
            while True:
                found.append(self._socket.recv(4096).decode())
        except TimeoutError:
            return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    with tempfile.TemporaryDirectory() as folder:  # shorter than tmp_path: a socket's path has 108 bytes at most
        abstract = f"@ecg-edge-test-{os.getpid()}"
        made = Manager(abstract if request.param == "abstract" else str(Path(folder) / "notify"))
        yield made
        made.close()


def test_a_life(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"})
    notifier.ready()
    notifier.alive(lambda: "12 s of signal\nand a line")
    notifier.stopping()
    assert manager.heard() == ["READY=1", "WATCHDOG=1", "STATUS=12 s of signal and a line", "STOPPING=1"]
    notifier.close()
    notifier.stopping()
    assert manager.heard() == []


def test_the_watchdog_is_fed_four_times_a_period_and_not_with_each_chunk(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": str(os.getpid())})
    begun = time.monotonic()
    while time.monotonic() - begun < 1.0:
        notifier.alive(lambda: "")
        time.sleep(0.002)
    assert 3 <= manager.heard().count("WATCHDOG=1") <= 11


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}])
def test_no_watchdog_is_fed_that_is_not_ours(manager: Manager, more: dict[str, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address} | more)
    notifier.alive(lambda: "fine")
    assert manager.heard() == ["STATUS=fine"]


def test_without_a_manager_nothing_is_told() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "400000"})
    notifier.ready()
    notifier.alive(lambda: pytest.fail("asked for nobody"))
    notifier.tell("fine")
    notifier.stopping()


def test_a_manager_that_is_not_there() -> None:
    with pytest.raises(EcgEdgeError, match=r"NOTIFY_SOCKET names /nowhere/notify.*run under systemd, or unset it"):
        Notifier({"NOTIFY_SOCKET": "/nowhere/notify"})


def test_a_manager_that_does_not_read_holds_nothing_up(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "FEED_SHARE", 0.0)
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"})
    begun = time.monotonic()
    for _ in range(1000):  # the socket takes ten or so
        notifier.alive(lambda: "x" * 1000)
    assert time.monotonic() - begun < 10
    manager.heard()
    notifier.tell("later")
    assert manager.heard() == ["STATUS=later"]
