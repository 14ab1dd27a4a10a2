"""Events to a program of the user: it runs once for each, one after the other, with the event as JSON on its stdin."""

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..events import Event, to_json
from ..ranges import Range


@dataclass(frozen=True, kw_only=True)
class CommandSettings:
    """What to run."""

    run: tuple[str, ...]
    """Program and arguments; no shell is between."""
    timeout_s: Annotated[float, Range(0.1, 3600)] = 10.0
    """Seconds after which the program, and what it has started, is killed."""


class CommandSink:
    """Runs the program; what it prints is thrown away. A run that fails is not repeated: it may have done its work."""

    def __init__(self, settings: CommandSettings) -> None:
        """Prepare."""
        self._settings = settings
        self._running: subprocess.Popen[bytes] | None = None

    def emit(self, event: Event) -> None:
        """Run it for one event; raises EcgEdgeError where it cannot run, fails, or takes too long."""
        program = self._settings.run[0]
        quiet = subprocess.DEVNULL
        try:
            child = subprocess.Popen(
                self._settings.run, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
            )
        except OSError as error:
            raise EcgEdgeError(f"cannot run {program} ({error.strerror}): correct `run`") from None
        self._running = child
        try:
            child.communicate(f"{to_json(event)}\n".encode(), timeout=self._settings.timeout_s)
        except subprocess.TimeoutExpired:
            _kill(child)
            raise EcgEdgeError(
                f"{program} took more than {self._settings.timeout_s:g} s and was killed: mend it, or raise timeout_s"
            ) from None
        finally:
            self._running = None
        if child.returncode:
            raise EcgEdgeError(f"{program} ended with status {child.returncode}: see what it says when run by hand")

    def close(self) -> None:
        """Kill a program that still runs."""
        if (child := self._running) is not None:
            _kill(child)


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """Kill a program that runs, and those that it started in its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
