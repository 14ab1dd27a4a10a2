"""What a bad link does to packets, on purpose and reproducibly: lost, doubled, swapped, garbled and late ones."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Self

from .errors import EcgEdgeError


@dataclass(frozen=True)
class Stall:
    """A time in which the link passes nothing on; what was due comes all at once afterwards."""

    seconds: float
    """How long it lasts."""
    at: float
    """When it begins, in seconds of signal since the run started."""


@dataclass(frozen=True)
class Faults:
    """What happens to the packets of a run; probabilities are per packet and independent of each other."""

    drop: float = 0.0
    """Probability that a packet is lost."""
    duplicate: float = 0.0
    """Probability that a packet comes twice."""
    reorder: float = 0.0
    """Probability that a packet changes places with the next one."""
    flip: float = 0.0
    """Probability that one bit of a packet is inverted; never in its final zero, which would hit the next one too."""
    stall: tuple[Stall, ...] = ()
    """Times in which nothing comes through."""
    seed: int = 0
    """The same seed gives the same faults; changing one probability leaves the other decisions as they were."""

    def __post_init__(self) -> None:
        for name in ("drop", "duplicate", "reorder", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise EcgEdgeError(f"fault {name}={getattr(self, name):g} is no probability: use 0 to 1")
        if not all(0 <= s.seconds < float("inf") and 0 <= s.at < float("inf") for s in self.stall):
            raise EcgEdgeError("fault stall needs seconds from 0 up, as in stall=2@10 (2 s at second 10)")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the faults in a text such as `drop=0.01,flip=0.001,stall=2@10,seed=7`.

        `stall=SECONDS@SECOND` may come several times, the others once. Raises EcgEdgeError naming the known keys.
        """
        known = [f.name for f in fields(cls)]
        values: dict[str, float] = {}
        stalls: list[Stall] = []
        for item in filter(None, (part.strip() for part in text.split(","))):
            key, _, value = (part.strip() for part in item.partition("="))
            if key not in known:
                raise EcgEdgeError(f"unknown fault {key!r}: use {', '.join(known)} (as in drop=0.01,stall=2@10)")
            if key in values:
                raise EcgEdgeError(f"fault {key} is given twice: give it once")
            try:
                if key == "stall":
                    seconds, at = value.split("@")
                    stalls.append(Stall(float(seconds), float(at)))
                else:
                    values[key] = int(value) if key == "seed" else float(value)
            except ValueError:
                form = {"stall": "SECONDS@SECOND", "seed": "a whole number"}.get(key, "a probability, 0 to 1")
                raise EcgEdgeError(f"fault {item!r} cannot be read: {key} takes {form}") from None
        return cls(**values, stall=tuple(stalls))  # type: ignore[arg-type]

    def release_us(self, due_us: int) -> int:
        """Return when a packet that is due at `due_us` comes through: later where that is within a stall."""
        for stall in sorted(self.stall, key=lambda s: s.at):
            if stall.at * 1e6 <= due_us < (stall.at + stall.seconds) * 1e6:
                due_us = round((stall.at + stall.seconds) * 1e6)
        return due_us

    def inject(self, packets: Iterable[bytes], counts: "FaultCounts | None" = None) -> Iterator[bytes]:
        """Yield `packets` with these faults, stalls apart, and count them in `counts`."""
        injector = Injector(self, counts)
        for packet in packets:
            yield from injector.push(packet)
        yield from injector.flush()


@dataclass
class FaultCounts:
    """What an injector did. Packets that arrive intact at least once: packets - dropped - flipped."""

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


class Injector:
    """The faults of one run, packet by packet."""

    def __init__(self, faults: Faults, counts: FaultCounts | None = None) -> None:
        """Begin a run; `counts` go on counting those of an earlier one."""
        self.faults = faults
        self.counts = FaultCounts() if counts is None else counts
        self._random = random.Random(faults.seed)
        self._held: list[bytes] = []  # copies of a packet that waits for its successor

    def push(self, packet: bytes) -> list[bytes]:
        """Return what to send now that `packet`, final zero included, is to be sent."""
        faults, counts = self.faults, self.counts
        chances = [self._random.random() for _ in range(5)]  # always five, so that decisions stay independent
        counts.packets += 1
        if chances[0] < faults.drop:
            counts.dropped += 1
            return []
        if chances[1] < faults.flip:
            counts.flipped += 1
            packet = flip_bit(packet, int(chances[2] * 8 * (len(packet) - 1)))
        copies = [packet]
        if chances[3] < faults.duplicate:
            counts.duplicated += 1
            copies.append(packet)
        held, self._held = self._held, []
        if not held and chances[4] < faults.reorder:
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
