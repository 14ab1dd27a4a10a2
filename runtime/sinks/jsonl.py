"""Events as lines of JSON."""

from contextlib import suppress
from pathlib import Path
from typing import TextIO

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..events import Event, to_json
from . import write_out


class JsonLines:
    """Writes each event as a line, flushed, so that a reader of the pipe has it at once."""

    def __init__(self, stream: TextIO) -> None:
        """Write to an open text stream, which stays open."""
        self._stream = stream

    def emit(self, event: Event) -> None:
        """Write one event; see Sink."""
        write_out(self._stream, to_json(event))

    def close(self) -> None:
        """Leave the stream open, which belongs to the caller; every line has been flushed."""


class JsonLinesFile(JsonLines):
    """Appends each event to a file."""

    def __init__(self, path: Path) -> None:
        """Open for appending; raises EcgEdgeError where that is not possible."""
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise EcgEdgeError(f"cannot write the log {path} ({error.strerror}): name another file") from None
        super().__init__(self._file)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # a line that could not be written is told by `emit`, and tried again here
            self._file.close()
