"""Metrics over HTTP, for Prometheus to fetch: the standard library's server in a thread of its own."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .metrics import Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_S = 5.0  # a client that does not finish its request by then is let go


class MetricsServer:
    """Serves the text at /metrics from a thread, until it is closed."""

    def __init__(self, host: str, port: int, metrics: Metrics) -> None:
        """Listen; raises EcgEdgeError where that is not possible. Port 0 takes one that is free."""
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(metrics))
        except OSError as error:
            raise EcgEdgeError(f"cannot serve metrics at {host}:{port} ({error.strerror}): name another port") from None
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        """Port that it listens on."""
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _handler(metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_S

        def do_GET(self) -> None:
            found = self.path.partition("?")[0] == "/metrics"
            body = metrics.text().encode() if found else b"the metrics are at /metrics\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE if found else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep standard error for what matters."""

    return Handler
