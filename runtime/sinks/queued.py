"""A sink behind a bounded queue, with a thread of its own: what it waits for, nobody else waits for."""

import threading
from collections.abc import Collection, Sequence

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..account import Account
from ..events import EVENT_TYPES, Event
from . import Sink, Undelivered
from .backlog import Backlog

QUEUE_EVENTS = 1000  # about a megabyte, and more than an hour of a stream without `--probabilities`
RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # pauses between attempts; the last one repeats


class QueuedSink:
    """Hands events to another sink from a thread. `emit` never waits; see Outlet."""

    take_at_once = 1
    """Events that the thread takes out of the queue together."""

    def __init__(
        self,
        name: str,
        sink: Sink | None,
        *,
        types: Collection[str] = tuple(EVENT_TYPES),
        limit: int = QUEUE_EVENTS,
        vital: bool = False,
    ) -> None:
        """Start the thread.

        name: for messages and accounts; sink: gets the events, one after the other, and None where a subclass has
        its own `write`; types: those of events that are passed on; limit: most events that wait. vital: the run is
        not worth going on with without this sink: whatever it raises, `emit` raises, and `close` waits for it.
        """
        self.name = name
        """Name in messages and accounts."""
        self._trouble: str | None = None
        self._sink, self._types, self._vital = sink, frozenset(types), vital
        self._change = threading.Condition()
        self._waiting = Backlog(limit)
        self._taken = 0  # events that the thread has in hand
        self._delivered = self._refused = self._failures = 0
        self._closing = False
        self._fatal: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Why nothing can be delivered now; None while all is well."""
        return self._trouble

    def emit(self, event: Event) -> None:
        """Take one event; raises only what a vital sink has raised."""
        if event.type not in self._types:
            return
        with self._change:
            if self._fatal is not None:
                raise self._fatal
            self._waiting.add(event)
            self._change.notify_all()

    def accounts(self) -> dict[str, Account]:
        """Return what became of the events."""
        with self._change:
            held = len(self._waiting) + self._taken
            return {self.name: Account(self._delivered, self._waiting.dropped + self._refused, held, self._failures)}

    def settle(self, timeout: float) -> None:
        """Wait until nothing is held, the sink is in trouble, or the time is over."""
        with self._change:
            self._change.wait_for(lambda: self._idle() or self._stuck(), timeout)

    def close(self) -> None:
        """Stop; what is held is given up, but by a vital sink, whose reader is waited for."""
        with self._change:
            if self._vital:
                self._change.wait_for(lambda: self._idle() or self._fatal is not None)
            self._closing = True
            self._change.notify_all()
        if self._sink is not None:
            self._sink.close()

    def write(self, events: Sequence[Event]) -> None:
        """Get rid of `events`, at most `take_at_once`; raises Undelivered where they are to be tried again."""
        assert self._sink is not None
        for event in events:
            self._sink.emit(event)

    def _pause(self, attempt: int) -> None:
        """Wait after failed attempt number `attempt`, from 0, or until the sink closes."""
        with self._change:
            self._change.wait_for(lambda: self._closing, RETRY_S[min(attempt, len(RETRY_S) - 1)])

    def _idle(self) -> bool:
        return not len(self._waiting) and not self._taken

    def _stuck(self) -> bool:
        return self.trouble is not None

    def _run(self) -> None:
        attempt = 0
        while not self._closing:
            with self._change:
                self._change.wait_for(lambda: len(self._waiting) or self._closing)
                events = self._waiting.take(self.take_at_once)
                self._taken = len(events)
            if events and self._attempt(events):
                attempt = 0
            elif events:
                self._pause(attempt)
                attempt += 1

    def _attempt(self, events: list[Event]) -> bool:
        """Write events and return whether they are off the hands of this sink."""
        trouble, again = None, False
        try:
            self.write(events)
        except Exception as error:  # whatever it is, the other sinks and the engine go on
            trouble = f"{self.name}: {error if isinstance(error, EcgEdgeError) else f'{type(error).__name__}: {error}'}"
            again = isinstance(error, Undelivered)
            if self._vital:
                self._fatal = error
        with self._change:
            self._taken = 0
            if again:
                self._waiting.put_back(events)
            elif trouble is not None:
                self._refused += len(events)
            else:
                self._delivered += len(events)
            self._failures += trouble is not None
            self._trouble = trouble
            self._change.notify_all()
        return not again
