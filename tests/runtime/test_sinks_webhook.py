"""Events over HTTP, against a server that answers as it is told: at length, late, wrongly or not at all."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.runtime.events import Status, to_json
from ecg_edge.runtime.sinks import Undelivered, queued
from ecg_edge.runtime.sinks.forward import Refused, StoreAndForward
from ecg_edge.runtime.sinks.store import Message, Store
from ecg_edge.runtime.sinks.webhook import WebhookCourier, WebhookSettings

PATIENCE_S = 60.0  # a busy machine is slow and not wrong


class Server:
    """Keeps what is posted; `answers` are the next statuses, 200 after them, 0 to hang up, -1 to hang."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.let_go = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = server.answers.pop(0) if server.answers else 200
                if answer == -1:
                    server.let_go.wait(PATIENCE_S)
                if answer > 0:
                    if answer == 200:
                        server.posts.append((self.path, dict(self.headers), json.loads(body)))
                    self.send_response(answer)
                    self.send_header("Location", "/elsewhere")
                    self.end_headers()

            def do_GET(self) -> None:
                server.posts.append((self.path, {}, "a GET"))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/alerts?bed=7"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.let_go.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def status(seq: int) -> Status:
    return Status(seq=seq, time=seq, quality=1.0, leads=("II",))


def message(seq: int) -> Message:
    return Message(seq + 1, 0, "status", to_json(status(seq)))


def courier(server: Server, token: str | None = None, timeout_s: float = 20.0) -> WebhookCourier:
    return WebhookCourier(WebhookSettings(url=server.url, timeout_s=timeout_s), token)


def test_an_event_is_posted(server: Server) -> None:
    assert courier(server, "t0ken").send([message(0), message(1)]) == 1, "one a request"
    ((path, headers, body),) = server.posts
    assert path == "/alerts?bed=7"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer t0ken"
    assert body == json.loads(message(0).line)
    courier(server).send([message(1)])
    assert "Authorization" not in server.posts[1][1]


@pytest.mark.parametrize("answer", [400, 422])
def test_an_event_that_is_refused(server: Server, answer: int) -> None:
    server.answers = [answer]
    with pytest.raises(Refused, match=f"answers {answer}"):
        courier(server).send([message(0)])


@pytest.mark.parametrize("answer", [302, 307, 401, 403, 404, 429, 500, 503, 0])
def test_what_may_be_better_next_time(server: Server, answer: int) -> None:
    server.answers = [answer]
    with pytest.raises(Undelivered, match=r"check the address"):
        courier(server).send([message(0)])
    assert server.posts == [], "a redirection is not followed"
    assert courier(server).send([message(0)]) == 1


def test_a_server_that_hangs_and_one_that_is_not_there(server: Server) -> None:
    server.answers = [-1]
    begun = time.monotonic()
    with pytest.raises(Undelivered, match="timed out"):
        courier(server, timeout_s=0.3).send([message(0)])
    assert time.monotonic() - begun < 10
    server.close()
    with pytest.raises(Undelivered, match="cannot be reached"):
        courier(server).send([message(0)])


def test_every_event_arrives_once_in_order(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queued, "RETRY_S", (0.01,))
    server.answers = [200, 503, -1, 200, 0, 400, 200, 302]
    hook = courier(server, timeout_s=0.5)
    sink = StoreAndForward("pager", Store(tmp_path / "s.db"), hook, types=("status",))
    for n in range(10):
        sink.emit(status(n))
    deadline = time.monotonic() + PATIENCE_S
    while sink.accounts()["pager"].held:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    sink.close()
    assert [body["seq"] for _, _, body in server.posts] == [0, 1, 3, 4, 5, 6, 7, 8, 9], "the third was refused"
    account = sink.accounts()["pager"]
    assert (account.delivered, account.dropped, account.failures) == (9, 1, 5)
