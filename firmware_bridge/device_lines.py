"""Where a simulated device can be reached: a pty, as a serial port; or a TCP port, as behind a serial server."""

import errno
import os
import pty
import select
import socket
import time
import tty
from pathlib import Path
from typing import Protocol

from .errors import EcgEdgeError

POLL_S = 0.02
"""Longest wait before looking for a host that came or went, or for the end of serving."""
LOCALHOST = "127.0.0.1"


class Line(Protocol):
    """One end of a link that hosts come to and leave."""

    name: str
    """What a host gives as --device."""

    def poll(self, writing: bool, timeout_s: float) -> tuple[bool, bool] | None:
        """Wait up to `timeout_s` for something to read, or with `writing` for room to write; say which there is.

        None while no host is there, after no more than POLL_S.
        """

    def read(self) -> bytes:
        """Return what a host has sent; raises OSError where it has left."""

    def write(self, data: bytes) -> int:
        """Send some of `data` and return how much; raises BlockingIOError for none, OSError where the host has left."""

    def unplug(self) -> None:
        """Take the link away, as when a cable is pulled."""

    def plug(self) -> None:
        """Bring it back."""


class PtyLine:
    """A pty, and a symbolic link to it by which it is found again after it was unplugged; see Line."""

    def __init__(self, link: Path | None = None) -> None:
        """Open the pty; raises EcgEdgeError when `link` is something else than a symbolic link, or cannot be made."""
        self._link = link
        self.plug()
        self.name = str(link or self.path)

    def plug(self) -> None:
        """As in Line."""
        self._master, slave = pty.openpty()
        self.path = os.ttyname(slave)
        tty.setraw(slave)
        os.close(slave)  # held open here, it would hide when the host leaves
        os.set_blocking(self._master, False)
        if self._link is None:
            return
        try:
            if self._link.is_symlink():
                self._link.unlink()
            self._link.symlink_to(self.path)
        except OSError as error:
            os.close(self._master)
            raise EcgEdgeError(f"cannot make the link {self._link} ({error.strerror}): name another path") from None

    def unplug(self) -> None:
        """As in Line."""
        os.close(self._master)
        if self._link is not None and self._link.is_symlink():
            self._link.unlink()

    def poll(self, writing: bool, timeout_s: float) -> tuple[bool, bool] | None:
        """As in Line."""
        poll = select.poll()
        poll.register(self._master, select.POLLIN | (select.POLLOUT if writing else 0))
        events = dict(poll.poll(timeout_s * 1000)).get(self._master, 0)
        if events & select.POLLHUP:
            time.sleep(POLL_S)  # no host has the pty open, and poll() does not wait for one
            return None
        return bool(events & select.POLLIN), bool(events & select.POLLOUT)

    def read(self) -> bytes:
        """As in Line."""
        return os.read(self._master, 65536)

    def write(self, data: bytes) -> int:
        """As in Line."""
        return os.write(self._master, data)


class TcpLine:
    """A TCP port that takes one host at a time; see Line."""

    def __init__(self, host: str = LOCALHOST, port: int = 0) -> None:
        """Listen; port 0 takes a free one. Raises EcgEdgeError where that is not possible."""
        self._host, self._port = host, port
        self._connection: socket.socket | None = None
        self.plug()
        self._port = self._server.getsockname()[1]
        self.name = f"socket://{f'[{host}]' if ':' in host else host}:{self._port}"

    def plug(self) -> None:
        """As in Line."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._server = socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            mend = "choose another port" if error.errno == errno.EADDRINUSE else "check the address"
            raise EcgEdgeError(f"cannot listen on {self._host}:{self._port} ({error.strerror}): {mend}") from None

    def unplug(self) -> None:
        """As in Line."""
        self._server.close()  # first, so that a host that is thrown out and comes back at once finds it gone
        self._leave()

    def poll(self, writing: bool, timeout_s: float) -> tuple[bool, bool] | None:
        """As in Line."""
        if self._connection is None:
            if not select.select([self._server], [], [], POLL_S)[0]:
                return None
            self._connection, _ = self._server.accept()
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection.setblocking(False)
            return False, False
        readable, writable, _ = select.select(
            [self._connection], [self._connection] if writing else [], [], max(timeout_s, 0.0)
        )
        if readable and not self._still_there():
            self._leave()
            return None
        return bool(readable), bool(writable)

    def read(self) -> bytes:
        """As in Line."""
        assert self._connection is not None  # poll() said so
        return self._connection.recv(65536)

    def write(self, data: bytes) -> int:
        """As in Line."""
        assert self._connection is not None
        return self._connection.send(data)

    def _still_there(self) -> bool:
        assert self._connection is not None
        try:
            return bool(self._connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
