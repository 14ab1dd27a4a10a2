"""Where events go: lines of JSON for machines, a log for people."""

from typing import Protocol, TextIO, runtime_checkable

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..account import Account
from ..events import Event


class Undelivered(EcgEdgeError):
    """An event that could not be delivered now and may be later."""


class Sink(Protocol):
    """Takes stamped events, one after the other."""

    def emit(self, event: Event) -> None:
        """Write one event; raises EcgEdgeError where that is no longer possible."""
        ...

    def close(self) -> None:
        """Give back what the sink holds; may be called after a failure, and does not raise."""
        ...


@runtime_checkable
class Outlet(Sink, Protocol):
    """A sink that takes events at once and gets rid of them in its own time, and keeps account of that."""

    @property
    def trouble(self) -> str | None:
        """Return why it cannot get rid of them now; None while all is well."""
        ...

    def accounts(self) -> dict[str, Account]:
        """Return what became of the events, by the name of the sink."""
        ...

    def settle(self, timeout: float) -> None:
        """Wait until nothing is held, nothing can be done about it, or the time is over."""
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
