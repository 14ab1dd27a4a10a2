"""The time of day of a moment of the monotonic clock, and whether somebody has set the clock on the wall.

Everything that is measured (drift, latency, silence, pauses) goes by the monotonic clock, which nobody sets. The time
of day is only written beside it, as the machine's clock gives it at that moment.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

STEP_S = 0.25  # less is slewing: NTP clients move a clock by up to 0.1 s in a second, and step it from 0.128 s or 0.4 s
READING_S = 0.01  # two clocks read further apart than this were not read at one moment, on a machine that is busy
READINGS = 5


class WallClock:
    """Follows the offset between both clocks."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        """Take the offset as it is now; the clocks are for tests to replace."""
        self._monotonic, self._wall = monotonic, wall
        self._offset = self._read() or wall() - monotonic()

    def look(self) -> float:
        """Follow the clock on the wall; return by how many seconds it was set since the last look, 0 where it was not.

        A machine that has slept shows in the same way, since the monotonic clock sleeps with it.
        """
        offset = self._read()
        if offset is None:
            return 0.0
        step, self._offset = offset - self._offset, offset
        return step if abs(step) >= STEP_S else 0.0

    def at(self, monotonic_s: float) -> str:
        """Return the time of day of a moment, ISO 8601 in UTC, by the clock as of the last look."""
        moment = datetime.fromtimestamp(monotonic_s + self._offset, UTC)
        return moment.isoformat(timespec="milliseconds")

    def _read(self) -> float | None:
        """Return the offset, None where the machine is too busy to tell."""
        for _ in range(READINGS):
            before = self._monotonic()
            wall = self._wall()
            after = self._monotonic()
            if after - before <= READING_S:
                return wall - (before + after) / 2
        return None
