"""A simulated device: a recording played through a pty or TCP port, so that a host cannot tell it from a board."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from .boards.voice import NativeVoice, Voice
from .device_lines import POLL_S, Line, PtyLine, TcpLine
from .device_model import DeviceModel
from .errors import EcgEdgeError
from .faults import FaultCounts, Faults
from .packetize import FRAMES_PER_PACKET, check
from .protocol import State
from .recording import Recording

BACKLOG = 4096
"""Bytes ready for the line above which no more samples are made ready: the host's reading sets the pace."""


class SimulatedDevice:
    """A DeviceModel behind a pty or a TCP port, in a thread of its own; a context manager.

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
        tcp: tuple[str, int] | None = None,
        voice: Voice | None = None,
    ) -> None:
        """Open the line and start serving.

        speed: times real time, None for as fast as the host reads. faults: what happens to the packets of a run,
        not to answers and to what an idle device says, so that a host can always connect; those of the signal are
        not for here but for signal_faults.disturb. link: a symbolic link to the pty, made here and removed by
        `close`. tcp: host and port to listen on instead of a pty. voice: PROTOCOL.md's where None. Raises
        EcgEdgeError when the recording does not fit the wire format, `speed` is not positive, the line cannot be
        had, or a pty is to be unplugged that has no link by which to find it again.
        """
        faults = Faults() if faults is None else faults
        self._model = device_model(recording, frames_per_packet, speed, faults, voice)
        if faults.unplugs and tcp is None and link is None:
            raise EcgEdgeError("a pty that is unplugged comes back under another name: give it a --link, or use --tcp")
        self._line: Line = PtyLine(link) if tcp is None else TcpLine(*tcp)
        self.path: str = self._line.path if isinstance(self._line, PtyLine) else self._line.name
        """What a host opens: the path of the pty, or the address as socket://host:port."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="simulated device", daemon=True)
        self._thread.start()

    @property
    def fault_counts(self) -> FaultCounts:
        """What was done to the packets of all runs so far."""
        return self._model.fault_counts

    def wait(self) -> None:
        """Serve until `close` is called from elsewhere, or the caller is interrupted."""
        self._thread.join()

    def close(self) -> None:
        """Stop serving and take the line away; a host sees a lost link. May be called twice."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        connected, plugged = False, True
        outgoing = b""
        while not self._stopping.is_set():
            now = time.monotonic()
            wait = POLL_S if outgoing else min(max(self._model.due() - now, 0.0), POLL_S)
            events = self._line.poll(bool(outgoing), wait if connected else 0.0)
            if events is None:
                connected, outgoing = False, b""
                continue
            now = time.monotonic()
            if not connected:
                connected = True
                self._model.connect(now)
            if away := self._model.unplug():
                self._line.unplug()
                connected, outgoing = False, b""
                plugged = not self._stopping.wait(away)
                if plugged:
                    self._line.plug()
                continue
            try:
                if events[0]:
                    outgoing += self._model.receive(self._line.read(), now)
                while len(outgoing) < BACKLOG and (more := self._model.send(now)):
                    outgoing += more
                if outgoing:
                    outgoing = outgoing[self._line.write(outgoing) :]
            except BlockingIOError:
                continue
            except OSError:  # the host left between poll() and here, which the next poll() tells
                continue
        if plugged:
            self._line.unplug()


def device_model(
    recording: Recording, frames_per_packet: int, speed: float | None, faults: Faults, voice: Voice | None
) -> DeviceModel:
    """Return the model of a device; raises EcgEdgeError for a recording, packets or a speed that are not possible."""
    speaker: Voice = NativeVoice() if voice is None else voice
    frames = speaker.frames_per_packet or frames_per_packet
    check(recording, frames)
    if speed is not None and not 0 < speed < float("inf"):
        raise EcgEdgeError(f"speed {speed:g} is not possible: use a number above 0, or max")
    return DeviceModel(recording, frames, speed, faults, speaker)


def play(model: DeviceModel, write: Callable[[bytes], object], stop: threading.Event) -> None:
    """Say one run of a device to its end or until `stop` is set, to where nobody answers: a file, or a pipe."""
    model.start(time.monotonic())
    while model.state is State.STREAMING and not stop.is_set():
        now = time.monotonic()
        if model.due() > now:
            stop.wait(min(model.due() - now, POLL_S))
        else:
            write(model.send(now))
