"""Where events go: lines of JSON for machines, a log for people."""

from typing import Protocol

from ..events import Event


class Sink(Protocol):
    """Takes stamped events, one after the other."""

    def emit(self, event: Event) -> None:
        """Write one event."""
        ...

    def close(self) -> None:
        """Write out what is still held."""
        ...
