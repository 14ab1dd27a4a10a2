"""Sinks behind queues, and the store: what is kept, what is dropped, and that nobody waits for another."""

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.events import Alert, Event, Status, Summary, Technical, to_json
from ecg_edge.runtime.sinks import Undelivered, forward, queued
from ecg_edge.runtime.sinks import store as store_module
from ecg_edge.runtime.sinks.backlog import Backlog
from ecg_edge.runtime.sinks.forward import Refused, StoreAndForward
from ecg_edge.runtime.sinks.queued import QueuedSink
from ecg_edge.runtime.sinks.store import Message, Store

PATIENCE_S = 60.0  # a busy machine is slow and not wrong


def status(seq: int) -> Status:
    return Status(seq=seq, time=seq, quality=1.0, leads=("II",))


def technical(seq: int) -> Technical:
    return Technical(seq=seq, time=seq, code="gap", phase="once", message="gone")


def alert(seq: int, phase: str = "new") -> Alert:
    more: dict[str, Any] = {"reason": "below"} if phase == "end" else {}
    return Alert(
        seq=seq, time=seq, id="AF-1", phase=phase, kind="rule", label="AF", priority="high", onset=0, leads=("II",),
        quality=1.0, **more,
    )  # fmt: skip


def summary(seq: int) -> Summary:
    windows = {"analyzed": 0, "skipped": 0, "unusable": 0}
    return Summary(seq=seq, time=seq, signal_s=1, windows=windows, alerts={}, losses={}, leads=())


def numbers(events: Sequence[Any]) -> list[int]:
    return [json.loads(e.line)["seq"] if isinstance(e, Message) else e.seq for e in events]


def until(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Gate:
    """A sink that hangs until it is let go, and fails when told to."""

    def __init__(self, *failures: Exception) -> None:
        self.events: list[Event] = []
        self.open = threading.Event()
        self.failures = list(failures)
        self.closed = False

    def emit(self, event: Event) -> None:
        self.open.wait(PATIENCE_S)
        if self.failures:
            raise self.failures.pop(0)
        self.events.append(event)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pauses between attempts short."""
    monkeypatch.setattr(queued, "RETRY_S", (0.01,))


@pytest.fixture
def made() -> Iterator[list[Any]]:
    """Return a list whose sinks are closed in the end."""
    sinks: list[Any] = []
    yield sinks
    for sink in sinks:
        sink.close()


def test_what_matters_least_goes_first() -> None:
    backlog = Backlog(4)
    for event in (status(0), alert(1), status(2), technical(3), alert(4, "update"), alert(5, "end")):
        backlog.add(event)
    assert backlog.dropped == 2, "both statuses, though they are not the oldest"
    backlog.add(status(6))
    assert backlog.dropped == 3, "what comes last may matter least"
    backlog.add(summary(7))
    assert numbers(backlog.take(9)) == [1, 4, 5, 7]
    for n in range(6):
        backlog.add(alert(n))
    assert numbers(backlog.take(9)) == [2, 3, 4, 5], "the oldest of what matters alike"
    for n in range(3):
        backlog.add(alert(n))
    backlog.put_back([alert(8), status(9)])
    assert numbers(backlog.take(9)) == [8, 0, 1, 2]


def test_a_sink_that_hangs_delays_no_other(made: list[Any]) -> None:
    hung, other = Gate(), Gate()
    other.open.set()
    made += [QueuedSink("hung", hung, limit=10), QueuedSink("other", other)]
    for sink in made:
        sink.emit(status(0))
    until(lambda: made[0]._taken)  # it hangs over the first
    begun = time.monotonic()
    for n in range(1, 500):
        for sink in made:
            sink.emit(alert(n) if n % 100 == 99 else status(n))
    assert time.monotonic() - begun < 30.0, "the gate would be shut for longer"
    made[1].settle(PATIENCE_S)
    assert numbers(other.events) == list(range(500))
    account = made[0].accounts()["hung"]
    assert (account.delivered, account.held, account.dropped) == (0, 11, 489)
    hung.open.set()
    made[0].settle(PATIENCE_S)
    assert [n for n in numbers(hung.events) if n % 100 == 99] == [99, 199, 299, 399, 499], "no alert was lost"
    account = made[0].accounts()["hung"]
    assert (account.delivered, account.held, account.dropped) == (11, 0, 489)


def test_only_some_types(made: list[Any]) -> None:
    sink = Gate()
    sink.open.set()
    made.append(QueuedSink("alerts", sink, types=("alert",)))
    for event in (status(0), alert(1), technical(2), summary(3)):
        made[0].emit(event)
    made[0].settle(PATIENCE_S)
    assert numbers(sink.events) == [1]


def test_failures_are_counted_and_tried_again(made: list[Any], quick: None) -> None:
    sink = Gate(Undelivered("disk full"), Undelivered("disk full"), EcgEdgeError("no such program"), KeyError("bug"))
    made.append(QueuedSink("some", sink))
    made[0].emit(alert(0))
    sink.open.set()
    until(lambda: len(sink.failures) < 3)
    for n in range(1, 4):
        made[0].emit(alert(n))
    until(lambda: len(sink.events) == 2)
    made[0].settle(PATIENCE_S)
    account = made[0].accounts()["some"]
    assert account.failures == 4
    assert (account.delivered, account.dropped, account.held) == (2, 2, 0), "two that were not to be tried again"
    assert made[0].trouble is None
    assert numbers(sink.events) == [2, 3]


def test_a_sink_in_trouble_says_why(made: list[Any]) -> None:
    sink = Gate(Undelivered("disk full"))
    sink.open.set()
    made.append(QueuedSink("some", sink))
    made[0].emit(alert(0))
    made[0].settle(PATIENCE_S)
    assert made[0].trouble == "some: disk full"
    assert made[0].accounts()["some"].held == 1
    until(lambda: made[0].trouble is None)


@pytest.mark.parametrize("error", [EcgEdgeError("no space"), BrokenPipeError()])
def test_what_a_vital_sink_raises_ends_the_run(error: Exception) -> None:
    inner = Gate(error)
    sink = QueuedSink("stdout", inner, vital=True)
    sink.emit(status(0))
    inner.open.set()
    until(lambda: sink.trouble)
    with pytest.raises(type(error)):
        sink.emit(status(1))
    sink.close()
    assert inner.closed


def test_a_vital_sink_is_waited_for() -> None:
    inner = Gate()
    sink = QueuedSink("stdout", inner, vital=True)
    for n in range(5):
        sink.emit(status(n))
    threading.Timer(0.3, inner.open.set).start()
    sink.close()
    assert numbers(inner.events) == [0, 1, 2, 3, 4]


# The store


def test_the_store_keeps_order_and_survives(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ward.db"
    store = Store(path)
    store.add([alert(0), status(1)])
    store.add([alert(2)])
    assert numbers(store.first(2)) == [0, 1]
    assert store.first(1)[0].line == to_json(alert(0))
    with pytest.raises(EcgEdgeError, match="its own store"):
        Store(path)
    store.remove(store.first(2))
    assert len(store) == 1
    store.close()
    again = Store(path)
    assert (numbers(again.first(9)), len(again)) == ([2], 1)
    again.close()


def test_the_store_is_bounded_and_alerts_go_last(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db", limit=5)
    store.add([status(0), alert(1), technical(2), status(3)])
    store.add([alert(4), alert(5), alert(6)])
    assert numbers(store.first(9)) == [1, 2, 4, 5, 6]
    store.add([alert(7), alert(8), status(9)])
    assert numbers(store.first(9)) == [4, 5, 6, 7, 8]
    assert (len(store), store.dropped) == (5, 5)
    store.close()


def test_a_store_killed_at_any_moment(tmp_path: Path) -> None:
    """What `add` has returned from is there; what `remove` has is not."""
    import os
    import signal
    import subprocess

    code = (
        "import sys; from pathlib import Path\n"
        "from ecg_edge.runtime.sinks.store import Store; from ecg_edge.runtime.events import Status\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for n in range(10**6):\n"
        "    store.add([Status(seq=n, time=n, quality=1, leads=())]); print(n, flush=True)\n"
    )
    path = tmp_path / "s.db"
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        while int(child.stdout.readline()) < 50:
            pass
        os.kill(child.pid, signal.SIGKILL)
        told = [50, *map(int, child.stdout.read().split())]
    store = Store(path)
    kept = numbers(store.first(10**6))
    assert kept == list(range(len(kept)))
    assert len(kept) in (told[-1] + 1, told[-1] + 2)
    store.close()


def full_from_now(store: Store) -> None:
    """Let the database not grow by a page, as on a full disk."""
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_makes_the_store_a_queue_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "UNSAVED_EVENTS", 3)
    store = Store(tmp_path / "s.db")
    store.add([alert(0), alert(1)])
    full_from_now(store)
    long = [Technical(seq=n, time=n, code="gap", phase="once", message="m" * 5000) for n in range(2, 4)]
    store.add(long)
    assert store.trouble
    assert "full" in store.trouble
    store.add([alert(4), alert(5), alert(6)])
    assert (numbers(store.first(9)), len(store), store.dropped) == ([0, 1], 5, 2)
    store.remove(store.first(9))
    assert numbers(store.first(9)) == [4, 5, 6], "then what is only in memory"
    store.remove(store.first(1))
    store._database.execute("PRAGMA max_page_count = 100000")
    store.add([alert(7)])
    assert store.trouble is None
    assert (numbers(store.first(9)), len(store)) == ([5, 6, 7], 3)
    store.close()
    again = Store(tmp_path / "s.db")
    assert numbers(again.first(9)) == [5, 6, 7]
    again.close()


def test_a_damaged_store_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"not a database, for sure" * 500)
    store = Store(path)
    store.add([alert(0)])
    assert numbers(store.first(9)) == [0]
    store.close()
    assert path.with_name("s.db.damaged").exists()
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with pytest.raises(EcgEdgeError, match="cannot keep events in"):
        Store(tmp_path)


# Store and forward


class Receiver:
    """A courier whose receiver takes `most` at once, and fails as told."""

    def __init__(self, *failures: Exception, most: int = 100) -> None:
        self.failures, self.most = list(failures), most
        self.got: list[Message] = []
        self.open = threading.Event()
        self.closed = threading.Event()

    def look_after(self) -> None: ...

    def send(self, messages: Sequence[Message]) -> int:
        self.open.wait(PATIENCE_S)
        if self.failures:
            raise self.failures.pop(0)
        self.got += messages[: self.most]
        return min(self.most, len(messages))

    def close(self) -> None:
        self.closed.set()


def forwarding(tmp_path: Path, courier: Receiver) -> StoreAndForward:
    return StoreAndForward("ward", Store(tmp_path / "s.db"), courier, types=("alert", "status"))


def test_forwarded_in_order(tmp_path: Path, quick: None, made: list[Any]) -> None:
    courier = Receiver(Undelivered("no route"), Undelivered("no route"), Refused("bad"), RuntimeError("bug"), most=3)
    made.append(forwarding(tmp_path, courier))
    for n in range(10):
        made[0].emit(alert(n))
    courier.open.set()
    until(lambda: len(courier.got) == 9)
    made[0].settle(PATIENCE_S)
    assert numbers(courier.got) == list(range(1, 10)), "the first was refused"
    account = made[0].accounts()["ward"]
    assert (account.delivered, account.dropped, account.held, account.failures) == (9, 1, 0, 4)


def test_what_was_not_acknowledged_goes_to_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "IDLE_S", 0.05)
    hung = Receiver()
    sink = forwarding(tmp_path, hung)
    for n in range(5):
        sink.emit(alert(n))
    until(lambda: len(sink._store) == 5)
    until(lambda: sink.accounts()["ward"].held == 5)  # stored, while the receiver hangs
    sink.close()
    hung.failures.append(Undelivered("gone"))
    hung.open.set()
    until(hung.closed.is_set)
    until(lambda: not sink._sender.is_alive())
    courier = Receiver()
    courier.open.set()
    later = forwarding(tmp_path, courier)
    later.emit(alert(5))
    until(lambda: len(courier.got) == 6)
    later.close()
    assert numbers(courier.got) == list(range(6))


def test_a_dead_receiver_does_not_hold_up_the_end(tmp_path: Path, made: list[Any]) -> None:
    courier = Receiver(*[Undelivered("no route")] * 100)
    courier.open.set()
    made.append(forwarding(tmp_path, courier))
    made[0].emit(alert(0))
    until(lambda: made[0].trouble)
    made[0].emit(alert(1))
    begun = time.monotonic()
    made[0].settle(30.0)
    assert time.monotonic() - begun < 10.0
    assert len(made[0]._store) == 2, "what came last is stored all the same"
    assert made[0].trouble == "ward: no route"
