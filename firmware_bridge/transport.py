"""Ways to a device, behind one interface: a serial port or pty, a TCP socket, a loop-back, standard input."""

import errno
import os
import select
import socket
import sys
import time
from typing import Protocol

import serial

from .errors import EcgEdgeError
from .port_names import SCHEME, PortName

DEFAULT_BAUD = 921600
"""Carries 8 channels at 500 Hz seven times over; the fastest that every common USB bridge offers."""
WRITE_TIMEOUT_S = 1.0
"""A command is a few bytes: a line that does not take them for this long is dead."""
CONNECT_TIMEOUT_S = 5.0
"""Longest wait for a TCP connection."""


class LinkLost(EcgEdgeError):
    """The link no longer works, as when a board is unplugged."""


class LinkClosed(LinkLost):
    """The other side closed the link in order: standard input or a socket came to its end."""


class Transport(Protocol):
    """A link to a device: bytes both ways."""

    name: str
    """Where it leads, for messages."""

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """Return up to `max_bytes` as soon as there are any, b"" when none came within `timeout_s` seconds.

        Raises LinkClosed at the end of the stream and LinkLost when the link fails.
        """

    def write(self, data: bytes) -> None:
        """Send all of `data`; raises LinkLost when the link fails."""

    def close(self) -> None:
        """Give the link back; may be called twice."""


def open_transport(url: str, baud: int = DEFAULT_BAUD) -> Transport:
    """Open the link that `url` names.

    url: path of a serial port or pty, `serial:VID:PID[:SERIAL]` (see port_names), `socket://host:port`, `loop://`
    (what is written comes back), or `-` for standard input, which is only read. baud: speed of a serial port, ignored
    by the others.
    Raises EcgEdgeError, one line with the mend, when it cannot be opened.
    """
    if url == "-":
        return StdinTransport()
    if url.startswith(SCHEME):
        url = PortName(url).current()
    scheme, separator, rest = url.partition("://")
    if not separator:
        return SerialTransport(url, baud)
    if scheme == "socket":
        return SocketTransport(rest)
    if scheme == "loop":
        return LoopTransport()
    raise EcgEdgeError(
        f"cannot open {url}: use the path of a serial port, socket://host:port, serial:VID:PID, loop:// or -"
    )


class SerialTransport:
    """A serial port, or the pty of a simulated device."""

    def __init__(self, path: str, baud: int) -> None:
        """Open `path` at `baud` and lock it; what it had received before is dropped."""
        self.name = path
        try:
            self._port = serial.Serial(path, baud, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise EcgEdgeError(_why_not(path, error)) from None

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """As in Transport."""
        try:
            return _read_descriptor(self._port.fileno(), max_bytes, timeout_s)
        except (EOFError, OSError, TypeError):  # pyserial's fileno() of a closed port
            raise LinkLost(f"lost the link to {self.name}: check cable and power of the board") from None

    def write(self, data: bytes) -> None:
        """As in Transport."""
        try:
            self._port.write(data)
        except OSError:
            raise LinkLost(f"{self.name} takes no bytes: check cable and power of the board") from None

    def close(self) -> None:
        """As in Transport."""
        self._port.close()


class SocketTransport:
    """A TCP connection, as to a serial port that another machine serves."""

    def __init__(self, address: str) -> None:
        """Connect to `address`, host:port or [IPv6]:port."""
        self.name = f"socket://{address}"
        host, _, port = address.rstrip("/").rpartition(":")
        if not host or not port.isdecimal() or int(port) > 0xFFFF:
            raise EcgEdgeError(f"{self.name} names no host and port: write socket://host:port")
        try:
            self._socket = socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S)
        except ConnectionRefusedError:
            raise EcgEdgeError(f"{self.name} refused the connection: start its server, or check the port") from None
        except OSError as error:
            raise EcgEdgeError(f"cannot reach {self.name} ({error}): check host, port and network") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(WRITE_TIMEOUT_S)

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """As in Transport."""
        try:
            if not select.select([self._socket], [], [], timeout_s)[0]:
                return b""
            data = self._socket.recv(max_bytes)
        except (OSError, ValueError) as error:
            raise LinkLost(f"lost the link to {self.name} ({error}): check the network") from None
        if not data:
            raise LinkClosed(f"{self.name} closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """As in Transport."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise LinkLost(f"lost the link to {self.name} ({error}): check the network") from None

    def close(self) -> None:
        """As in Transport."""
        self._socket.close()


class LoopTransport:
    """A loop-back: reads what was written, for tests without a device."""

    name = "loop://"

    def __init__(self) -> None:
        """Start empty."""
        self._port = serial.serial_for_url(self.name, timeout=0)

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """As in Transport."""
        deadline = time.monotonic() + timeout_s
        while not self._port.in_waiting and time.monotonic() < deadline:
            time.sleep(0.001)  # pyserial's loop-back has nothing that one could wait on
        return bytes(self._port.read(min(max_bytes, self._port.in_waiting)))

    def write(self, data: bytes) -> None:
        """As in Transport."""
        self._port.write(data)

    def close(self) -> None:
        """As in Transport."""
        self._port.close()


class StdinTransport:
    """Standard input; read only."""

    name = "-"

    def __init__(self) -> None:
        """Take standard input; raises EcgEdgeError when it is a terminal, which sends no packets."""
        if sys.stdin is None or sys.stdin.isatty():
            raise EcgEdgeError("standard input is a terminal: pipe the stream of a device into it")
        self._descriptor = sys.stdin.fileno()

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """As in Transport."""
        try:
            return _read_descriptor(self._descriptor, max_bytes, timeout_s)
        except EOFError:
            raise LinkClosed("standard input has ended") from None
        except OSError as error:
            raise LinkLost(f"cannot read standard input ({error}): check what is piped into it") from None

    def write(self, data: bytes) -> None:
        """Raise LinkLost: there is no way back to the device."""
        raise LinkLost("standard input takes no commands: start the device by other means")

    def close(self) -> None:
        """Leave standard input open, which belongs to the process."""


def _read_descriptor(descriptor: int, max_bytes: int, timeout_s: float) -> bytes:
    """Return what one read gives once there is any, b"" after `timeout_s`; raises EOFError at the end."""
    if not select.select([descriptor], [], [], timeout_s)[0]:
        return b""
    try:
        data = os.read(descriptor, max_bytes)
    except BlockingIOError:
        return b""
    if not data:
        raise EOFError
    return data


def _why_not(path: str, error: Exception) -> str:
    """Return the line that says why a serial port did not open, and what mends it."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return f"no serial port {path}: plug in the board and check the name (ecg-edge doctor lists them)"
    if number in (errno.EACCES, errno.EPERM):
        return f"not permitted to open {path}: add your user to the group dialout and log in again"
    if number in (errno.EBUSY, errno.EAGAIN) or "lock" in str(error):
        return f"{path} is busy: close the other program that has it open"
    if number in (errno.EISDIR, errno.ENODEV) or "configure port" in str(error):
        return f"{path} is no serial port: name one, or pipe a file into --device -"
    return f"cannot open {path} ({error}): check cable and power of the board"
