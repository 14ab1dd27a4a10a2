"""A simulated device: a recording played through a pty, so that a host cannot tell it from a serial board."""

import os
import pty
import select
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from .decoder import PacketDecoder
from .errors import EcgEdgeError
from .faults import FaultCounts, Faults, Injector
from .packetize import FRAMES_PER_PACKET, Scheduled, check, hello, schedule
from .protocol import (
    Ack,
    Identify,
    Message,
    Packet,
    Result,
    SetRate,
    Start,
    State,
    Status,
    Stop,
    encode_packet,
)
from .recording import Recording

BEAT_S = 1.0
"""Time between two HELLOs of an idle device, and between two STATUS of one whose recording has ended."""
POLL_S = 0.02
"""Longest wait before looking for a host that came or went, or for the end of serving."""
BACKLOG = 4096
"""Bytes ready for the pty above which no more samples are made ready: the host's reading sets the pace."""


class DeviceModel:
    """What the device says when: pure, told the time in seconds of any clock that never goes back.

    Idle, it says HELLO every second. START begins a run: ACK, then the recording's schedule at its own speed, then
    STATUS ended every second. STOP, or the host's leaving, makes it idle again.
    """

    def __init__(self, recording: Recording, frames_per_packet: int, speed: float | None, faults: Faults) -> None:
        """Be idle at the device's time 0. Arguments as for SimulatedDevice."""
        self.state = State.IDLE
        self.fault_counts = FaultCounts()
        self._recording, self._frames_per_packet, self._speed = recording, frames_per_packet, speed
        self._faults = faults
        self._decoder = PacketDecoder(keep_duplicates=True)
        self._sequence = 0
        self._clock_us = 0  # device time of the latest message
        self._quiet_us, self._quiet = 0, 0.0  # device time, and the caller's, since when no samples are sent
        self._run_us = 0  # device time at which the run started
        self._started = 0.0  # the same on the caller's clock
        self._beat = 0.0  # when the next HELLO or STATUS of a device without samples is due
        self._run: Iterator[Scheduled] = iter(())
        self._next: Scheduled | None = None
        self._injector = Injector(faults)

    def connect(self, now: float) -> None:
        """Be idle, as a host has come or gone; HELLO is due at once."""
        self._decoder = PacketDecoder(keep_duplicates=True)
        self._rest(State.IDLE, now, 0.0)

    def receive(self, data: bytes, now: float) -> bytes:
        """Return the answers to the commands in `data`."""
        return b"".join(self._answer(packet, now) for packet in self._decoder.feed(data))

    def due(self) -> float:
        """Return when `send` next has something to say."""
        if self._next is None:
            return self._beat
        if self._speed is None:
            return self._started
        return self._started + self._faults.release_us(self._next.due_us) / 1e6 / self._speed

    def send(self, now: float) -> bytes:
        """Return the next packets that are due, at most one before faults; b"" where none is."""
        if self.due() > now:
            return b""
        if self._next is None:
            self._beat = max(self._beat + BEAT_S, now)
            beat = Status(State.ENDED) if self.state is State.ENDED else hello(self._recording)
            return self._encode(beat, self._time_us(now))
        item = self._next
        self._next = next(self._run, None)
        packets = self._injector.push(self._encode(item.message, self._run_us + item.time_us))
        if self._next is None:
            packets += self._injector.flush()
            self._rest(State.ENDED, now, BEAT_S)
        return b"".join(packets)

    def _answer(self, packet: Packet, now: float) -> bytes:
        command = packet.message
        match command:
            case Identify():
                return self._encode(hello(self._recording), self._time_us(now))
            case SetRate(rate):
                result = Result.OK if rate == self._recording.rate else Result.UNSUPPORTED
                result = result if rate else Result.BAD_ARGUMENT
            case Start():
                self._begin(now)
                result = Result.OK
            case Stop():
                self._rest(State.IDLE, now, BEAT_S)
                result = Result.OK
            case _:  # what only devices say
                return b""
        return self._encode(Ack(command.TYPE, packet.sequence, result), self._time_us(now))

    def _begin(self, now: float) -> None:
        self._run_us = self._time_us(now)
        self.state, self._started = State.STREAMING, now
        self._run = schedule(self._recording, self._frames_per_packet)
        self._next = next(self._run)
        self._injector = Injector(self._faults, self.fault_counts)

    def _rest(self, state: State, now: float, pause: float) -> None:
        self.state, self._beat, self._next = state, now + pause, None
        self._quiet_us, self._quiet = self._clock_us, now

    def _time_us(self, now: float) -> int:
        """Return the device time: that of the signal during a run, else what has passed since."""
        if self._next is not None:
            return self._clock_us
        return self._quiet_us + round((now - self._quiet) * 1e6)

    def _encode(self, message: Message, time_us: int) -> bytes:
        self._clock_us = max(self._clock_us, time_us)
        packet = encode_packet(message, self._sequence, time_us)
        self._sequence = self._sequence + 1 & 0xFFFF
        return packet


class SimulatedDevice:
    """A DeviceModel behind a pty, in a thread of its own; a context manager.

    with SimulatedDevice(recording) as device:
        link = open_transport(device.path)
    """

    def __init__(
        self,
        recording: Recording,
        frames_per_packet: int = FRAMES_PER_PACKET,
        speed: float | None = 1.0,
        faults: Faults | None = None,
        link: Path | None = None,
    ) -> None:
        """Open the pty and start serving.

        speed: times real time, None for as fast as the host reads. faults: what happens to the packets of a run,
        not to answers and to what an idle device says, so that a host can always connect. link: a symbolic link
        to the pty, made here and removed by `close`. Raises EcgEdgeError when the recording does not fit the
        wire format, `speed` is not positive or `link` is something else than a symbolic link.
        """
        check(recording, frames_per_packet)
        if speed is not None and not 0 < speed < float("inf"):
            raise EcgEdgeError(f"speed {speed:g} is not possible: use a number above 0, or max")
        self._model = DeviceModel(recording, frames_per_packet, speed, faults or Faults())
        self._master, slave = pty.openpty()
        self.path: str = os.ttyname(slave)
        """Path of the pty that a host opens."""
        tty.setraw(slave)
        os.close(slave)  # held open here, it would hide when the host leaves
        os.set_blocking(self._master, False)
        self._link = link
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="simulated device", daemon=True)
        try:
            self._make_link()
        except BaseException:
            os.close(self._master)
            raise
        self._thread.start()

    @property
    def fault_counts(self) -> FaultCounts:
        """What was done to the packets of all runs so far."""
        return self._model.fault_counts

    def wait(self) -> None:
        """Serve until `close` is called from elsewhere, or the caller is interrupted."""
        self._thread.join()

    def close(self) -> None:
        """Stop serving and take the pty away; a host sees a lost link. May be called twice."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._thread.join()
            os.close(self._master)
            if self._link is not None and self._link.is_symlink():
                self._link.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_link(self) -> None:
        if self._link is None:
            return
        if self._link.is_symlink():
            self._link.unlink()
        try:
            self._link.symlink_to(self.path)
        except OSError as error:
            raise EcgEdgeError(f"cannot make the link {self._link} ({error.strerror}): name another path") from None

    def _serve(self) -> None:
        poll = select.poll()
        connected = False
        outgoing = b""
        while not self._stopping.is_set():
            now = time.monotonic()
            poll.register(self._master, select.POLLIN | (select.POLLOUT if outgoing else 0))
            wait = POLL_S if outgoing else min(max(self._model.due() - now, 0.0), POLL_S)
            events = dict(poll.poll(wait * 1000 if connected else 0)).get(self._master, 0)
            if events & select.POLLHUP:
                connected, outgoing = False, b""
                time.sleep(POLL_S)  # no host has the pty open, and poll() does not wait for one
                continue
            now = time.monotonic()
            if not connected:
                connected = True
                self._model.connect(now)
            try:
                if events & select.POLLIN:
                    outgoing += self._model.receive(os.read(self._master, 65536), now)
                while len(outgoing) < BACKLOG and (more := self._model.send(now)):
                    outgoing += more
                if outgoing:
                    outgoing = outgoing[os.write(self._master, outgoing) :]
            except BlockingIOError:
                continue
            except OSError:  # the host left between poll() and here, which the next poll() tells
                continue
