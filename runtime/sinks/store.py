"""Events on disk until somebody has acknowledged them: SQLite, because it survives a kill at any moment.

Each commit is synced (`synchronous = FULL`), so what is stored survives a power cut too. A disk that refuses turns the
store into a bounded queue in memory until it takes events again; a file that is no database, or a damaged one, is put
aside under another name and a new one is begun, since an old event must not keep a new one from being delivered.
"""

import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..events import Event, to_json
from . import Undelivered
from .backlog import value_of

STORE_EVENTS = 50_000  # 20 to 40 MB on disk; days without a network, since alerts are the last to go

UNSAVED_EVENTS = 1000  # about a megabyte of memory
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, value INTEGER, type TEXT, line TEXT)"
)
_INDEX = "CREATE INDEX IF NOT EXISTS by_value ON events (value, id)"


@dataclass(frozen=True)
class Message:
    """An event on its way."""

    id: int
    """Place in the store, rising in the order of the events; 0 while it is in memory only."""
    value: int
    """How much it matters; see backlog.value_of."""
    type: str
    """Type of the event."""
    line: str
    """The event as a line of JSON."""


class Store:
    """A bounded queue of events on disk, for several threads of one process."""

    def __init__(self, path: Path, limit: int = STORE_EVENTS) -> None:
        """Open or begin the store at `path`; raises EcgEdgeError where another process has it or it cannot be made."""
        self._path, self._limit = path, limit
        self._lock = threading.Lock()
        self._unsaved: list[Message] = []  # later than all on disk
        self._past = 0  # events up to this one are dealt with, whether the disk could be told or not
        self.dropped = 0
        """Events that had to go because there were too many."""
        self.trouble: str | None = None
        """Why the disk does not take events now."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open_or_begin()
            self._saved = int(self._database.execute("SELECT COUNT(*) FROM events").fetchone()[0])
        except (OSError, sqlite3.Error) as error:
            raise EcgEdgeError(
                f"cannot keep events in {path} ({error}): give each sink of each monitor its own store"
            ) from None

    def __len__(self) -> int:
        return self._saved + len(self._unsaved)

    def add(self, events: Sequence[Event]) -> None:
        """Add events: on disk where it takes them, else in memory, as `trouble` tells."""
        with self._lock:
            self._unsaved += [Message(0, value_of(event), event.type, to_json(event)) for event in events]
            try:
                with self._database:
                    self._save()
                self.trouble = None
            except sqlite3.Error as error:
                self.trouble = f"cannot keep events in {self._path} ({error}): make room"
                while len(self._unsaved) > UNSAVED_EVENTS:
                    self._unsaved.remove(min(self._unsaved, key=lambda message: message.value))
                    self.dropped += 1
                return
            excess = max(0, self._saved + len(self._unsaved) - self._limit)
            self._saved += len(self._unsaved) - excess
            self.dropped += excess
            self._unsaved.clear()

    def first(self, most: int) -> list[Message]:
        """Return the oldest events, at most so many; raises Undelivered where the disk does not give them."""
        with self._lock:
            wanted = "SELECT id, value, type, line FROM events WHERE id > ? ORDER BY id LIMIT ?"
            try:
                rows = self._database.execute(wanted, (self._past, most)).fetchall()
            except sqlite3.Error as error:
                raise Undelivered(f"cannot read events from {self._path} ({error}): check the disk") from None
            return [Message(*row) for row in rows] or self._unsaved[:most]

    def remove(self, messages: Sequence[Message]) -> None:
        """Forget what `first` gave, or the first of it, as dealt with."""
        with self._lock:
            if messages and not messages[0].id:
                kept = {id(message) for message in messages}
                self._unsaved = [message for message in self._unsaved if id(message) not in kept]
            elif messages:
                self._past = messages[-1].id
                with suppress(sqlite3.Error), self._database:  # done with the next ones where the disk is full
                    done = self._database.execute("DELETE FROM events WHERE id <= ?", (self._past,))
                    self._saved -= done.rowcount

    def close(self) -> None:
        """Close the file."""
        with self._lock, suppress(sqlite3.Error):
            self._database.close()

    def _save(self) -> None:
        rows = [(message.value, message.type, message.line) for message in self._unsaved]
        self._database.executemany("INSERT INTO events (value, type, line) VALUES (?, ?, ?)", rows)
        excess = self._saved + len(rows) - self._limit
        if excess > 0:
            least = "SELECT id FROM events ORDER BY value, id LIMIT ?"
            self._database.execute(f"DELETE FROM events WHERE id IN ({least})", (excess,))

    def _open_or_begin(self) -> None:
        """Open the database; put one that is damaged aside and begin another."""
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, not allowed, full: nothing is wrong with what is in it
            os.replace(self._path, self._path.with_name(self._path.name + ".damaged"))
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._open()

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, timeout=1.0, check_same_thread=False)
        # Two monitors with one store would send each other's events twice.
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self._database.execute(f"PRAGMA {setting}").fetchone()
        with self._database:
            self._database.execute(_SCHEMA)
            self._database.execute(_INDEX)
            self._database.execute("PRAGMA user_version = 1")
