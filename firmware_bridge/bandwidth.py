"""How fast a serial line has to be for a stream."""

from .errors import EcgEdgeError
from .protocol import packet_bytes

BITS_PER_BYTE = 10
"""A UART sends eight bits between a start and a stop bit."""
USABLE = 0.9
"""Share of the line that samples may fill; the rest is for status, answers and the pauses of a UART."""
STANDARD_BAUDS = (115200, 230400, 460800, 921600, 1000000, 1500000, 2000000, 3000000)
"""Speeds that USB bridges commonly offer, to name one that suffices."""


def bits_per_second(rate: int, channels: int, frames_per_packet: int = 10) -> float:
    """Return the bits per second on the line for samples at `rate` Hz, at COBS's worst case."""
    return rate / frames_per_packet * packet_bytes(frames_per_packet, channels) * BITS_PER_BYTE


def check_baud(baud: int, rate: int, channels: int, frames_per_packet: int = 10) -> None:
    """Raise EcgEdgeError, naming a speed that suffices, when `baud` is too slow for samples at `rate` Hz."""
    needed = bits_per_second(rate, channels, frames_per_packet)
    if needed <= USABLE * baud:
        return
    enough = next((b for b in STANDARD_BAUDS if needed <= USABLE * b), None)
    mend = f"use {enough} baud" if enough else "use fewer channels or a lower rate"
    raise EcgEdgeError(
        f"{baud} baud is too slow for {channels} channels at {rate} Hz, which take {needed / 1000:.0f} kbit/s: {mend}"
    )
