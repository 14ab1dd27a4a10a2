"""What a simulated device says when: pure, with the time told by whoever waits."""

from collections.abc import Iterator

from .boards.voice import Voice
from .faults import FaultCounts, Faults, Injector
from .packetize import Scheduled, hello, schedule
from .protocol import Ack, Identify, Message, Packet, Result, Samples, SetRate, Start, State, Status, Stop
from .recording import Recording

BEAT_S = 1.0
"""Time between two HELLOs of an idle device, and between two STATUS of one whose recording has ended."""


class DeviceModel:
    """What the device says when: pure, told the time in seconds of any clock that never goes back.

    Idle, it says HELLO every second. START begins a run: ACK, then the recording's schedule at its own speed, then
    STATUS ended every second. STOP, or the host's leaving, makes it idle again.
    """

    def __init__(
        self, recording: Recording, frames_per_packet: int, speed: float | None, faults: Faults, voice: Voice
    ) -> None:
        """Be idle at the device's time 0. voice: what its messages are in bytes; the others as for SimulatedDevice."""
        self.state = State.IDLE
        self.fault_counts = FaultCounts()
        self._recording, self._frames_per_packet = recording, frames_per_packet
        self._clock_rate = 1 + faults.drift * 1e-6  # of the device's clock by the caller's
        self._speed = None if speed is None else speed * self._clock_rate
        self._faults, self._voice = faults, voice
        self._unplugs = list(faults.unplugs)  # those to come
        self._clock_us = 0  # device time of the latest message
        self._quiet_us, self._quiet = 0, 0.0  # device time, and the caller's, since when no samples are sent
        self._run_us = 0  # device time at which the run started
        self._started = 0.0  # the same on the caller's clock
        self._beat = 0.0  # when the next HELLO or STATUS of a device without samples is due
        self._run: Iterator[Scheduled] = iter(())
        self._next: Scheduled | None = None
        self._injector = Injector(faults)

    def connect(self, now: float) -> None:
        """Be idle, as a host has come or gone, and say HELLO at once; a board that takes no commands starts a run."""
        self._voice.connect()
        self._rest(State.IDLE, now, 0.0)
        if not self._voice.takes_commands:
            self.start(now)

    def receive(self, data: bytes, now: float) -> bytes:
        """Return the answers to the commands in `data`."""
        return b"".join(self._answer(packet, now) for packet in self._voice.hear(data))

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
        if isinstance(item.message, Samples):
            self.fault_counts.frames += len(item.message.counts)
        packet = self._encode(item.message, self._run_us + item.time_us)
        packets = self._injector.push(packet, item.due_us / 1e6) if packet else []
        if self._next is None:
            packets += self._injector.flush()
            self._rest(State.ENDED, now, BEAT_S)
        return b"".join(packets)

    def unplug(self) -> float:
        """Return for how many of the caller's seconds the link goes away now, 0 where it stays; each time once."""
        if self._next is None or not self._unplugs or self._next.due_us < self._unplugs[0].at * 1e6:
            return 0.0
        self.fault_counts.unplugged += 1
        return self._unplugs.pop(0).seconds / (self._speed or 1.0)

    def _answer(self, packet: Packet, now: float) -> bytes:
        command = packet.message
        match command:
            case Identify():
                return self._encode(hello(self._recording), self._time_us(now))
            case SetRate(rate):
                result = Result.OK if rate == self._recording.rate else Result.UNSUPPORTED
                result = result if rate else Result.BAD_ARGUMENT
            case Start():
                self.start(now)
                result = Result.OK
            case Stop():
                self._rest(State.IDLE, now, BEAT_S)
                result = Result.OK
            case _:  # what only devices say
                return b""
        return self._encode(Ack(command.TYPE, packet.sequence, result), self._time_us(now))

    def start(self, now: float) -> None:
        """Begin a run, as at START."""
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
        return self._quiet_us + round((now - self._quiet) * 1e6 * self._clock_rate)

    def _encode(self, message: Message, time_us: int) -> bytes:
        self._clock_us = max(self._clock_us, time_us)
        return self._voice.say(message, time_us)
