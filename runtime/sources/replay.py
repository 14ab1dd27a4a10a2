"""A recording as a stream, at true time, faster, or as fast as it is taken."""

import time
from collections.abc import Iterator
from threading import Event

from ecg_edge.firmware_bridge.recording import Recording

from .items import Chunk, Item, format_of

CHUNK_SECONDS = 0.1  # of signal handed over at once; events do not depend on it


class ReplaySource:
    """Plays a recording."""

    def __init__(self, recording: Recording, speed: float | None = None, mains: int | None = None) -> None:
        """Prepare; speed: times real time, None for no waiting."""
        self._recording = recording
        self._speed = speed
        self._mains = mains

    def losses(self) -> dict[str, int]:
        """Return no counters: nothing is lost between a file and the engine."""
        return {}

    def items(self, stop: Event) -> Iterator[Item]:
        """Yield the format, then the signal, until its end or until `stop` is set."""
        recording = self._recording
        yield format_of(recording, self._mains)
        step = max(1, round(CHUNK_SECONDS * recording.rate))
        begun = time.monotonic()
        for start in range(0, len(recording.counts), step):
            end = min(start + step, len(recording.counts))
            if self._speed is not None:
                wait = begun + end / (recording.rate * self._speed) - time.monotonic()
                if wait > 0 and stop.wait(wait):
                    return
            if stop.is_set():
                return
            invalid = None if recording.invalid is None else recording.invalid[start:end]
            yield Chunk(recording.counts[start:end], invalid, time.monotonic())
