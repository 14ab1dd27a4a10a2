"""Silencing a running monitor through its socket."""

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.runtime.bundle import load
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.control import Control, ask
from ecg_edge.runtime.engine import Engine
from ecg_edge.runtime.events import Alert, Event, Technical, stamp, to_dict, validate
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.service import Monitor
from ecg_edge.runtime.sources.items import Chunk, Item, format_of


class Quiet:
    """A model that finds nothing."""

    name = "none"

    def logits(self, _signal: Any, _spectrogram: Any) -> np.ndarray:
        return np.full(3, -20.0, np.float32)


class Patient:
    """A source that gives seconds of signal as it is told to."""

    def __init__(self, recording: Any) -> None:
        self._recording = recording
        self._given = 0
        self.told = threading.Semaphore(0)

    def give(self, seconds: int) -> None:
        for _ in range(seconds):
            self.told.release()

    def items(self, stop: threading.Event) -> Iterator[Item]:
        r = self._recording
        yield format_of(r)
        while not stop.is_set():
            if self.told.acquire(timeout=0.05):
                part = r.counts[self._given : self._given + r.rate]
                self._given += r.rate
                yield Chunk(part, None, time.monotonic())
            else:
                yield Chunk(r.counts[:0], None, time.monotonic())  # as a live source ticks

    def losses(self) -> dict[str, int]:
        return {}


class Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass

    def alerts(self, label: str) -> list[tuple[str, Any]]:
        return [(e.phase, e.reason or e.acknowledged) for e in self.events if isinstance(e, Alert) and e.label == label]


@pytest.fixture
def running(tiny_bundle, tmp_path):
    """Yield the source, the events and the socket of a monitor whose patient goes into asystole after 20 s."""
    bundle = load(tiny_bundle(tmp_path / "tiny"))
    episodes = [Episode("sinus rhythm", 20), Episode("asystole", 20), Episode("sinus rhythm", 40)]
    source = Patient(simulate(episodes, rate=250, leads=("II",), seed=2).recording)
    kept, path = Kept(), tmp_path / "control"
    control = Control(path)
    monitor = Monitor(
        source, lambda f: Engine(bundle, Quiet(), load_policy(), f, rules=True), [kept], live=True, control=control
    )
    thread = threading.Thread(target=monitor.run)
    thread.start()
    yield source, kept, path
    monitor.stop.set()
    thread.join(timeout=30)
    control.close()
    assert not thread.is_alive()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_silencing_a_running_monitor(running, capsys):
    source, kept, path = running
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, "nobody else may silence"
    source.give(28)
    wait_for(lambda: kept.alerts("Asystole"))
    assert main(["silence", str(path)]) == 0
    assert capsys.readouterr().out == "alerts silenced for 120 s: Asystole\n"
    assert kept.alerts("Asystole") == [("new", None), ("update", True)]
    (account,) = [e for e in kept.events if isinstance(e, Technical) and e.code == "silenced"]
    assert account.counts == {"alerts": 1}
    for event in kept.events:
        validate(json.loads(json.dumps(to_dict(stamp(event, seq=0)))))
    source.give(52)
    wait_for(lambda: kept.alerts("Asystole")[-1][0] == "end")
    assert kept.alerts("Asystole")[2:] == [("end", "below")], "no reminder in silence, and no latch after it"
    assert main(["silence", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"answer": "alerts silenced for 120 s: none was open"}


def test_what_cannot_be_silenced_is_said(running, capsys):
    source, _, path = running
    source.give(3)
    assert main(["silence", str(path), "VG"]) == 1
    assert "no alert is called 'VG': use AF, Asystole," in capsys.readouterr().err
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.sendall(b"\xff\xfe reboot\n")
        assert peer.recv(100) == b"error say silence, and the labels it is about\n"
    with socket.socket(socket.AF_UNIX) as peer:  # one who says nothing does not keep the others waiting
        peer.connect(str(path))
        assert ask(path, ("VF",)) == "alerts silenced for 120 s: none was open"


def test_a_socket_is_not_taken_from_a_monitor_that_runs_and_is_from_one_that_was_killed(tmp_path):
    path = tmp_path / "control"
    with pytest.raises(EcgEdgeError, match=r"no monitor listens on .*start it with --control"):
        ask(path, ())
    first = Control(path)
    with pytest.raises(EcgEdgeError, match="is in use: name another path"):
        Control(path)
    first._socket.shutdown(socket.SHUT_RDWR)  # as if it had been killed: the file stays
    second = Control(path)
    second.close()
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(EcgEdgeError, match="is in use"):
        Control(path)
    assert path.read_text() == "mine"
    with pytest.raises(EcgEdgeError, match="name a short path in a folder that exists"):
        Control(Path(tmp_path / "no" / "such"))
