"""Events that wait, in bounded number: where there are too many, what matters least goes first, the oldest of it."""

from collections import deque
from collections.abc import Sequence

from ..events import Alert, Event, Summary, Technical


def value_of(event: Event) -> int:
    """Return how much an event matters: a status least, then technical ones, updates, alerts that begin or end."""
    if isinstance(event, Summary):
        return 4
    if isinstance(event, Alert):
        return 2 if event.phase == "update" else 3
    return 1 if isinstance(event, Technical) else 0


class Backlog:
    """A queue of events in the order in which they came."""

    def __init__(self, limit: int) -> None:
        """Start empty; limit: most events that are kept."""
        self._limit = limit
        self._events: deque[Event] = deque()
        self.dropped = 0
        """Events that had to go."""

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> None:
        """Add an event, and drop one where that makes too many."""
        self._events.append(event)
        self._trim()

    def put_back(self, events: Sequence[Event]) -> None:
        """Put what was taken back before the others, and drop what makes too many."""
        self._events.extendleft(reversed(events))
        self._trim()

    def take(self, most: int) -> list[Event]:
        """Return up to `most` of the oldest events and forget them."""
        return [self._events.popleft() for _ in range(min(most, len(self._events)))]

    def _trim(self) -> None:
        while len(self._events) > self._limit:
            place = min(range(len(self._events)), key=lambda k: value_of(self._events[k]))  # the first of the least
            del self._events[place]
            self.dropped += 1
