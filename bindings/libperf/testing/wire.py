"""HTTP/1.1 on one accepted socket: reading requests, writing answers, and waiting without losing the client.

Small on purpose: a general HTTP server spends longer on headers than a whole answer may take here, and none of them
can wait for a deadline, a closing server and a leaving client at once.
"""

from __future__ import annotations

import contextlib
import http
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

_LONGEST_LINE = 1 << 16  # of the request line or one header, in bytes
_MOST_HEADERS = 200
_LARGEST_BODY = 1 << 28  # 256 MiB: a request of many images still fits

# The end of a wait is slept: waits that can be interrupted are less exact (poll counts whole milliseconds).
_COARSE_SECONDS = 0.004


class ClientLeft(Exception):
    """The client closed the connection before its answer was complete."""


class ServerStops(Exception):
    """The server is being closed: drop everything."""


class BadHttp(Exception):
    """Bytes that are no HTTP request; `status` is what to answer before closing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class HttpRequest:
    """One request as it came over the wire."""

    method: str
    path: str
    """Without the query."""
    body: bytes
    keep_alive: bool
    chunked: bool
    """Whether the client understands an answer in chunks (HTTP/1.1)."""
    started: float
    """When its first line was here, in ``time.monotonic`` seconds."""


class Connection:
    """One client connection. Used by one thread at a time; `shut` may be called by any."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        """`closing` is set when the server stops; `shut` must be called after it to wake a waiting thread."""
        self._socket = sock
        self._closing = closing
        self._reader = sock.makefile("rb")
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        # A client that sends its next request early looks readable all the time: then we stop watching.
        self._watching = True
        self._chunked = False
        with contextlib.suppress(OSError):
            # Otherwise a small event may wait for the acknowledgement of the one before.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def shut(self) -> None:
        """Ends the connection in both directions, waking whoever waits on it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Frees the socket. A client in the middle of an answer sees the connection break."""
        with contextlib.suppress(OSError):
            self._reader.close()
        with contextlib.suppress(OSError):
            self._socket.close()

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self) -> HttpRequest | None:
        """The next request, or None when the client has no more. Raises BadHttp, or OSError of a broken connection."""
        line = b"\r\n"
        for _ in range(5):  # stray empty lines between requests are allowed
            line = self._reader.readline(_LONGEST_LINE)
            if line not in (b"\r\n", b"\n"):
                break
        if not line:
            return None
        started = time.monotonic()
        method, target, version = self._request_line(line)
        headers = self._headers()
        body = self._body(headers)
        asked = headers.get("connection", "").lower()
        modern = version != "HTTP/1.0"
        keep = "close" not in asked if modern else "keep-alive" in asked
        path = target.partition("?")[0].partition("#")[0]
        self._watching = True
        return HttpRequest(method, path, body, keep, modern, started)

    def _request_line(self, line: bytes) -> tuple[str, str, str]:
        words = line.decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadHttp(400, "The request line is not METHOD PATH HTTP/1.1.")
        target = words[1]
        if "://" in target:  # the absolute form, as sent to a proxy
            target = "/" + target.partition("://")[2].partition("/")[2]
        return words[0], target, words[2]

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(_MOST_HEADERS):
            line = self._reader.readline(_LONGEST_LINE)
            if line in (b"\r\n", b"\n"):
                return headers
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not line.endswith(b"\n"):
                raise BadHttp(431 if len(line) >= _LONGEST_LINE else 400, "A header line is malformed or too long.")
            headers[name.strip().lower()] = value.strip()
        raise BadHttp(431, f"More than {_MOST_HEADERS} headers.")

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunked_body()
        length = headers.get("content-length", "0")
        if not length.isdigit():
            raise BadHttp(400, f"Content-Length is {length!r:.40}, not a number.")
        return self._exactly(int(length))

    def _exactly(self, length: int) -> bytes:
        if length > _LARGEST_BODY:
            raise BadHttp(413, f"The body has {length} bytes, more than the {_LARGEST_BODY} allowed.")
        data = self._reader.read(length)
        if len(data) < length:
            raise ClientLeft
        return data

    def _chunked_body(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            line = self._reader.readline(_LONGEST_LINE)
            try:
                length = int(line.partition(b";")[0], 16)
            except ValueError:
                raise BadHttp(400, "A chunk of the body has no length.") from None
            if length == 0:
                while self._reader.readline(_LONGEST_LINE) not in (b"\r\n", b"\n", b""):
                    pass  # trailers
                return b"".join(parts)
            total += length
            parts.append(self._exactly(length if total <= _LARGEST_BODY else total))
            self._reader.readline(_LONGEST_LINE)

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait_until(self, deadline: float) -> None:
        """Returns at `deadline` (``time.monotonic`` seconds), never before.

        Raises ClientLeft as soon as the client is gone, ServerStops as soon as the server closes.
        """
        while not self._closing.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            if left <= _COARSE_SECONDS:
                time.sleep(left)  # the most exact wait there is, and too short to hold anybody up
            elif not self._watching:
                self._closing.wait(left - _COARSE_SECONDS / 2)
            elif self._poll.poll(int((left - _COARSE_SECONDS / 2) * 1000)):
                self._look()
        raise ServerStops

    def _look(self) -> None:
        """Tells why the socket became readable: the client left, or sends ahead."""
        try:
            gone = not self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            gone = True
        if gone and not self._closing.is_set():
            raise ClientLeft
        self._watching = False

    # -- writing --------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Sends bytes as they are. Raises ClientLeft when nobody is there any more."""
        try:
            self._socket.sendall(data)
        except OSError:
            raise (ServerStops if self._closing.is_set() else ClientLeft) from None

    def send_whole(self, request: HttpRequest | None, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Sends a complete answer."""
        keep = request is not None and request.keep_alive
        head = {**headers, "Content-Length": str(len(body)), "Connection": "keep-alive" if keep else "close"}
        self.send(_head(status, head) + body)

    def stream_head(self, request: HttpRequest, headers: Mapping[str, str]) -> bytes:
        """The head of a streamed answer, to be sent before the first `stream_part`."""
        self._chunked = request.chunked
        keep = request.keep_alive and request.chunked
        head = {**headers, "Connection": "keep-alive" if keep else "close"}
        if self._chunked:
            head["Transfer-Encoding"] = "chunked"
        return _head(200, head)

    def stream_part(self, data: bytes) -> bytes:
        """`data` framed as a part of the stream (not yet sent)."""
        return b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data

    def stream_end(self) -> bytes:
        """What ends the stream (not yet sent)."""
        return b"0\r\n\r\n" if self._chunked else b""


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")
