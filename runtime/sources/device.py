"""A device on a link: a thread that only reads, and the frames, gaps and link troubles that come of its bytes."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict

import numpy as np

from ecg_edge.firmware_bridge.boards.board import Board
from ecg_edge.firmware_bridge.boards.native import Native
from ecg_edge.firmware_bridge.continuity import Frames, FrameTracker
from ecg_edge.firmware_bridge.device_clock import DeviceClock
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.port_names import PortName
from ecg_edge.firmware_bridge.protocol import (
    Ack,
    Hello,
    Identify,
    Message,
    Packet,
    Result,
    Start,
    State,
    Status,
    Stop,
)
from ecg_edge.firmware_bridge.transport import LinkClosed, LinkLost, Transport, open_transport

from ..engine import StreamFormat
from .items import Chunk, Gap, Item, Notice, Tick, renamed

READ_BYTES = 65536  # one big read costs what a small one does, and users of such boards report bytes lost to small ones
READ_TIMEOUT_S = 0.1
LAST_READS = 64  # at the end, of what the system holds for a link: 4 MB, where a pty holds 4 kB and a socket some MB
STDIN = "-"
QUEUE_READS = 256  # bounded; when it is full the reader waits, and what the line then drops shows as a counted gap
COMMAND_EVERY_S = 1.0  # START is sent again until it is acknowledged or samples come: a board may just be booting
IDLE_HELLOS = 2  # HELLOs without samples between them by which a board shows that it idles; one opens every run
SILENCE_S = 3.0  # without samples for this long the link counts as lost, whatever else the board may say
REOPEN_S = 30.0  # and then it is opened again: a connection whose other end is gone does not fail by itself
ANSWER_S = 8.0  # by then a board that speaks this protocol has said something
RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # pauses between attempts to open a lost link again; the last one repeats
TICK_S = 0.5  # in such a pause, a sign of life comes so often

ERRORS_EVERY_S = 10.0  # of signal: what is wrong with a bad cable is told at once, and then so often
TOLD_APART = ("bytes", "packets", "frames", "gaps", "restarts")  # counters that are no errors, or told otherwise
GARBLED = ("bad_cobs", "bad_header", "bad_crc", "bad_frames", "overlong")  # one thing to a person


class DeviceSource:
    """Streams from a board."""

    def __init__(
        self,
        url: str,
        baud: int | None = None,
        leads: tuple[str, ...] | None = None,
        mains: int | None = None,
        reconnect_s: float = 3600.0,
        board: Board | None = None,
        open_link: Callable[[], Transport] | None = None,
    ) -> None:
        """Open the link; raises EcgEdgeError where it cannot be opened.

        url: see transport.open_transport; baud: speed of a serial port, the board's where None; leads: names instead
        of the device's own; reconnect_s: how long a lost link is tried again before the stream ends; board: what is
        at the other end, a device that speaks PROTOCOL.md where None; open_link: opens the link instead of `url`, which
        only names it then.
        """
        self._board: Board = Native() if board is None else board
        self._url, self._baud = url, self._board.baud if baud is None else baud
        self._leads, self._mains = leads, mains
        self._reconnect_s = reconnect_s
        self._name, self._open_link = PortName(url), open_link
        self._transport: Transport = self._open()
        self._clock = DeviceClock()
        self._reading = self._clock.reading  # as it was told last
        self._tracker = FrameTracker()
        self._format: StreamFormat | None = None
        self._columns: list[int] = []
        self._last_frames_at: float | None = None  # arrival of the latest frames
        self._wants_start = True
        self._hellos = 0  # HELLOs since the latest samples, START or ACK of one
        self._lost = False  # told, and not yet told to be over
        self._ended = False
        self._errors_told = self._board.counters()  # as they were when they were told last
        self._errors_from: int | None = None  # frames until then, None before the first time
        self._frames_passed = 0
        self._flowing = False  # frames have come since the link was opened

    def losses(self) -> dict[str, int]:
        """Return every counter of the link, by name."""
        link, frames = self._board.counters(), asdict(self._tracker.counters)
        del link["bytes"], link["packets"], frames["frames"]  # what arrived well is no loss
        return {f"link_{k}": v for k, v in link.items()} | {f"frames_{k}": v for k, v in frames.items()}

    def items(self, stop: threading.Event) -> Iterator[Item]:
        """Yield what comes until the device says that it has ended, standard input ends, or `stop` is set.

        A connection that closes before the device has said that it has ended is a lost link, and is tried again. After
        `stop`, what was received until then still comes.
        """
        try:
            while not stop.is_set() and not self._ended:
                try:
                    yield from self._read_link(stop)
                except LinkLost as error:
                    if isinstance(error, LinkClosed) and (self._url == STDIN or self._format is None):
                        return
                    yield from self._tell_lost(str(error))
                    if not (yield from self._reopen(stop)):
                        if stop.is_set():
                            return
                        raise EcgEdgeError(
                            f"{error}; it did not come back within {self._reconnect_s:g} s (--reconnect-seconds)"
                        ) from None
        finally:
            self._send(Stop())
            self._transport.close()

    def _read_link(self, stop: threading.Event) -> Iterator[Item]:
        """Yield from one opened link until it is lost (raises), the device has ended, or `stop` is set."""
        reads: queue.Queue[_Read] = queue.Queue(QUEUE_READS)
        closing = threading.Event()
        in_hand: list[_Read] = []
        reader = threading.Thread(
            target=_read_forever, args=(self._transport, reads, closing, in_hand), name="link reader", daemon=True
        )
        reader.start()
        opened = time.monotonic()
        asked = float("-inf")
        self._wants_start = True
        try:
            while not stop.is_set() and not self._ended:
                now = time.monotonic()
                if (self._wants_start or self._format is None) and now - asked > COMMAND_EVERY_S:
                    if self._format is None:
                        self._send(Identify())  # the HELLO that opens a run can be lost as any packet can
                    if self._wants_start:
                        self._send(Start())
                    asked, self._hellos = now, 0
                try:
                    got = reads.get(timeout=READ_TIMEOUT_S)
                except queue.Empty:
                    got = b"", now
                    yield Tick()
                if isinstance(got, LinkLost):
                    raise got
                data, at = got
                yield from self._received(data, at)
                if self._format is None and now - opened > ANSWER_S:
                    raise EcgEdgeError(
                        f"{self._transport.name} sent {self._board.counters()['bytes']} bytes and no "
                        f"{self._board.sends} in {ANSWER_S:.0f} s: check --baud ({self._baud}) and {self._board.mend}"
                    )
                heard = max(opened, self._last_frames_at or opened)
                if self._format is not None and at - heard > SILENCE_S:
                    yield from self._tell_lost(f"{self._transport.name} has sent no samples for {SILENCE_S:.0f} s")
                if self._format is not None and at - heard > REOPEN_S:
                    raise LinkLost(f"{self._transport.name} has sent no samples for {REOPEN_S:.0f} s")
        finally:
            closing.set()
            reader.join()
        if not self._ended:
            yield from self._rest([*reads.queue, *in_hand])
        yield from self._tell_errors(at_last=True)

    def _received(self, data: bytes, at: float) -> Iterator[Item]:
        for piece in self._board.pieces(data):
            packets = self._board.feed(piece)
            yield from self._tell_errors()
            for packet in packets:
                yield from self._packet(packet, at)

    def _rest(self, reads: "list[_Read]") -> Iterator[Item]:
        """Yield what was received and not yet taken when the stream was stopped: by the reader, and by the system."""
        for got in reads:
            if isinstance(got, LinkLost):
                return
            yield from self._received(*got)
        for _ in range(LAST_READS):
            try:
                data = self._transport.read(READ_BYTES, 0.0)
            except LinkLost:
                return
            if not data:
                return
            yield from self._received(data, time.monotonic())

    def _tell_errors(self, at_last: bool = False) -> Iterator[Item]:
        """Tell what the link has damaged, at once when it begins, and then not too often."""
        if self._format is None or not self._flowing:
            return
        soon = self._errors_from is not None and (
            self._frames_passed - self._errors_from < ERRORS_EVERY_S * self._format.rate
        )
        if soon and not at_last:
            return
        counters = self._board.counters()
        counts = {k: n - self._errors_told[k] for k, n in counters.items() if k not in TOLD_APART}
        counts = {k: n for k, n in counts.items() if n > 0}  # fewer are missing once they come late
        self._errors_told = counters
        if counts:
            self._errors_from = self._frames_passed
            yield Notice("link_errors", "once", f"the link damages packets: {_in_words(counts)}", counts)

    def _tell_lost(self, message: str) -> Iterator[Item]:
        if not self._lost:
            self._lost = True
            yield Notice("link_lost", "new", message)

    def _tell_restored(self) -> Iterator[Item]:
        if self._lost:
            self._lost = False
            yield Notice("link_restored", "once", f"samples come from {self._transport.name} again")

    def _packet(self, packet: Packet, at: float) -> Iterator[Item]:
        message = packet.message
        frames = self._tracker.push(packet)
        if isinstance(message, Hello):
            yield from self._hello(message)
        elif isinstance(message, Ack):
            if message.command == Start.TYPE and message.result == Result.OK:
                self._wants_start, self._hellos = False, 0
        elif isinstance(message, Status):
            if message.state == State.ENDED and self._tracker.counters.frames:
                self._ended = True
        elif frames is not None and self._format is not None:
            yield from self._frames(frames, at, self._format.rate)

    def _hello(self, hello: Hello) -> Iterator[Item]:
        self._hellos += 1
        if self._hellos >= IDLE_HELLOS:
            self._wants_start = True  # it has started anew, or never got the START
        columns, leads = renamed(hello.leads, self._leads)
        said = StreamFormat(hello.rate, leads, hello.pv_per_lsb, self._mains)
        if self._format is None:
            self._format, self._columns = said, columns
            yield said
        elif said != self._format:
            raise EcgEdgeError(
                f"{self._transport.name} changed from {self._format.rate} Hz, {len(self._format.leads)} leads to "
                f"{said.rate} Hz, {len(leads)} leads: start again to monitor the new stream"
            )

    def _frames(self, frames: Frames, at: float, rate: int) -> Iterator[Item]:
        missing = frames.missing_before
        if frames.restarted and self._last_frames_at is not None:
            # Another run of the device: only the host's clock knows how long it was away.
            missing = max(0, round((at - self._last_frames_at) * rate) - len(frames.samples))
        elif self._lost and self._last_frames_at is not None and not self._board.counts_losses:
            missing = max(missing, round((at - self._last_frames_at) * rate) - len(frames.samples))
        if frames.restarted or not self._flowing:  # joining midway and starting anew garble a packet, as they must
            self._errors_told, self._flowing = self._board.counters(), True
        self._frames_passed += missing + len(frames.samples)
        self._last_frames_at = at
        self._wants_start, self._hellos = False, 0
        yield from self._tell_restored()
        if missing:
            yield Gap(missing, at)
        counts = frames.samples[:, self._columns]
        off = frames.off[self._columns]
        sampled = self._sampled(frames, at, rate)
        yield Chunk(counts, np.broadcast_to(off, counts.shape) if off.any() else None, at, sampled)
        if self._clock.reading is not None and self._clock.reading != self._reading:
            self._reading = self._clock.reading
            yield self._reading

    def _sampled(self, frames: Frames, at: float, rate: int) -> float:
        """Return when the last of the frames was sampled, by the device's clock."""
        if frames.restarted:
            self._clock.restart()
        return self._clock.add(frames.time_us / 1e6 + len(frames.samples) / rate, at)

    def _send(self, message: Message) -> None:
        """Send a command; a link that takes none (standard input) or is gone shows when it is read."""
        try:
            if data := self._board.command(message):
                self._transport.write(data)
        except LinkLost:
            pass

    def _open(self) -> Transport:
        """Open the link where the device is now, and remember what it is."""
        if self._open_link is not None:
            return self._open_link()
        path = self._name.current()
        transport = open_transport(path, self._baud)
        self._name.opened(path)
        return transport

    def _reopen(self, stop: threading.Event) -> Generator[Item, None, bool]:
        """Open the lost link again; return False when `stop` was set or the time for it is over."""
        self._transport.close()
        deadline = time.monotonic() + self._reconnect_s
        for attempt in range(10**9):
            pause = RETRY_S[min(attempt, len(RETRY_S) - 1)]
            until = time.monotonic() + pause
            if until > deadline:
                return False
            while (left := until - time.monotonic()) > 0:
                yield Tick()
                if stop.wait(min(left, TICK_S)):
                    return False
            try:
                self._transport = self._open()
            except EcgEdgeError:
                continue
            self._board.resume()
            self._flowing = False
            return True
        return False


def _in_words(counts: dict[str, int]) -> str:
    garbled = sum(n for kind, n in counts.items() if kind in GARBLED)
    rest = {k.replace("_", " "): n for k, n in counts.items() if k not in GARBLED}
    words = ({"garbled": garbled} if garbled else {}) | rest
    return ", ".join(f"{kind} {n}" for kind, n in words.items())


_Read = tuple[bytes, float] | LinkLost
"""What came and when, or why nothing more will."""


def _read_forever(
    transport: Transport, reads: "queue.Queue[_Read]", closing: threading.Event, in_hand: list[_Read]
) -> None:
    """Read until the link fails or `closing` is set; runs in a thread of its own and does nothing else.

    in_hand: gets what the full queue did not take before `closing`.
    """
    while not closing.is_set():
        got: _Read
        try:
            data = transport.read(READ_BYTES, READ_TIMEOUT_S)
            if not data:
                continue
            got = (data, time.monotonic())
        except LinkLost as error:
            got = error
        while True:
            try:
                reads.put(got, timeout=READ_TIMEOUT_S)
                break
            except queue.Full:
                if closing.is_set():
                    in_hand.append(got)
                    return
        if isinstance(got, LinkLost):
            return
