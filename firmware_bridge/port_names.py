"""Which serial port a board is on now, when its name may have changed since it was opened.

The system numbers ports in the order in which boards appear: one that is unplugged and plugged in again may come back
as ttyUSB1, and another board may be ttyUSB0 by then. So a port is found again by what it is (USB identifiers, serial
number, place on the bus), and another board that has taken its name is left alone: it hangs on another person.
"""

import os
import re
from dataclasses import dataclass
from typing import Any

from .errors import EcgEdgeError

SCHEME = "serial:"
"""`serial:VID:PID[:SERIAL]`, identifiers in hexadecimal as lsusb prints them."""
_FORM = re.compile(r"serial:([0-9A-Fa-f]{1,4}):([0-9A-Fa-f]{1,4})(?::(.+))?")


@dataclass(frozen=True)
class Usb:
    """What is known of a board on USB."""

    vid: int
    """Vendor."""
    pid: int
    """Product."""
    serial: str | None = None
    """Serial number, None where it has none or, in a search, where any will do."""
    location: str | None = None
    """Place on the bus, None where any will do."""
    alone: bool = True
    """Whether it was the only one of that kind and number when it was seen."""

    def __str__(self) -> str:
        number = "" if self.serial is None else f", serial number {self.serial}"
        return f"USB id {self.vid:04x}:{self.pid:04x}{number}"


class PortName:
    """What a user calls a link, and what to open for it now."""

    def __init__(self, url: str) -> None:
        """Take a name: `serial:VID:PID[:SERIAL]`, or anything that transport.open_transport takes.

        Raises EcgEdgeError for a `serial:` that is none.
        """
        self._url = url
        self._wanted = _parse(url) if url.startswith(SCHEME) else None
        self._known: Usb | None = None

    def current(self) -> str:
        """Return what to open now; raises EcgEdgeError where the board is not there.

        A symbolic link (/dev/serial/by-id/..., or one of udev's) is a name that somebody keeps: it is followed. Behind
        a bare /dev/ttyUSB0 is, once it was opened, the board that was there then.
        """
        if self._known is not None:
            return _find_again(self._known)
        return self._url if self._wanted is None else _find(self._wanted)

    def opened(self, path: str) -> None:
        """Remember the board that was opened at `path`, where it can be told from others."""
        if self._known is None and "://" not in path and not os.path.islink(path):
            self._known = _look_up(path)


def _parse(text: str) -> Usb:
    match = _FORM.fullmatch(text)
    if match is None:
        raise EcgEdgeError(f"{text} names no port: write serial:VID:PID or serial:VID:PID:NUMBER, as serial:0403:6001")
    return Usb(int(match[1], 16), int(match[2], 16), match[3])


def _ports() -> list[Any]:
    from serial.tools.list_ports import comports  # only now: it takes time to load, and most links need none of it

    return [port for port in comports() if port.vid is not None]


def _find(wanted: Usb) -> str:
    """Return the path of the one port that is wanted; raises EcgEdgeError where there is none, or more than one."""
    found = [p for p in _ports() if (p.vid, p.pid) == (wanted.vid, wanted.pid)]
    found = [p for p in found if wanted.serial in (None, p.serial_number)]
    if not found:
        raise EcgEdgeError(f"no serial port with {wanted}: plug in the board (ecg-edge doctor lists the ports)")
    if len(found) > 1:
        names = ", ".join(f"{p.device} ({p.serial_number or 'no serial number'})" for p in found)
        raise EcgEdgeError(
            f"{len(found)} ports have {wanted}: {names}: name one by its serial number, or by /dev/serial/by-path"
        )
    return str(found[0].device)


def _look_up(path: str) -> Usb | None:
    """Return what is behind a path, None where it is not on USB."""
    ports = _ports()
    for port in ports:
        if os.path.realpath(port.device) == os.path.realpath(path):
            same = [p for p in ports if _kind(p) == _kind(port)]
            return Usb(port.vid, port.pid, port.serial_number or None, port.location or None, len(same) == 1)
    return None


def _find_again(known: Usb) -> str:
    """Return where a board is that was seen before.

    It may have moved to another socket if nothing else looks like it, then and now; of several that look alike
    (bridges without a serial number, or all with 0001), it is the one in the same socket.
    """
    alike = [p for p in _ports() if _kind(p) == (known.vid, known.pid, known.serial)]
    for port in alike:
        if known.location is not None and port.location == known.location:
            return str(port.device)
    if len(alike) == 1 and known.alone:
        return str(alike[0].device)
    if alike:
        raise EcgEdgeError(f"several boards have {known}: plug it into the socket where it was")
    raise EcgEdgeError(f"no serial port with {known}: plug in the board (ecg-edge doctor lists the ports)")


def _kind(port: Any) -> tuple[int, int, str | None]:
    return port.vid, port.pid, port.serial_number or None
