"""How fast this machine takes packets of PROTOCOL.md apart, against how fast a board sends them."""

import time
from typing import Any

import numpy as np

from .bandwidth import BITS_PER_BYTE
from .continuity import FrameTracker
from .decoder import PacketDecoder
from .faults import Faults
from .leads import MEASURED_LEADS
from .packetize import packetize
from .recording import Recording

RATE = 500
SIGNAL_S = 20.0
"""Length of the stream that is decoded again and again: a thousand packets."""
READ_BYTES = 4096
"""Bytes a read: what a serial driver's buffer holds."""


def measure(seconds: float = 2.0) -> dict[str, Any]:
    """Return what decoding a clean stream and one with 1 % of its packets garbled takes, for `seconds` each.

    The stream is 8 channels at 500 Hz, noise that needs all 24 bits, 10 frames a packet; decoding is PacketDecoder and
    FrameTracker, from bytes to arrays of frames, on one thread. Times are of the processor, not of the clock on the
    wall. `times_real_time` is how many such streams one core could decode.
    """
    frames = round(SIGNAL_S * RATE)
    counts = np.random.default_rng(1).integers(-(2**23), 2**23, (frames, len(MEASURED_LEADS)), dtype=np.int32)
    packets = list(packetize(Recording("bench", RATE, MEASURED_LEADS, counts, 1_000_000)))
    hello, rest = packets[0], packets[1:]
    damaged = [hello, *Faults(flip=0.01, seed=1).inject(rest)]
    return {
        "rate": RATE,
        "channels": len(MEASURED_LEADS),
        "stream_kbit_s": round(sum(map(len, packets)) * BITS_PER_BYTE / SIGNAL_S / 1000, 1),
        "clean": _decode(b"".join(packets), seconds),
        "one_percent_garbled": _decode(b"".join(damaged), seconds),
    }


def _decode(data: bytes, seconds: float) -> dict[str, float]:
    rounds, got, packets = 0, 0, 0
    begun = time.process_time()
    while (spent := time.process_time() - begun) < seconds or not rounds:
        decoder, tracker = PacketDecoder(), FrameTracker()
        for start in range(0, len(data), READ_BYTES):
            for packet in decoder.feed(data[start : start + READ_BYTES]):
                frames = tracker.push(packet)
                got += 0 if frames is None else len(frames.samples)
        rounds += 1
        packets += decoder.counters.packets
    return {
        "times_real_time": round(rounds * SIGNAL_S / spent, 1),
        "megabytes_per_s": round(rounds * len(data) / spent / 1e6, 2),
        "us_per_packet": round(spent / packets * 1e6, 2),
        "frames_delivered": round(got / rounds / (SIGNAL_S * RATE), 6),
    }
