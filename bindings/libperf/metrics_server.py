"""The HTTP server of `libperf serve-metrics`: `/metrics` for Prometheus, `/healthz` for whoever watches over it.

It runs in a process of its own and reads the segments of others when it is asked. Connections and the time that a scrape
may take are bounded; scrapes that come together share their work.
"""

import gzip
import json
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import __version__
from .exports.openmetrics import CLASSIC, choose, render
from .prometheus import Gathering

__all__ = ["MetricsServer"]

CONNECTIONS_MAX = 32
IDLE_S = 15.0  # until a silent client is left
WITHIN_S = 8.0  # a scrape may take; Prometheus waits 10 s unless it is told otherwise
PAGE = "libperf: the metrics are at /metrics\n"


class MetricsServer(ThreadingHTTPServer):
    """Serves a Gathering at a host and port (0: any free one) until shutdown().

    OSError when it cannot listen there. Threads: serve_forever() in one, shutdown() from another.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    allow_reuse_address = True

    def __init__(self, gathering: Gathering, host: str = "127.0.0.1", port: int = 9464) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.gathering = gathering
        self.scrapes = 0
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        host, port = self.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    def server_bind(self) -> None:
        """Without the name look-up of the base, which may take seconds."""
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error of ours; anything else is answered with 500."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"libperf/{__version__}"
    sys_version = ""
    timeout = IDLE_S
    server: MetricsServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._metrics()
        elif path == "/healthz":
            body = {
                "status": "ok",
                "processes": len(self.server.gathering.processes.all),
                "scrapes": self.server.scrapes,
            }
            self._answer(HTTPStatus.OK, json.dumps(body).encode() + b"\n", "application/json")
        elif path == "/":
            self._answer(HTTPStatus.OK, PAGE.encode(), "text/plain; charset=utf-8")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"there are /metrics and /healthz\n", "text/plain; charset=utf-8")

    do_HEAD = do_GET

    def _metrics(self) -> None:
        type = choose(self.headers.get("Accept", ""))
        try:
            families = self.server.gathering.families(within=self._within())
            body = "".join(render(families, classic=type == CLASSIC)).encode()
        except Exception as error:
            text = f"reading the segments failed: {error!r}\n"
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, text.encode(), "text/plain; charset=utf-8")
            return
        self.server.scrapes += 1
        self._answer(HTTPStatus.OK, body, type, zip=_takes_gzip(self.headers.get("Accept-Encoding", "")))

    def _within(self) -> float:
        """A bit less than Prometheus says it will wait."""
        try:
            return min(60.0, max(0.5, 0.8 * float(self.headers.get("X-Prometheus-Scrape-Timeout-Seconds", ""))))
        except ValueError:
            return WITHIN_S

    def _answer(self, status: HTTPStatus, body: bytes, type: str, *, zip: bool = False) -> None:
        if zip:
            body = gzip.compress(body, 5, mtime=0)
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Vary", "Accept, Accept-Encoding")
        if zip:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for each scrape helps nobody."""


def _takes_gzip(accept: str) -> bool:
    for part in accept.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        if name in ("gzip", "*"):
            return not any(word.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for word in parameters)
    return False
