"""The boards by name, and their settings as text: `cyton`, `cyton:gain=12`, `csv:rate=250,uv=4.44`."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from ..errors import EcgEdgeError
from ..protocol import Hello
from ..recording import COUNT_LIMIT, Recording
from .ads129x import Ads129x, Ads129xSettings, Ads129xVoice
from .board import Board
from .csv_lines import CsvLines, CsvSettings, CsvVoice
from .cyton import Cyton, CytonSettings, CytonVoice
from .native import Native
from .protocentral import Protocentral, ProtocentralSettings, ProtocentralVoice
from .voice import NativeVoice, Voice

Settings = Ads129xSettings | CsvSettings | CytonSettings | ProtocentralSettings | None
_SETTINGS: dict[str, type[Any] | None] = {
    "native": None,
    "ads129x": Ads129xSettings,
    "cyton": CytonSettings,
    "protocentral": ProtocentralSettings,
    "csv": CsvSettings,
}
BOARDS = tuple(_SETTINGS)
"""Names of the boards; `native` speaks PROTOCOL.md."""


@dataclass(frozen=True)
class Choice:
    """A kind of board and how it is set up."""

    name: str
    """One of BOARDS."""
    settings: Settings = None
    """Its settings, None where it has none."""
    text: str = ""
    """What was read."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the choice in a text; raises EcgEdgeError naming the boards, or the settings, that there are."""
        name, _, rest = text.partition(":")
        if name not in _SETTINGS:
            raise EcgEdgeError(f"unknown board {name!r}: use {', '.join(BOARDS)}")
        kind = _SETTINGS[name]
        known = {} if kind is None else {f.name: f.type for f in fields(kind)}
        values: dict[str, Any] = {}
        for item in filter(None, (part.strip() for part in rest.split(","))):
            key, _, value = (part.strip() for part in item.partition("="))
            if key not in known:
                raise EcgEdgeError(f"board {name} has no setting {key!r}: use {', '.join(known) or 'none'}")
            try:
                values[key] = float(value) if known[key] is float else int(value, 0)
            except ValueError:
                raise EcgEdgeError(f"setting {item!r} of board {name} is no number: give one") from None
        return cls(name, None if kind is None else kind(**values), text)

    def board(self) -> Board:
        """Return the host's side of such a board."""
        match self.settings:
            case CytonSettings():
                return Cyton(self.settings)
            case Ads129xSettings():
                return Ads129x(self.settings)
            case ProtocentralSettings():
                return Protocentral(self.settings)
            case CsvSettings():
                return CsvLines(self.settings)
        return Native()

    def voice(self) -> Voice:
        """Return the simulated side of such a board."""
        match self.settings:
            case CytonSettings():
                return CytonVoice()
            case Ads129xSettings():
                return Ads129xVoice(self.settings)
            case ProtocentralSettings():
                return ProtocentralVoice()
            case CsvSettings():
                return CsvVoice()
        return NativeVoice()

    def digitized(self, recording: Recording) -> Recording:
        """Return a recording as this board's converter gives it; raises EcgEdgeError where rate or channels do not fit.

        A channel that is off stands at the end of scale, which some boards have no other way to say.
        """
        if self.settings is None or isinstance(self.settings, CsvSettings):
            return recording
        hello: Hello = self.settings.hello
        if recording.rate != hello.rate:
            raise EcgEdgeError(
                f"{recording.name} has {recording.rate} Hz, a {self.name} sends {hello.rate}: "
                f"choose another record, or --board {self.name}:rate={recording.rate} here and where it is monitored"
            )
        if len(recording.leads) > len(hello.leads):
            raise EcgEdgeError(
                f"{recording.name} has {len(recording.leads)} leads, a {self.name} {len(hello.leads)}: "
                f"leave out the others with --leads"
            )
        scaled = np.rint(recording.counts * (recording.pv_per_lsb / hello.pv_per_lsb))
        if recording.invalid is not None:
            scaled[recording.invalid] = COUNT_LIMIT
        counts = np.clip(scaled, -COUNT_LIMIT, COUNT_LIMIT).astype(np.int32)
        return replace(recording, counts=counts, pv_per_lsb=hello.pv_per_lsb)
