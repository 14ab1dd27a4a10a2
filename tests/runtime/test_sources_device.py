"""A device on a link as a source: boards that reboot, fall silent, vanish, and do not keep to the conversation."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.boards.choose import Choice
from ecg_edge.firmware_bridge.boards.cyton import CytonVoice
from ecg_edge.firmware_bridge.decoder import PacketDecoder
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.protocol import (
    Ack,
    Hello,
    Identify,
    Message,
    Packet,
    Result,
    Samples,
    Start,
    State,
    Status,
    Stop,
    encode_packet,
)
from ecg_edge.firmware_bridge.transport import LinkClosed, LinkLost
from ecg_edge.runtime.engine import StreamFormat
from ecg_edge.runtime.sources import device
from ecg_edge.runtime.sources.device import DeviceSource
from ecg_edge.runtime.sources.items import Chunk, Gap, Item, Notice, renamed

RATE = 500
HELLO = Hello(RATE, 1_000_000, ("I", "II"), "test board")
WATCHDOG_S = 60.0

Script = Callable[["Line"], Iterator[bytes]]


class Line:
    """A link with a scripted board at its end: each read takes the script's next piece, b"" for a moment's silence."""

    def __init__(self, script: Script, name: str = "/dev/test") -> None:
        self.name = name
        self.heard: list[Packet] = []
        self._decoder = PacketDecoder(keep_duplicates=True)
        self._script = script(self)
        self._sequence = 0

    def read(self, _max_bytes: int, _timeout_s: float) -> bytes:
        piece = next(self._script, b"")
        if not piece:
            time.sleep(0.002)
        return piece

    def write(self, data: bytes) -> None:
        self.heard += self._decoder.feed(data)

    def close(self) -> None:
        pass

    def say(self, message: Message, time_us: int = 0) -> bytes:
        """Return the board's next packet."""
        packet = encode_packet(message, self._sequence & 0xFFFF, time_us)
        self._sequence += 1
        return packet

    def starts(self) -> int:
        return sum(isinstance(packet.message, Start) for packet in self.heard)

    def started(self, times: int = 1) -> Iterator[bytes]:
        """Be idle until START has come so often, with a HELLO now and then; acknowledge it, and say HELLO."""
        turn = 0
        while self.starts() < times:
            yield self.say(HELLO) if turn % 10 == 0 else b""
            turn += 1
        yield self.say(Ack(Start.TYPE, self.heard[-1].sequence, Result.OK)) + self.say(HELLO)

    def samples(self, first: int, last: int) -> Iterator[bytes]:
        """Send frames `first` to `last` of a ramp, ten a packet."""
        for start in range(first, last, 10):
            stop = min(start + 10, last)
            yield self.say(Samples(start, ramp(start, stop), 0), start * 1_000_000 // RATE)

    def ended(self) -> bytes:
        return self.say(Status(State.ENDED))


def ramp(first: int, last: int) -> np.ndarray:
    return np.stack([np.arange(first, last), -np.arange(first, last)], axis=1).astype(np.int32)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Line]]:
    """Return a function that puts scripts behind the next links, one after the other; impatient waits."""
    monkeypatch.setattr(device, "COMMAND_EVERY_S", 0.05)
    monkeypatch.setattr(device, "RETRY_S", (0.01,))
    monkeypatch.setattr(device, "READ_TIMEOUT_S", 0.01)

    def put(*scripts: Script) -> list[Line]:
        lines: list[Line] = []

        def open_next(url: str, _baud: int) -> Line:
            if len(lines) == len(scripts):
                raise EcgEdgeError("nothing there")
            lines.append(Line(scripts[len(lines)], url))
            return lines[-1]

        monkeypatch.setattr(device, "open_transport", open_next)
        return lines

    return put


def run(source: DeviceSource, until: Callable[[Item], bool] = lambda _: False) -> list[Item]:
    """Return all items to the stream's end, or up to the one that ends it."""
    stop = threading.Event()
    watchdog = threading.Timer(WATCHDOG_S, stop.set)
    watchdog.start()
    found = []
    try:
        for item in source.items(stop):
            assert watchdog.is_alive(), "it never ended"
            found.append(item)
            if until(item):
                stop.set()
    finally:
        watchdog.cancel()
    return found


def frames(items: Sequence[Item]) -> np.ndarray:
    return np.concatenate([i.counts for i in items if isinstance(i, Chunk)])


def notices(items: Sequence[Item]) -> list[tuple[str, str]]:
    return [(i.code, i.phase) for i in items if isinstance(i, Notice)]


def whole_run(line: Line) -> Iterator[bytes]:
    yield from line.started()
    yield from line.samples(0, 100)
    yield line.ended()


def test_a_run_from_start_to_end(opened: Any) -> None:
    lines = opened(whole_run)
    source = DeviceSource("/dev/test", mains=50)
    items = run(source)
    assert items[0] == StreamFormat(RATE, ("I", "II"), 1_000_000, 50)
    assert (frames(items) == ramp(0, 100)).all()
    assert not any(isinstance(i, Gap | Notice) for i in items)
    assert set(source.losses().values()) == {0}
    assert isinstance(lines[0].heard[-1].message, Stop), "the board is left idle"


def test_start_is_repeated_until_it_is_acknowledged_and_not_after(opened: Any) -> None:
    def deaf_then_slow(line: Line) -> Iterator[bytes]:
        yield from line.started(times=3)
        until = time.monotonic() + 0.3  # six times COMMAND_EVERY_S: another START would begin the run again
        while time.monotonic() < until:
            yield b""
        yield from line.samples(0, 20)
        yield line.ended()

    lines = opened(deaf_then_slow)
    assert (frames(run(DeviceSource("/dev/test"))) == ramp(0, 20)).all()
    assert lines[0].starts() == 3


def test_board_that_reboots_is_started_again(opened: Any) -> None:
    def brown_out(line: Line) -> Iterator[bytes]:
        yield from line.started()
        yield from line.samples(0, 50)
        line._sequence = 0  # the bridge kept its power and the link, the microcontroller did not
        yield from line.started(times=line.starts() + 1)
        yield from line.samples(0, 100)
        yield line.ended()

    opened(brown_out)
    source = DeviceSource("/dev/test")
    items = run(source)
    assert (frames(items) == np.concatenate((ramp(0, 50), ramp(0, 100)))).all()
    assert source.losses()["frames_restarts"] == 1
    assert source.losses()["link_restarts"] == 1


def test_board_that_only_sends(opened: Any) -> None:
    def one_way(line: Line) -> Iterator[bytes]:
        yield from line.samples(0, 20)  # joined midway
        for start in range(20, 120, 20):
            yield line.say(HELLO, start * 2000)
            yield from line.samples(start, start + 20)
        yield line.ended()

    opened(one_way)
    source = DeviceSource("/dev/test")
    assert (frames(run(source)) == ramp(20, 120)).all()
    assert source.losses()["frames_before_hello"] == 20
    assert source.losses()["frames_lost"] == 0


@pytest.mark.parametrize("pieces", ["nothing", "noise", "samples without a HELLO", "text of a boot loader"])
def test_no_hello_is_an_error(opened: Any, monkeypatch: pytest.MonkeyPatch, pieces: str) -> None:
    rng = np.random.default_rng(1)

    def script(line: Line) -> Iterator[bytes]:
        for start in range(0, 10**6, 10):
            yield b""
            if pieces == "noise":
                yield rng.bytes(200)
            elif pieces == "samples without a HELLO":
                yield from line.samples(start, start + 10)
            elif pieces == "text of a boot loader":
                yield b"ets Jun  8 2016 00:22:57\r\nrst:0x1 (POWERON_RESET),boot:0x13\r\n"

    monkeypatch.setattr(device, "ANSWER_S", 0.3)
    opened(script)
    with pytest.raises(EcgEdgeError, match=r"/dev/test sent \d+ bytes and no HELLO.*check --baud \(921600\)"):
        run(DeviceSource("/dev/test"))


def test_board_that_answers_and_sends_nothing(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def idle(line: Line) -> Iterator[bytes]:
        while True:
            yield line.say(HELLO)
            yield b""

    monkeypatch.setattr(device, "SILENCE_S", 0.2)
    opened(idle)
    items = run(DeviceSource("/dev/test"), until=lambda i: isinstance(i, Notice))
    assert notices(items) == [("link_lost", "new")]


def test_silence_is_told_once_and_its_end(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(line: Line) -> Iterator[bytes]:
        yield from line.started()
        yield from line.samples(0, 50)
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            yield b""
        yield from line.samples(80, 100)
        yield line.ended()

    monkeypatch.setattr(device, "SILENCE_S", 0.7)
    opened(silent)
    items = run(DeviceSource("/dev/test"))
    assert notices(items) == [("link_lost", "new"), ("link_restored", "once")]
    kinds = [type(i) for i in items]
    assert kinds.index(Gap) == [n for n, i in enumerate(items) if isinstance(i, Notice)][1] + 1
    assert [i.frames for i in items if isinstance(i, Gap)] == [30]


def test_silence_that_becomes_a_lost_link_is_one_loss(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies_slowly(line: Line) -> Iterator[bytes]:
        yield from line.started()
        yield from line.samples(0, 50)
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            yield b""
        raise LinkLost("cable out")

    monkeypatch.setattr(device, "SILENCE_S", 0.5)
    opened(dies_slowly, whole_run)
    items = run(DeviceSource("/dev/test"))
    assert notices(items) == [("link_lost", "new"), ("link_restored", "once")]


def test_connection_whose_other_end_is_gone_is_opened_again(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(line: Line) -> Iterator[bytes]:
        yield from line.started()
        yield from line.samples(0, 50)  # and never again; the script's end is silence

    monkeypatch.setattr(device, "SILENCE_S", 0.5)
    monkeypatch.setattr(device, "REOPEN_S", 0.8)
    lines = opened(gone, whole_run)
    items = run(DeviceSource("socket://board:4000"))
    assert len(lines) == 2
    assert notices(items) == [("link_lost", "new"), ("link_restored", "once")]


def test_hello_that_was_lost_is_asked_for(opened: Any) -> None:
    def loses_its_hello(line: Line) -> Iterator[bytes]:
        while not line.starts():
            yield b""
        yield line.say(Ack(Start.TYPE, line.heard[-1].sequence, Result.OK))
        asked = len(line.heard)
        sent = 0
        while not any(isinstance(packet.message, Identify) for packet in line.heard[asked:]):
            yield from line.samples(sent, sent + 10)
            yield b""
            sent += 10
        yield line.say(HELLO)
        yield from line.samples(sent, sent + 100)
        yield line.ended()

    opened(loses_its_hello)
    source = DeviceSource("/dev/test")
    assert len(frames(run(source))) == 100
    assert source.losses()["frames_before_hello"] > 0


@pytest.mark.parametrize("error", [LinkLost("cable out"), LinkClosed("closed")])
def test_lost_link_is_opened_again(opened: Any, error: LinkLost) -> None:
    def torn(line: Line) -> Iterator[bytes]:
        yield from line.started()
        yield from line.samples(0, 50)
        yield line.say(HELLO)[:7]  # torn within a packet
        raise error

    lines = opened(torn, whole_run)
    source = DeviceSource("socket://board:4000")
    items = run(source)
    assert len(lines) == 2
    assert notices(items) == [("link_lost", "new"), ("link_restored", "once")]
    assert (frames(items) == np.concatenate((ramp(0, 50), ramp(0, 100)))).all()
    losses = source.losses()
    # What the tear left is one bad piece, and costs no packet of the new link.
    assert losses["link_bad_cobs"] + losses["link_bad_header"] + losses["link_bad_crc"] == 1
    assert losses["link_missing"] == 0
    assert isinstance(lines[1].heard[-1].message, Stop)


def test_end_of_standard_input_is_the_end(opened: Any) -> None:
    def file(line: Line) -> Iterator[bytes]:
        yield line.say(HELLO)
        yield from line.samples(0, 30)
        raise LinkClosed("standard input has ended")

    opened(file)
    items = run(DeviceSource("-"))
    assert len(frames(items)) == 30
    assert notices(items) == []


def test_connection_closed_before_anything_came(opened: Any) -> None:
    def busy(_line: Line) -> Iterator[bytes]:
        raise LinkClosed("closed")
        yield b""

    opened(busy)
    assert run(DeviceSource("socket://board:4000")) == []


def test_giving_up_on_a_lost_link_is_a_failure(opened: Any) -> None:
    def dies(line: Line) -> Iterator[bytes]:
        yield from line.started()
        yield from line.samples(0, 50)
        raise LinkLost("lost the link to /dev/test: check cable and power of the board")

    opened(dies)
    source = DeviceSource("/dev/test", reconnect_s=0.1)
    with pytest.raises(EcgEdgeError, match=r"check cable and power.*did not come back within 0\.1 s"):
        run(source)


def test_another_format_is_another_stream(opened: Any) -> None:
    def swapped(line: Line) -> Iterator[bytes]:
        yield from line.started()
        yield from line.samples(0, 50)
        yield line.say(Hello(250, 1_000_000, ("I", "II"), "another board"))

    opened(swapped)
    with pytest.raises(EcgEdgeError, match="changed from 500 Hz, 2 leads to 250 Hz, 2 leads"):
        run(DeviceSource("/dev/test"))


def test_leads_off_and_left_out(opened: Any) -> None:
    def two_of_three(line: Line) -> Iterator[bytes]:
        yield line.say(Hello(RATE, 1_000_000, (None, None, None), "nameless"))
        counts = np.array([[1, 2, 3]] * 4, np.int32)
        yield line.say(Samples(0, counts, 0b001))
        yield line.say(Samples(4, counts, 0b100), 8000)
        yield line.ended()

    opened(two_of_three)
    items = run(DeviceSource("/dev/test", leads=("-", "II", "V5")))
    assert isinstance(items[0], StreamFormat)
    assert items[0].leads == ("II", "V5")
    first, second = (i for i in items if isinstance(i, Chunk))
    assert first.counts.tolist() == [[2, 3]] * 4
    assert first.invalid is None, "the channel that is off is left out"
    assert second.invalid is not None
    assert second.invalid.tolist() == [[False, True]] * 4
    opened(two_of_three)
    with pytest.raises(EcgEdgeError, match=r"unnamed.*--leads"):
        run(DeviceSource("/dev/test"))


@pytest.mark.parametrize(
    ("names", "leads", "kept"),
    [
        (("I", "II"), None, ([0, 1], ("I", "II"))),
        ((None, "II"), ("V1",), ([0], ("V1",))),
        ((None, None), ("-", "mlii"), ([1], ("II",))),
    ],
)
def test_renamed(names: Any, leads: Any, kept: Any) -> None:
    assert renamed(names, leads) == kept


@pytest.mark.parametrize(
    ("names", "leads", "message"),
    [
        # Twelve names for the eight channels of a board would put aVR's name on V2.
        (("I", "II"), ("I", "II", "III"), "names 3 channels where there are 2"),
        (("I", "II"), ("-", "-"), "every channel is left out"),
        (("I", None), None, "unnamed"),
        (("I", "I"), None, "named twice"),
    ],
)
def test_names_that_cannot_be_used(names: Any, leads: Any, message: str) -> None:
    with pytest.raises(EcgEdgeError, match=message):
        renamed(names, leads)


def test_harm_done_by_the_link_is_told_at_once_then_seldom_and_at_the_end(opened: Any) -> None:
    def bad(line: Line) -> Iterator[bytes]:
        yield from line.started()
        for start in range(0, 30 * RATE, 100):
            yield from line.samples(start, start + 90)
            packet = next(line.samples(start + 90, start + 100))
            yield packet[:20] + b"\x55" + packet[21:]
        yield line.ended()

    opened(bad)
    source = DeviceSource("/dev/test")
    items = run(source)
    told = [i for i in items if isinstance(i, Notice)]
    assert {(i.code, i.phase) for i in told} == {("link_errors", "once")}
    assert 3 <= len(told) <= 4, "at once, at 10 s, at 20 s, at the end"
    first = items.index(told[0])
    assert sum(len(i.counts) for i in items[:first] if isinstance(i, Chunk)) == 90
    assert sum(told[0].counts.values()) == 1
    kinds = ("link_bad_crc", "link_bad_cobs", "link_missing")
    losses = source.losses()
    for kind in kinds:
        assert sum(i.counts.get(kind.removeprefix("link_"), 0) for i in told) == losses[kind]
    assert "garbled 1" in told[0].message


def test_what_a_silence_cost_is_taken_from_the_clock_where_the_board_cannot_say(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frames_of(first: int, last: int) -> bytes:
        return b"".join(voice.say(Samples(k, np.full((1, 8), k, np.int32)), 0) for k in range(first, last))

    def silent(line: Line) -> Iterator[bytes]:
        yield frames_of(0, 100)
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            yield b""
        yield frames_of(100, 200)  # its counter of 8 bits goes on as if nothing had been
        raise LinkClosed("standard input has ended")

    voice = CytonVoice()
    monkeypatch.setattr(device, "SILENCE_S", 0.7)
    opened(silent)
    leads = ("I", "II", *["-"] * 6)
    items = run(DeviceSource("-", leads=leads, board=Choice.parse("cyton").board()))
    assert items[0] == StreamFormat(250, ("I", "II"), 22352, None)
    assert notices(items) == [("link_lost", "new"), ("link_restored", "once")]
    (gap,) = (i.frames for i in items if isinstance(i, Gap))
    assert 300 < gap < 3000, "two seconds at 250 Hz, or what a busy machine makes of them"
    assert (frames(items)[:, 0] == np.arange(200)).all()
