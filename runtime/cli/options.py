"""What an option may hold: functions for argparse's `type`."""

import argparse
import math
from collections.abc import Callable
from typing import TypeVar

from ecg_edge.firmware_bridge.errors import EcgEdgeError

_T = TypeVar("_T")


def positive(text: str) -> float:
    """Return a finite number above 0, for an option's `type`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not possible: use a number above 0")
    return value


def whole(text: str) -> int:
    """Return a whole number above 0, for an option's `type`."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not possible: use a whole number above 0")
    return int(text)


def wrong_use(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return `parse` for an option's `type`: what it refuses is wrong use of the command, not a failure of it."""

    def checked(text: str) -> _T:
        try:
            return parse(text)
        except EcgEdgeError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def address(text: str) -> tuple[str, int]:
    """Return host and port of `[HOST:]PORT`; the host is this machine's own where it is left out."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: use PORT or HOST:PORT, as 127.0.0.1:9108")
    return host.strip("[]") or "127.0.0.1", int(port)
