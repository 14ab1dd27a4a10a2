"""A board to which everything happens, for as long as one likes: seeded, in memory, as fast as it is read.

It plays a recording over and over, in packets of PROTOCOL.md, through faults that a script of its own draws second by
second: on the line (packets dropped, doubled, swapped, flipped, and babble between them), of the link (unplugged,
silent), of the board (restarts), and at the electrodes. It counts every frame that it sampled, so that a host can be
held to it.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.decoder import PacketDecoder
from ecg_edge.firmware_bridge.faults import FaultCounts, Faults, Injector
from ecg_edge.firmware_bridge.packetize import hello
from ecg_edge.firmware_bridge.protocol import (
    Ack,
    Identify,
    Message,
    Result,
    Samples,
    Start,
    State,
    Status,
    encode_packet,
)
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT, Recording
from ecg_edge.firmware_bridge.transport import LinkLost

CALM = Faults(drop=0.001, duplicate=0.001, reorder=0.001, flip=0.001)
STORM = Faults(drop=0.05, duplicate=0.05, reorder=0.05, flip=0.05)
FRAMES_PER_PACKET = 25  # a tenth of a second at 250 Hz
SILENCE_S = 4.0  # of true time: above the 3 s after which a host tells that nothing comes

EVERY_S = {
    "storm": 600,
    "babble": 120,
    "lead off": 300,
    "all leads off": 3600,
    "saturated": 900,
    "flat": 900,
    "noise": 600,
    "garbage": 3600,
    "unplugged": 3600,
    "restart": 7200,
    "silence": 21600,
}
"""Mean seconds of stream between two faults of a kind."""
LONGEST_S = 30  # of one fault
ELECTRODES = ("lead off", "all leads off", "saturated", "flat", "noise", "garbage")


@dataclass
class _Fault:
    kind: str
    until: int
    """Second of the stream at which it is over."""
    channel: int


class SoakBoard:
    """The board, whatever happens to its links."""

    def __init__(self, recording: Recording, seconds: int, seed: int) -> None:
        """Prepare to play so many seconds of a recording, whose channels are all valid."""
        self.sampled = 0
        """Frames sampled so far, whether they were sent, lost, or had no link to be sent on."""
        self.done: Counter[str] = Counter()
        """Faults so far, by kind."""
        self.packets = FaultCounts()
        """What happened to packets on the line."""
        self._recording, self._seconds = recording, seconds
        self._random = random.Random(seed)
        self._garbage = np.random.default_rng(seed)
        self._calm, self._storm = replace(CALM, seed=seed), replace(STORM, seed=seed)
        self._injector = Injector(self._calm, self.packets)
        self._faults: list[_Fault] = []
        self._sequence = self._index = 0  # of the next packet, and of the next frame of the run
        self._script = self._play()
        self._answers = b""
        self._started = False
        self._lock = threading.Lock()

    def open(self) -> "SoakLink":
        """Return a link to it."""
        return SoakLink(self)

    def hear(self, message: Message, sequence: int) -> None:
        """Take a command."""
        with self._lock:
            if isinstance(message, Start):
                self._started = True
                self._answers += self._say(Ack(Start.TYPE, sequence, Result.OK))
            elif isinstance(message, Identify):
                self._answers += self._say(hello(self._recording))

    def next(self) -> bytes | float | None:
        """Return the next bytes, so many seconds of silence, or None where the link is gone."""
        with self._lock:
            if self._answers or not self._started:
                answers, self._answers = self._answers, b""
                return answers or 0.01
            return next(self._script, 0.01)

    def _play(self) -> Iterator[bytes | float | None]:
        yield self._say(hello(self._recording))
        for second in range(self._seconds):
            self._faults = [fault for fault in self._faults if fault.until > second]
            begun = [kind for kind, every in EVERY_S.items() if self._random.random() < 1 / every]
            for kind in begun:
                self.done[kind] += 1
                until = second + self._random.randint(1, LONGEST_S)
                self._faults.append(_Fault(kind, until, self._random.randrange(len(self._recording.leads))))
            if "restart" in begun:
                yield self._restart()
            if "unplugged" in begun:
                yield None
            if "silence" in begun:
                yield SILENCE_S
            yield self._second(second)
        yield self._flushed() + self._samples(1) + self._say(Status(State.ENDED))

    def _second(self, second: int) -> bytes:
        """Return one second of packets; b"" while there is no link to send them on."""
        kinds = {fault.kind for fault in self._faults}
        if "unplugged" in kinds:
            self._sample(self._recording.rate)
            return b""
        self._injector.faults = self._storm if "storm" in kinds else self._calm
        out = []
        for _ in range(self._recording.rate // FRAMES_PER_PACKET):
            out += self._injector.push(self._samples(FRAMES_PER_PACKET))
        if "babble" in kinds:
            out.insert(self._random.randrange(len(out) + 1), self._random.randbytes(self._random.randint(1, 400)))
        if second % 10 == 0:
            out.append(self._say(hello(self._recording)))
        return b"".join(out)

    def _restart(self) -> bytes:
        """Return the end of a run and the beginning of the next.

        Between two runs only the host's clock knows what was lost, so their last and first packets are spared: then
        every frame is either used or counted.
        """
        last = self._flushed() + self._samples(1)
        self._sequence = self._index = 0
        return last + self._say(hello(self._recording)) + self._samples(1)

    def _flushed(self) -> bytes:
        """Return what is held back, and the end of any babble, so that the next packet comes whole."""
        return b"".join(self._injector.flush()) + b"\0"

    def _samples(self, frames: int) -> bytes:
        first = self._index
        counts, off = self._sample(frames)
        return self._say(Samples(first & 0xFFFFFFFF, counts, off), first)

    def _sample(self, frames: int) -> tuple[npt.NDArray[np.int32], int]:
        """Sample frames, with what happens at the electrodes; return them and the mask of channels that are off."""
        total = len(self._recording.counts)
        counts = self._recording.counts[(self.sampled + np.arange(frames)) % total]
        off = 0
        for fault in self._faults:
            if fault.kind == "lead off":
                off |= 1 << fault.channel
            elif fault.kind == "all leads off":
                off |= (1 << counts.shape[1]) - 1
            elif fault.kind == "saturated":
                counts[:, fault.channel] = COUNT_LIMIT
            elif fault.kind == "flat":
                counts[:, fault.channel] = 0
            elif fault.kind == "noise":
                counts[:, fault.channel] += self._garbage.normal(0, 500, frames).astype(np.int32)
            elif fault.kind == "garbage":
                counts[:] = self._garbage.integers(-COUNT_LIMIT, COUNT_LIMIT, counts.shape, np.int32, endpoint=True)
        self.sampled += frames
        self._index += frames
        return counts, off

    def _say(self, message: Message, frame: int | None = None) -> bytes:
        instant = (self._index if frame is None else frame) * 1_000_000 // self._recording.rate
        packet = encode_packet(message, self._sequence, instant)
        self._sequence = self._sequence + 1 & 0xFFFF
        return packet


class SoakLink:
    """A link to the board; see Transport."""

    name = "soak"

    def __init__(self, board: SoakBoard) -> None:
        """Open it."""
        self._board = board
        self._decoder = PacketDecoder(keep_duplicates=True)
        self._silent_until = 0.0

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """As in Transport; a second of stream at once."""
        wait = self._silent_until - time.monotonic()
        if wait > 0:
            time.sleep(min(wait, timeout_s))
            return b""
        got = self._board.next()
        if got is None:
            raise LinkLost("the soak board was unplugged")
        if isinstance(got, float):
            self._silent_until = time.monotonic() + got
            return b""
        return got

    def write(self, data: bytes) -> None:
        """As in Transport."""
        for packet in self._decoder.feed(data):
            self._board.hear(packet.message, packet.sequence)

    def close(self) -> None:
        """As in Transport."""
