"""Lines of numbers, as an Arduino with an AD8232 prints them: a sample a line, its channels separated.

    # rate=250 uv=4.44 leads=I,II        said once, or given by the user instead
    512,498
    !,499                                channel 1 is off
    !                                    all of them are

Numbers may be decimal, separated by commas, semicolons, tabs or spaces. `uv` is how many microvolts a unit of the
numbers is: of a converter of 10 bits at 5 V behind the 1100-fold gain of the common AD8232 board, 5 V / 1024 / 1100 =
4.44. `!` is what the widespread AD8232 sketch prints while an electrode is off; nan and nothing mean the same. A line
of names alone (`I,II`) says the leads. There is no standard: this is what such sketches print, and the heading is ours.

It lacks a checksum (a garbled digit is another number), any counter (lines that are lost go unnoticed), a time, and
text takes twice the bytes: at 9600 baud not even 250 lines a second of one channel pass.
"""

import math
import re
from dataclasses import dataclass

from ..errors import EcgEdgeError
from ..leads import UnknownLeadError, canonical_all
from ..protocol import MAX_CHANNELS, Hello, Message, Packet, Samples
from ..recording import COUNT_LIMIT
from .frames import FRAMES_A_PIECE, BoardCounters, FrameWriter

PV_PER_COUNT = 100_000
"""Counts of 0.1 microvolt: finer than any such converter, and 24 bits of them hold +-838 mV."""
LONGEST_LINE = 512
"""Bytes after which a line is given up: sixteen numbers take half of that."""
OFF = ("!", "", "nan")
_SEPARATOR = re.compile(rb"[,;]|[ \t]+")


@dataclass(frozen=True)
class CsvSettings:
    """What the board does not say itself; 0 where it does."""

    rate: int = 0
    """Lines per second."""
    uv: float = 0.0
    """Microvolts of a unit."""

    def __post_init__(self) -> None:
        if not (0 <= self.rate <= 0xFFFF and 0 <= self.uv < math.inf):
            raise EcgEdgeError(f"rate {self.rate} Hz, {self.uv:g} uV a unit are not possible: use numbers above 0")


class CsvLines:
    """The host's side; see Board."""

    name = "csv"
    baud = 115_200
    sends = "line of numbers whose rate and unit are known"
    mend = "say both, as in --board csv:rate=250,uv=4.44"
    counts_losses = False

    def __init__(self, settings: CsvSettings) -> None:
        """Start at any place of a stream: what comes before the first end of a line is dropped."""
        self._rate, self._uv = settings.rate, settings.uv
        self._leads: tuple[str, ...] | None = None
        self._counters = BoardCounters()
        self._writer: FrameWriter | None = None
        self._partial = b""
        self._midway, self._overlong = True, False

    def feed(self, data: bytes) -> list[Packet]:
        """As in Board."""
        self._counters.bytes += len(data)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            if self._overlong or len(line) > LONGEST_LINE:
                self._give_up(len(line) + 1)
            elif self._midway and not line.startswith(b"#"):  # a heading with its mark is no half line
                self._counters.resync_bytes += len(line) + 1
            elif text := line.strip():
                self._line(text, len(line) + 1)
            self._midway = self._overlong = False
        if self._overlong or len(self._partial) > LONGEST_LINE:
            self._give_up(len(self._partial))
            self._partial = b""
        return [] if self._writer is None else self._writer.take()

    def _give_up(self, size: int) -> None:
        self._counters.bad_frames += not (self._overlong or self._midway)
        self._counters.resync_bytes += size
        self._overlong = True

    def _line(self, text: bytes, size: int) -> None:
        if text.startswith(b"#"):
            self._heading(text[1:].decode("ascii", "replace"))
            return
        fields = [f.strip().decode("ascii", "replace") for f in _SEPARATOR.split(text)]
        if self._writer is None and self._names(fields):
            return
        values = [_number(field) for field in fields]
        all_off = fields == ["!"]
        channels = len(self._writer.hello.leads) if self._writer is not None else len(self._leads or values)
        if not all_off and (None in values or len(values) != channels):
            self._counters.bad_frames += 1
            self._counters.resync_bytes += size
            return
        if self._writer is None:
            if not (self._rate and self._uv) or channels > MAX_CHANNELS or (all_off and self._leads is None):
                return
            hello = Hello(self._rate, PV_PER_COUNT, self._leads or (None,) * channels, "lines of numbers")
            self._writer = FrameWriter(hello)
        numbers = [math.nan] * channels if all_off else [math.nan if v is None else v for v in values]
        off = sum(1 << c for c, value in enumerate(numbers) if math.isnan(value))
        self._counters.packets += 1
        self._writer.add([self._count(value) for value in numbers], off)

    def _count(self, value: float) -> int:
        if math.isnan(value):
            return 0
        return round(max(-COUNT_LIMIT, min(COUNT_LIMIT, value * self._uv * (1e6 / PV_PER_COUNT))))

    def _heading(self, text: str) -> None:
        """Take `rate=250 uv=4.44 leads=I,II`; what the user has said counts more, and what is none of it nothing."""
        said = dict(item.split("=", 1) for item in text.split() if "=" in item)
        if self._writer is not None:
            return
        if not self._rate and said.get("rate", "").isdecimal() and 0 < int(said["rate"]) <= 0xFFFF:
            self._rate = int(said["rate"])
        unit = _number(said.get("uv", ""))
        if not self._uv and unit is not None and 0 < unit < math.inf:
            self._uv = unit
        if "leads" in said:
            self._names(said["leads"].split(","))

    def _names(self, fields: list[str]) -> bool:
        """Return whether these are names of leads, and remember them."""
        try:
            self._leads = canonical_all(fields)
        except UnknownLeadError:
            return False
        return True

    def pieces(self, data: bytes) -> list[bytes]:
        """As in Board: a few lines."""
        lines = data.splitlines(keepends=True)
        return [b"".join(lines[k : k + FRAMES_A_PIECE]) for k in range(0, len(lines), FRAMES_A_PIECE)]

    def pending(self) -> int:
        """As in Board."""
        return len(self._partial)

    def command(self, _message: Message) -> bytes:
        """As in Board: it takes none."""
        return b""

    def resume(self) -> None:
        """As in Board."""
        self._partial, self._midway, self._overlong = b"", True, False
        if self._writer is not None:
            self._writer.restart()

    def counters(self) -> dict[str, int]:
        """As in Board; the names are BoardCounters'."""
        return dict(vars(self._counters))


def _number(field: str) -> float | None:
    """Return a finite number, nan for an electrode that is off, None for what is neither."""
    if field.lower() in OFF:
        return math.nan
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class CsvVoice:
    """A simulated Arduino; see Voice. It says its heading when its port is opened, which resets such a board."""

    takes_commands = False
    frames_per_packet: int | None = 1

    def connect(self) -> None:
        """As in Voice."""

    def say(self, message: Message, _time_us: int) -> bytes:
        """As in Voice."""
        if isinstance(message, Hello):
            leads = ",".join(str(lead) for lead in message.leads)
            return f"# rate={message.rate} uv={message.pv_per_lsb / 1e6:.9g} leads={leads}\n".encode()
        if not isinstance(message, Samples):
            return b""
        fields = ["!" if off else str(v) for v, off in zip(message.counts[0], message.off, strict=True)]
        return ",".join(fields).encode() + b"\n"

    def hear(self, _data: bytes) -> list[Packet]:
        """As in Voice."""
        return []
