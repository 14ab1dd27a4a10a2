"""Recording beside the engine: a bounded queue, and a thread that puts signal and events on disk.

The engine's thread only hands over. What the disk does not take stays in the queue, whose bound drops the oldest.
Frames carry their place in the stream, so whatever is missing between two written ones, lost on the link or here, shows
in the record as samples marked missing, never as zeros or as a shorter stream.
"""

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..account import Account
from ..engine import StreamFormat
from ..events import Event, to_json
from ..sinks.backlog import Backlog
from ..sources.wfdb_header import reason
from .folder import RecordFolder
from .record import OpenRecord, Origin

WRITE_S = 0.25  # a process that is killed loses what came since the last write: a quarter of what is allowed
SYNC_S = 5.0  # a power cut loses what came since the last sync; each one costs a flash card an erase block or two
QUEUE_S = 60.0  # seconds of signal held for a disk that hangs or is full: 2 MB for 8 leads at 500 Hz
EVENTS_HELD = 1000  # the same for events: an hour and more of them
FILL_S = 60.0  # longest gap that is filled with missing samples; after a longer one a new record begins
RECORDS_IN_CAP = 8  # a record has an eighth of the cap at most, so that removing the oldest takes little


@dataclass(frozen=True)
class RecordSettings:
    """How much is kept, and in what pieces."""

    total_bytes: int = 1_000_000_000
    """Bytes of all records in the folder together; the oldest are removed for it. A day of 8 leads at 500 Hz."""
    hours: float = 1.0
    """Longest record in hours; one of an eighth of `total_bytes` is also long enough."""


@dataclass(frozen=True)
class _Piece:
    """Consecutive frames that wait."""

    frame: int
    """Place of the first in the stream."""
    counts: npt.NDArray[np.int32]
    invalid: npt.NDArray[np.bool_] | None
    came: datetime
    """Time of day at which the last came."""


class Recorder:
    """Records one stream into a folder."""

    def __init__(self, path: Path, settings: RecordSettings, *, live: bool) -> None:
        """Lock the folder; raises EcgEdgeError where that is not possible.

        live: drop what the disk is too slow for; otherwise the one who hands over waits, while the disk takes anything.
        """
        self._folder, self._settings, self._live = RecordFolder(path), settings, live
        self._stream: StreamFormat | None = None
        self._change = threading.Condition()
        self._pieces: deque[_Piece] = deque()
        self._events = Backlog(EVENTS_HELD)
        self._frame = 0  # of the stream, that comes next
        self._queued = 0  # frames in `_pieces`
        self._written, self._lost = 0, 0  # frames
        self._events_written = 0
        self._events_in_hand = 0  # taken from `_events`, and not written yet
        self._failures = 0
        self._closing = self._urgent = False
        self._record: OpenRecord | None = None  # the thread's own, as what follows
        self._synced = time.monotonic()
        self.trouble: str | None = None
        """Why nothing can be written now; None while all is well."""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def begin(self, stream: StreamFormat) -> None:
        """Be told what the frames are, before the first of them."""
        self._stream = stream

    def chunk(self, counts: npt.NDArray[np.int32], invalid: npt.NDArray[np.bool_] | None) -> None:
        """Take frames (n, channels) as they came, which the caller does not change afterwards."""
        assert self._stream is not None
        piece = _Piece(self._frame, counts, invalid, datetime.now(UTC))
        limit = round(QUEUE_S * self._stream.rate)
        with self._change:
            if not self._live:
                self._change.wait_for(lambda: self._has_room(len(counts), limit) or self.trouble or self._closing)
            self._pieces.append(piece)
            self._queued += len(counts)
            while self._queued > limit and len(self._pieces) > 1:
                self._lost += self._forget_oldest()
            if self._queued > limit // 2:
                self._wake()
        self._frame += len(counts)

    def gap(self, frames: int) -> None:
        """Take note that frames were lost before they came here."""
        self._frame += frames

    def emit(self, event: Event) -> None:
        """Take an event, to be written beside the signal; see Sink."""
        with self._change:
            self._events.add(event)

    def accounts(self) -> dict[str, Account]:
        """Return what became of the frames and of the events."""
        with self._change:
            return {
                "record_events": Account(self._events_written, self._events.dropped, self._events_held, self._failures),
                "record_frames": Account(self._written, self._lost, self._queued, self._failures),
            }

    def settle(self, timeout: float) -> None:
        """Wait until all is written, the disk fails, or the time is over."""
        deadline = time.monotonic() + timeout
        with self._change:
            while (self._pieces or (self._record and self._events_held)) and not self.trouble:
                self._wake()
                if not self._change.wait(deadline - time.monotonic()):
                    return

    def close(self, timeout: float = QUEUE_S) -> None:
        """Write what is there, finish the record, let go of the folder; leave what takes longer to the thread."""
        with self._change:
            self._closing = True
            self._wake()
        self._thread.join(timeout)

    @property
    def _events_held(self) -> int:
        return len(self._events) + self._events_in_hand

    def _has_room(self, frames: int, limit: int) -> bool:
        return not self._pieces or self._queued + frames <= limit

    def _wake(self) -> None:
        """Have the thread write now."""
        self._urgent = True
        self._change.notify_all()

    def _forget_oldest(self) -> int:
        frames = len(self._pieces.popleft().counts)
        self._queued -= frames
        return frames

    def _run(self) -> None:
        self._try(self._folder.finish_left_open)
        closing = False
        while not closing:
            with self._change:
                self._change.wait_for(lambda: self._urgent, WRITE_S)
                closing, self._urgent = self._closing, False
            self._try(self._write)
            with self._change:
                self._change.notify_all()
        if self._record is not None:
            self._record.finish()
        self._folder.close()

    def _try(self, work: Callable[[], None]) -> None:
        """Do what needs the disk; where it fails, count that, and keep what was not written for the next time."""
        try:
            work()
            trouble = None
        except Exception as error:  # whatever it is, the signal is judged on
            trouble = f"cannot record in {self._folder.path} ({reason(error)}): make room, or check the disk"
            if getattr(error, "errno", None) == errno.ESTALE and self._record is not None:
                self._record.close()  # its files are not there any more: the next frames begin another
                self._record = None
        with self._change:
            self._failures += trouble is not None
            self.trouble = trouble

    def _write(self) -> None:
        while True:
            with self._change:
                piece = self._pieces[0] if self._pieces else None
                events = self._events_before(piece)
                self._events_in_hand = len(events)
            if self._record is not None:
                self._write_events(self._record, events)
            if piece is None:
                break
            self._write_piece(piece)
            with self._change:
                if self._pieces and self._pieces[0] is piece:  # not dropped for newer ones meanwhile
                    self._forget_oldest()
                else:
                    self._lost -= len(piece.counts)
                self._written += len(piece.counts)
                self._change.notify_all()
        if self._record is not None and time.monotonic() - self._synced >= SYNC_S:
            self._synced = time.monotonic()
            self._record.sync()

    def _events_before(self, piece: _Piece | None) -> list[Event]:
        """Take the events that come before `piece`, all of them where it is None, none while there is no record."""
        if self._record is None or self._stream is None:
            return []
        events = self._events.take(EVENTS_HELD)
        if piece is None:
            return events
        seconds = piece.frame / self._stream.rate
        count = next((k for k, event in enumerate(events) if event.time > seconds), len(events))
        self._events.put_back(events[count:])
        return events[:count]

    def _write_piece(self, piece: _Piece) -> None:
        assert self._stream is not None
        record = self._record
        if record is not None and self._is_over(record, piece, self._stream.rate):
            record.finish()
            record = self._record = None
        if record is None:
            self._folder.make_room(self._settings.total_bytes * (RECORDS_IN_CAP - 1) // RECORDS_IN_CAP)
            began = piece.came - timedelta(seconds=len(piece.counts) / self._stream.rate)
            record = self._record = OpenRecord(self._folder.new(began), self._stream, Origin(began, piece.frame))
        record.skip(piece.frame - record.next_frame)
        record.append(piece.counts, piece.invalid)

    def _is_over(self, record: OpenRecord, piece: _Piece, rate: int) -> bool:
        return (
            record.frames >= self._settings.hours * 3600 * rate
            or record.size >= self._settings.total_bytes // RECORDS_IN_CAP
            or piece.frame - record.next_frame > FILL_S * rate
        )

    def _write_events(self, record: OpenRecord, events: list[Event]) -> None:
        try:
            record.write_events(map(to_json, events))
        except OSError:
            with self._change:
                self._events.put_back(events)
                self._events_in_hand = 0
            raise
        with self._change:
            self._events_written += len(events)
            self._events_in_hand = 0
            self._change.notify_all()
