"""From SAMPLES packets to one stream of frames: gaps measured, repeats dropped, restarts noticed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .protocol import Hello, Packet, Samples

CLOCK_TOLERANCE_US = 100_000
"""Device time and frame index may disagree by this much, for a sender that reads its clock late."""
CLOCK_DRIFT = 0.02
"""And by this share of the time between two packets: a sampling clock from an RC oscillator is off by 1 %."""


@dataclass
class FrameCounters:
    """Frames that a tracker took in and what became of them."""

    frames: int = 0
    """Frames handed out."""
    lost: int = 0
    """Frames missing before ones that were handed out, exact by the index."""
    stale: int = 0
    """Frames that came after their turn and were dropped: doubled, or late and counted as lost before."""
    before_hello: int = 0
    """Frames dropped because the device had not said yet what they are."""
    mismatched: int = 0
    """Frames dropped because their channels are not as many as the device said."""
    restarts: int = 0
    """Times that the device began a new run."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Consecutive frames, in order, none handed out before."""

    samples: npt.NDArray[np.int32]
    """Counts (n, m), m as in the HELLO, n >= 1; where `off`, they mean nothing."""
    off: npt.NDArray[np.bool_]
    """Channels (m,) without a valid sample in all of these frames."""
    missing_before: int
    """Frames lost between the frames handed out last and these; 0 on the first ones and after a restart."""
    time_us: int
    """Device time of the first frame."""
    restarted: bool
    """Whether these begin a run: the first ever, or the first after a device restart or a new format."""


class FrameTracker:
    """Follows the frame index of one device.

    A packet belongs to the run under way when its time fits its index: from the last frames to these, time went
    on by as many frame periods as the index says. Otherwise, or when its index is over a second back, or when
    frame 0 follows a HELLO, or when the format changed, a new run has begun.
    """

    def __init__(self) -> None:
        """Start before the first HELLO."""
        self.hello: Hello | None = None
        """Format of the frames, None before the device has said it."""
        self.counters = FrameCounters()
        self._expected: int | None = None  # index, modulo 2^32, of the frame that comes next
        self._due_us = 0  # device time of that frame
        self._greeted = False  # a HELLO has come since the last frames

    def push(self, packet: Packet) -> Frames | None:
        """Return the new frames in `packet`, None where it has none; HELLO sets the format."""
        message = packet.message
        if isinstance(message, Hello):
            if message != self.hello:
                self._expected = None
            self.hello, self._greeted = message, True
        if not isinstance(message, Samples):
            return None
        frames, channels = message.counts.shape
        if self.hello is None:
            self.counters.before_hello += frames
            return None
        if channels != len(self.hello.leads):
            self.counters.mismatched += frames
            return None
        return self._place(packet.time_us, message, self.hello.rate)

    def _place(self, time_us: int, message: Samples, rate: int) -> Frames | None:
        frames = len(message.counts)
        ahead = self._ahead(message.index, time_us, rate)
        skip = 0  # frames at the head of the packet that were handed out before
        if ahead is not None and ahead < 0:
            skip = min(-ahead, frames)
            self.counters.stale += skip
            if skip == frames:
                return None
        missing = max(ahead or 0, 0)
        restarted = ahead is None
        self.counters.restarts += restarted and self.counters.frames > 0
        self.counters.lost += missing
        self.counters.frames += frames - skip
        self._expected = (message.index + frames) & 0xFFFFFFFF
        self._due_us = time_us + frames * 1_000_000 // rate
        self._greeted = False
        first_us = time_us + skip * 1_000_000 // rate
        return Frames(message.counts[skip:], message.off, missing, first_us, restarted)

    def _ahead(self, index: int, time_us: int, rate: int) -> int | None:
        """Return how many frames `index` is ahead of the expected one, None when a new run begins there."""
        if self._expected is None or (index == 0 != self._expected and self._greeted):
            return None
        ahead = (index - self._expected + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        elapsed_us = ahead * 1_000_000 / rate
        error_us = abs(time_us - self._due_us - elapsed_us)
        fits = error_us <= CLOCK_TOLERANCE_US + CLOCK_DRIFT * abs(elapsed_us)
        return ahead if fits and ahead >= -rate else None
