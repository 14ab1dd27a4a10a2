"""A device on a link in time: signs of life, when samples were taken, and what is still delivered at the end."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.device_clock import ClockReading
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.protocol import Hello, Message, Samples, State, Status, encode_packet
from ecg_edge.firmware_bridge.transport import LinkLost
from ecg_edge.runtime.sources import device
from ecg_edge.runtime.sources.device import DeviceSource
from ecg_edge.runtime.sources.items import Chunk, Item, Notice, Tick

RATE = 500
HELLO = Hello(RATE, 1_000_000, ("I", "II"), "test board")
FRAMES = 10


class Link:
    """A link whose reads are scripted: bytes, silence, or its loss. After the script there is silence."""

    name = "test"

    def __init__(self, script: Iterator[bytes]) -> None:
        self._script = script
        self.reads = 0

    def read(self, _max_bytes: int, timeout_s: float) -> bytes:
        self.reads += 1
        data = next(self._script, b"")
        if not data:
            time.sleep(min(timeout_s, 0.002))
        return data

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Sender:
    """Numbers packets."""

    def __init__(self) -> None:
        self._sequence = 0

    def say(self, message: Message, time_us: int = 0) -> bytes:
        self._sequence += 1
        return encode_packet(message, self._sequence - 1 & 0xFFFF, time_us)

    def samples(self, index: int, time_us: int | None = None) -> bytes:
        counts = np.arange(index, index + FRAMES, dtype=np.int32)[:, None].repeat(2, axis=1)
        return self.say(Samples(index, counts, 0), index * 1_000_000 // RATE if time_us is None else time_us)


def source_of(*scripts: Iterator[bytes], **options: Any) -> DeviceSource:
    links = iter(scripts)

    def open_link() -> Link:
        script = next(links, None)
        if script is None:
            raise EcgEdgeError("nothing there")
        return Link(script)

    return DeviceSource("test", open_link=open_link, **options)


def run(source: DeviceSource, until: Callable[[Item], bool] = lambda _: False) -> list[Item]:
    stop = threading.Event()
    watchdog = threading.Timer(60, stop.set)
    watchdog.start()
    found = []
    for item in source.items(stop):
        found.append(item)
        if until(item):
            stop.set()
    assert watchdog.is_alive(), "it never ended"
    watchdog.cancel()
    return found


def frames(items: list[Item]) -> list[int]:
    return [int(n) for i in items if isinstance(i, Chunk) for n in i.counts[:, 0]]


def test_signs_of_life_in_silence_and_while_the_link_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "READ_TIMEOUT_S", 0.02)
    monkeypatch.setattr(device, "TICK_S", 0.05)
    monkeypatch.setattr(device, "RETRY_S", (0.5,))
    sender = Sender()

    def first() -> Iterator[bytes]:
        yield sender.say(HELLO) + sender.samples(0)
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            yield b""
        raise LinkLost("cable out")

    def second() -> Iterator[bytes]:
        yield sender.samples(10) + sender.say(Status(State.ENDED))

    items = run(source_of(first(), second()))
    (lost,) = (k for k, i in enumerate(items) if isinstance(i, Notice) and i.code == "link_lost")
    assert sum(isinstance(i, Tick) for i in items[:lost]) >= 3
    assert sum(isinstance(i, Tick) for i in items[lost:]) >= 3, "a lost link is waited for, which is no hanging"
    assert frames(items) == list(range(20))


def test_a_hung_reader_gives_no_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that does not come back is silence at first; then the link cannot be opened anew, and all stands still."""
    monkeypatch.setattr(device, "READ_TIMEOUT_S", 0.02)
    monkeypatch.setattr(device, "SILENCE_S", 0.1)
    monkeypatch.setattr(device, "REOPEN_S", 0.3)
    released = threading.Event()
    sender = Sender()

    def hangs() -> Iterator[bytes]:
        yield sender.say(HELLO) + sender.samples(0)
        released.wait(60)

    stop = threading.Event()
    items: list[Item] = []
    source = source_of(hangs())
    thread = threading.Thread(target=lambda: items.extend(source.items(stop)), daemon=True)
    thread.start()
    time.sleep(2.0)
    before = len(items)
    assert any(isinstance(item, Tick) for item in items)
    time.sleep(0.5)
    assert len(items) == before
    stop.set()
    released.set()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("bound", [256, 4])
def test_what_was_received_before_a_stop_is_delivered(monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    """Whoever takes the items is slow: the queue, the reader's hand and the system hold more when the stop comes."""
    monkeypatch.setattr(device, "QUEUE_READS", bound)
    sender = Sender()
    count = 60  # reads, fewer than LAST_READS
    script = (b"".join((sender.say(HELLO) if k == 0 else b"", sender.samples(k * FRAMES))) for k in range(count))
    slow = [False]

    def stop_at_the_first(item: Item) -> bool:
        if isinstance(item, Chunk) and not slow[0]:
            slow[0] = True
            time.sleep(0.3)
            return True
        return False

    items = run(source_of(script), stop_at_the_first)
    assert frames(items) == list(range(count * FRAMES))


def test_a_device_that_never_stops_does_not_hold_up_the_end() -> None:
    sender = Sender()

    def endless() -> Iterator[bytes]:
        yield sender.say(HELLO)
        for k in range(10**9):
            yield sender.samples(k * FRAMES)

    items = run(source_of(endless()), lambda item: isinstance(item, Chunk))
    assert len(frames(items)) <= (device.QUEUE_READS + device.LAST_READS + 2) * FRAMES


def chunks_at(monkeypatch: pytest.MonkeyPatch, packets: list[tuple[bytes, float]]) -> list[Item]:
    """Return the items of packets that arrive at the times given."""
    sender = Sender()
    source = source_of(iter(()))
    monkeypatch.setattr(device.time, "monotonic", lambda: 0.0)
    found = list(source._received(sender.say(HELLO), 0.0))
    for data, at in packets:
        found += source._received(data, at)
    return found


@pytest.mark.parametrize("wraps", [False, True])
def test_samples_have_the_time_at_which_they_were_taken(monkeypatch: pytest.MonkeyPatch, wraps: bool) -> None:
    """Four minutes of a device 80 ppm fast, over a link that delays; with a firmware that counts time in 32 bits."""
    rng = np.random.default_rng(1)
    sender = Sender()
    sender.say(HELLO)
    packets, true = [], []
    begun = 2**32 - 60 * 10**6 if wraps else 0
    for k in range(12_000):
        moment = 1000.0 + (k + 1) * FRAMES / RATE / (1 + 80e-6)
        time_us = begun + k * FRAMES * 1_000_000 // RATE
        packets.append((sender.samples(k * FRAMES, time_us % 2**32 if wraps else time_us), moment))
        true.append(moment)
    delays = 0.002 + rng.exponential(0.01, len(true))
    arrivals = np.maximum.accumulate(np.array(true) + delays)
    items = chunks_at(monkeypatch, [(data, float(at)) for (data, _), at in zip(packets, arrivals, strict=True)])
    chunks = [i for i in items if isinstance(i, Chunk)]
    errors = np.array([c.sampled - t for c, t in zip(chunks, true, strict=True)])  # type: ignore[operator]
    assert np.abs(errors[len(errors) // 3 :] - 0.002).max() < 0.005
    assert max(c.at - t for c, t in zip(chunks, true, strict=True)) > 0.08, "which is what the arrival is off by"
    last = [i for i in items if isinstance(i, ClockReading)][-1]
    assert last.drift_ppm == pytest.approx(80, abs=25)
