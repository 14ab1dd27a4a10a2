"""Where events go: lines of JSON for machines, a log for people."""

from typing import Protocol, TextIO

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..events import Event


class Sink(Protocol):
    """Takes stamped events, one after the other."""

    def emit(self, event: Event) -> None:
        """Write one event; raises EcgEdgeError where that is no longer possible."""
        ...

    def close(self) -> None:
        """Give back what the sink holds; may be called after a failure, and does not raise."""
        ...


def write_out(stream: TextIO, text: str) -> None:
    """Write `text` and a newline and flush them, so that whoever reads along has them at once.

    Raises EcgEdgeError where the disk refuses, and BrokenPipeError where the reader has gone.
    """
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise EcgEdgeError(
            f"cannot write events to {stream.name} ({error.strerror}): free the disk, or write elsewhere"
        ) from None
