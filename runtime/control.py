"""How a person tells a running monitor that they have seen its alarms: a Unix socket that takes one line.

    silence\\n            silence every open alert
    silence VF AF\\n      silence these
    -> ok alerts silenced for 120 s: VF, AF\\n     or     error no alert is called 'VG': ...\\n

Only the user who runs the monitor may open the socket.
"""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

from ecg_edge.firmware_bridge.errors import EcgEdgeError

ANSWER_S = 5.0  # a stream that goes on takes a request within a packet or a tick; longer, and its link is lost
LONGEST_LINE = 4096
_VERB = "silence"


class Request:
    """One wish, and where its answer goes."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        """Silence these labels, or all for none."""
        self.labels = labels
        self._answers: SimpleQueue[str] = SimpleQueue()

    def answer(self, text: str) -> None:
        """Tell how it went; from the monitor's thread."""
        self._answers.put(text)

    def wait(self) -> str:
        """Return the answer, or that there was none in time."""
        try:
            return self._answers.get(timeout=ANSWER_S)
        except Empty:
            return "ok taken; it will be done when signal arrives again"


class Control:
    """Listens on a Unix socket and holds the requests for the monitor."""

    def __init__(self, path: Path) -> None:
        """Start to listen; raises EcgEdgeError where the path is taken or cannot be made."""
        self._path = path
        self._requests: SimpleQueue[Request] = SimpleQueue()
        _remove_stale(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        except OSError as error:
            self._socket.close()
            raise EcgEdgeError(
                f"cannot listen on {path} ({error.strerror or error}): name a short path in a folder that exists"
            ) from None
        finally:
            os.umask(before)
        self._socket.listen()
        threading.Thread(target=self._serve, name="control", daemon=True).start()

    def pending(self) -> Iterator[Request]:
        """Yield the requests that wait; never blocks."""
        while not self._requests.empty():
            yield self._requests.get()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._socket.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that accepts
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        """Take the line of one caller, who may be slow, silent or gone."""
        with peer:
            try:
                peer.settimeout(ANSWER_S)
                with peer.makefile("rb") as file:
                    words = file.readline(LONGEST_LINE).decode("utf-8", "replace").split()
                if not words or words[0] != _VERB:
                    answer = f"error say {_VERB}, and the labels it is about"
                else:
                    request = Request(tuple(words[1:]))
                    self._requests.put(request)
                    answer = request.wait()
                peer.sendall(f"{answer}\n".encode())
            except OSError:
                pass


def ask(path: Path, labels: tuple[str, ...]) -> str:
    """Ask the monitor that listens on `path` to silence labels, or all for none, and return what it says.

    Raises EcgEdgeError where nobody listens there, or the monitor refuses.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(2 * ANSWER_S)
        try:
            peer.connect(str(path))
            peer.sendall(f"{' '.join((_VERB, *labels))}\n".encode())
            with peer.makefile("rb") as file:
                answer = file.readline(LONGEST_LINE).decode("utf-8", "replace").strip()
        except OSError as error:
            raise EcgEdgeError(
                f"no monitor listens on {path} ({error.strerror or error}): start it with --control {path}"
            ) from None
    outcome, _, text = answer.partition(" ")
    if outcome != "ok":
        raise EcgEdgeError(text or f"the monitor on {path} ended before it answered: see whether it still runs")
    return text


def _remove_stale(path: Path) -> None:
    """Remove the socket of a monitor that was killed; raises EcgEdgeError where one listens, or it is no socket."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return
    if is_socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            try:
                peer.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
                return
            except OSError:
                pass
    raise EcgEdgeError(f"{path} is in use: name another path for --control, or end the monitor that listens there")
