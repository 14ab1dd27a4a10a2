"""Store and forward: events are on disk before they are sent, and stay there until they are acknowledged.

Two threads, so that a receiver that hangs does not keep events from the disk: the one of QueuedSink stores, the other
sends, oldest first, and tries again with growing pauses. What was sent but not acknowledged is sent again, in this run
or the next: every event arrives at least once, and the first arrivals are in order.
"""

import threading
from collections.abc import Collection, Sequence
from typing import Protocol

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..account import Account
from ..events import Event
from .queued import QueuedSink
from .store import Message, Store

BATCH = 20  # sent without waiting for each other's acknowledgement, where the receiver's protocol can do that
IDLE_S = 1.0  # so often the connection is looked after when there is nothing to send


class Refused(EcgEdgeError):
    """The receiver will never take this event."""


class Courier(Protocol):
    """Takes messages to one receiver; used by one thread."""

    def look_after(self) -> None:
        """Have a connection, if the protocol has such a thing; raises Undelivered."""
        ...

    def send(self, messages: Sequence[Message]) -> int:
        """Send messages in order and return how many of the first are acknowledged, at least one.

        Raises Undelivered where none is for now, Refused where the first never will be.
        """
        ...

    def close(self) -> None:
        """Take leave of the receiver, without an error."""
        ...


class StoreAndForward(QueuedSink):
    """Stores events and has a courier deliver them."""

    take_at_once = 100  # one synced write for all that have come meanwhile

    def __init__(self, name: str, store: Store, courier: Courier, *, types: Collection[str]) -> None:
        """Start both threads; arguments as for QueuedSink."""
        self._store, self._courier = store, courier
        self._sent = self._returned = self._failed = 0
        self._sending_trouble: str | None = None
        super().__init__(name, None, types=types)
        self._sender = threading.Thread(target=self._send_all, name=f"sender {name}", daemon=True)
        self._sender.start()

    def accounts(self) -> dict[str, Account]:
        """Return what became of the events, those of earlier runs that were still held included."""
        own = super().accounts()[self.name]
        dropped = own.dropped + self._store.dropped + self._returned
        return {self.name: Account(self._sent, dropped, own.held + len(self._store), self._failed)}

    def write(self, events: Sequence[Event]) -> None:
        """Store events and tell the sender."""
        self._store.add(events)

    def close(self) -> None:
        """Stop and take leave of the receiver; what is held stays on disk for the next run."""
        super().close()
        self._thread.join(IDLE_S)
        self._sender.join(IDLE_S)

    @property
    def trouble(self) -> str | None:
        """Why nothing can be delivered, or kept on disk, now; None while all is well."""
        return self._sending_trouble or super().trouble

    def _idle(self) -> bool:
        return super()._idle() and not len(self._store)

    def _stuck(self) -> bool:
        return super()._stuck() and super()._idle()  # what can go to the disk at least goes there

    def _send_all(self) -> None:
        attempt = 0
        while not self._closing:
            trouble = None
            try:
                self._send_some()
                attempt = 0
            except Exception as error:  # whatever it is, the next attempt may do better
                trouble = str(error) if isinstance(error, EcgEdgeError) else f"{type(error).__name__}: {error}"
                self._failed += 1
            with self._change:
                told = trouble or self._store.trouble
                self._sending_trouble = told and f"{self.name}: {told}"
                self._change.notify_all()
            if trouble:
                self._pause(attempt)
                attempt += 1
        self._courier.close()
        self._store.close()

    def _send_some(self) -> None:
        self._courier.look_after()
        messages = self._store.first(BATCH)
        if not messages:
            with self._change:
                self._change.wait_for(lambda: len(self._store) or self._closing, IDLE_S)
            return
        try:
            acknowledged = self._courier.send(messages)
        except Refused:
            self._returned += 1
            self._store.remove(messages[:1])
            raise
        self._sent += acknowledged
        self._store.remove(messages[:acknowledged])
