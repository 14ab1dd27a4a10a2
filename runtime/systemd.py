"""What a monitor tells systemd, by the protocol of sd_notify(3): ready, alive, stopping, and how things are.

A datagram to the socket that NOTIFY_SOCKET names; without the variable nothing is told. The watchdog is fed by the
thread that judges, each time it has dealt with what its source gave. See docs/service.md for what that proves.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping

from ecg_edge.firmware_bridge.errors import EcgEdgeError

FEED_SHARE = 0.25  # of WatchdogSec between two signs of life; sd_watchdog_enabled(3) asks for half or less
STATUS_EVERY_S = 10.0  # as often as a stream gives a status


class Notifier:
    """Tells systemd; every method is cheap and may be called often. Without a socket all of them do nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; raises EcgEdgeError for a socket that there is not."""
        self._socket: socket.socket | None = None
        self._feed_s: float | None = None
        self._fed = self._told = float("-inf")
        address = environment.get("NOTIFY_SOCKET", "")
        if not address:
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            self._socket.close()
            raise EcgEdgeError(
                f"NOTIFY_SOCKET names {address}, which cannot be reached ({error.strerror}): run under systemd, "
                "or unset it"
            ) from None
        self._socket.setblocking(False)
        period = environment.get("WATCHDOG_USEC", "")
        if period.isdecimal() and environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self._feed_s = int(period) / 1e6 * FEED_SHARE

    def ready(self) -> None:
        """Tell that the device sends, and its signal is being judged."""
        self._send("READY=1")

    def alive(self, status: Callable[[], str]) -> None:
        """Feed the watchdog, if it is time; and tell in a sentence how things are, if it is time for that."""
        if self._socket is None:
            return
        now = time.monotonic()
        if self._feed_s is not None and now - self._fed >= self._feed_s:
            self._fed = now
            self._send("WATCHDOG=1")
        if now - self._told >= STATUS_EVERY_S:
            self.tell(status())

    def tell(self, status: str) -> None:
        """Tell in a sentence how things are, now."""
        self._told = time.monotonic()
        self._send("STATUS=" + " ".join(status.split()))

    def stopping(self) -> None:
        """Tell that the stream has ended and the rest is being written."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(text.encode())
        except OSError:  # full, or systemd is restarting: what is told is told again, and nothing waits for it
            self._fed = self._told = float("-inf")
