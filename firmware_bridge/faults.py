"""What goes wrong, on purpose and reproducibly: with packets, with the link, with the clock, with the electrodes.

The text form, as in `drop=0.01,stall=2@10,lead_off=V2@20+5`, and the file form are `fault_script`'s. What happens to
packets is `Injector`'s, what happens to the signal is `signal_faults`', the link goes away in `device`.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from .errors import EcgEdgeError

PACKET_KINDS = ("drop", "duplicate", "reorder", "flip")
"""Faults with a probability per packet."""
LINK_KINDS = ("stall", "unplug")
"""Faults of the link, which have a time and a length."""
SIGNAL_KINDS = ("lead_off", "saturate", "mains", "mains60", "motion")
"""Faults of electrodes, which have a time and a length."""
FOREVER = float("inf")


@dataclass(frozen=True)
class Fault:
    """One fault with a time."""

    kind: str
    """What: one of PACKET_KINDS, LINK_KINDS or SIGNAL_KINDS."""
    at: float = 0.0
    """When it begins, in seconds of signal since the run started."""
    seconds: float = FOREVER
    """How long it lasts. A link that stalls passes nothing on and then all at once; one that is unplugged is gone."""
    amount: float = 1.0
    """Probability for packets; amplitude in mV of mains, rms in mV of motion; nothing for the others."""
    leads: tuple[str, ...] = ()
    """Leads that it concerns; none means all of them."""

    def __post_init__(self) -> None:
        kinds = PACKET_KINDS + LINK_KINDS + SIGNAL_KINDS
        if self.kind not in kinds:
            raise EcgEdgeError(f"unknown fault {self.kind!r}: use {', '.join(kinds)}")
        if not (0 <= self.at < FOREVER and self.seconds >= 0):
            raise EcgEdgeError(f"fault {self.kind} needs seconds from 0 up: at {self.at:g}, for {self.seconds:g}")
        if self.kind in LINK_KINDS and self.seconds == FOREVER:
            raise EcgEdgeError(f"fault {self.kind} needs an end: say for how many seconds")
        if self.kind in PACKET_KINDS and not 0 <= self.amount <= 1:
            raise EcgEdgeError(f"fault {self.kind}={self.amount:g} is no probability: use 0 to 1")
        if not 0 <= self.amount < FOREVER:
            raise EcgEdgeError(f"fault {self.kind}={self.amount:g} is not possible: use mV from 0 up")
        if self.leads and self.kind not in SIGNAL_KINDS:
            raise EcgEdgeError(f"fault {self.kind} concerns no leads: leave them out")

    def covers(self, seconds: float) -> bool:
        """Return whether it is going on at a second of the run."""
        return self.at <= seconds < self.at + self.seconds


@dataclass(frozen=True)
class Faults:
    """All that goes wrong with a device. The probabilities are per packet and independent of each other."""

    drop: float = 0.0
    """Probability that a packet is lost."""
    duplicate: float = 0.0
    """Probability that a packet comes twice."""
    reorder: float = 0.0
    """Probability that a packet changes places with the next one."""
    flip: float = 0.0
    """Probability that one bit of a packet is inverted; never in its last byte, which would hit the next one too."""
    drift: float = 0.0
    """Parts per million by which the device's clock, and with it its sampling, is fast; negative for slow."""
    timed: tuple[Fault, ...] = ()
    """What happens at a time. While a packet fault goes on, its probability counts if it is the larger one."""
    seed: int = 0
    """The same seed gives the same faults; changing one probability leaves the other decisions as they were."""

    def __post_init__(self) -> None:
        for name in PACKET_KINDS:
            if not 0 <= getattr(self, name) <= 1:
                raise EcgEdgeError(f"fault {name}={getattr(self, name):g} is no probability: use 0 to 1")
        if not -500_000 <= self.drift <= 500_000:  # a clock off by half is no clock
            raise EcgEdgeError(f"fault drift={self.drift:g} is not possible: use parts per million within 500000")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the faults in a text; see fault_script.parse."""
        from .fault_script import parse  # which makes these

        return cls(**parse(text))

    @property
    def unplugs(self) -> tuple[Fault, ...]:
        """Times at which the link goes away, in order."""
        return tuple(sorted((f for f in self.timed if f.kind == "unplug"), key=lambda f: f.at))

    @property
    def of_signal(self) -> tuple[Fault, ...]:
        """Faults of electrodes."""
        return tuple(f for f in self.timed if f.kind in SIGNAL_KINDS)

    def probability(self, kind: str, seconds: float) -> float:
        """Return the probability of a packet fault at a second of the run."""
        during = (f.amount for f in self.timed if f.kind == kind and f.covers(seconds))
        return max(getattr(self, kind), *during, 0.0)

    def release_us(self, due_us: int) -> int:
        """Return when a packet that is due at `due_us` comes through: later where that is within a stall."""
        for stall in sorted((f for f in self.timed if f.kind == "stall"), key=lambda f: f.at):
            if stall.covers(due_us / 1e6):
                due_us = round((stall.at + stall.seconds) * 1e6)
        return due_us

    def inject(self, packets: Iterable[bytes], counts: "FaultCounts | None" = None) -> Iterator[bytes]:
        """Yield `packets`, all of second 0, with these faults, and count them in `counts`."""
        injector = Injector(self, counts)
        for packet in packets:
            yield from injector.push(packet)
        yield from injector.flush()


@dataclass
class FaultCounts:
    """What was sent and done to it. Packets that arrive intact at least once: packets - dropped - flipped."""

    packets: int = 0
    """Packets taken in."""
    dropped: int = 0
    """Packets lost."""
    duplicated: int = 0
    """Packets sent twice, dropped ones not counted."""
    reordered: int = 0
    """Packets sent after their successor."""
    flipped: int = 0
    """Packets garbled, dropped ones not counted; both copies of a doubled one."""
    frames: int = 0
    """Frames that the packets held."""
    unplugged: int = 0
    """Times that the link went away."""


class Injector:
    """The packet faults of one run, packet by packet."""

    def __init__(self, faults: Faults, counts: FaultCounts | None = None) -> None:
        """Begin a run; `counts` go on counting those of an earlier one."""
        self.faults = faults
        self.counts = FaultCounts() if counts is None else counts
        self._random = random.Random(faults.seed)
        self._held: list[bytes] = []  # copies of a packet that waits for its successor

    def push(self, packet: bytes, seconds: float = 0.0) -> list[bytes]:
        """Return what to send now that `packet`, final byte included, is to be sent at a second of the run."""
        drop, duplicate, reorder, flip = (self.faults.probability(kind, seconds) for kind in PACKET_KINDS)
        counts = self.counts
        chances = [self._random.random() for _ in range(5)]  # always five, so that decisions stay independent
        counts.packets += 1
        if chances[0] < drop:
            counts.dropped += 1
            return []
        if chances[1] < flip:
            counts.flipped += 1
            packet = flip_bit(packet, int(chances[2] * 8 * (len(packet) - 1)))
        copies = [packet]
        if chances[3] < duplicate:
            counts.duplicated += 1
            copies.append(packet)
        held, self._held = self._held, []
        if not held and chances[4] < reorder:
            self._held = copies
            return []
        counts.reordered += bool(held)
        return copies + held

    def flush(self) -> list[bytes]:
        """Return what is still held at the end of a run."""
        held, self._held = self._held, []
        return held


def flip_bit(packet: bytes, bit: int) -> bytes:
    """Return `packet` with bit number `bit` inverted, counted from the first byte's most significant one."""
    garbled = bytearray(packet)
    garbled[bit // 8] ^= 0x80 >> bit % 8
    return bytes(garbled)
