"""A receiver for OTLP/HTTP: decodes with the published protobufs, and answers as it is told. Exporters that send to it."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import libperf
import libperf.otlp
from libperf._core import lib
from libperf.otlp.settings import settle

REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
IDS = {"traceId", "spanId", "parentSpanId"}
BOUND = 30.0  # seconds; a hang, not a measure of speed
LONG = 3600.0  # nothing is read unless somebody asks
QUICK = {"interval": LONG, "metrics_interval": LONG, "backoff": (0.01, 0.02)}
needs_curl = pytest.mark.skipif(not lib.perf_exporter_features() & 1, reason="built without libcurl")


def _as_protobuf_json(data: Any) -> Any:
    """OTLP's JSON has ids in hex where protobuf's has base64."""
    import base64

    if isinstance(data, list):
        return [_as_protobuf_json(each) for each in data]
    if isinstance(data, dict):
        return {
            name: base64.b64encode(bytes.fromhex(value)).decode() if name in IDS else _as_protobuf_json(value)
            for name, value in data.items()
        }
    return data


def decode(signal: str, body: bytes, json_: bool = False) -> Any:
    """A request; an unknown field, a wrong type or a text that is no UTF-8 is an error."""
    if json_:
        return json_format.ParseDict(_as_protobuf_json(json.loads(body)), REQUESTS[signal]())
    request = REQUESTS[signal]()
    request.ParseFromString(body)
    assert request.SerializeToString(deterministic=True) == request.__class__.FromString(body).SerializeToString(
        deterministic=True
    )
    return request


def value_of(any_value: Any) -> Any:
    which = any_value.WhichOneof("value")
    value = getattr(any_value, which)
    return [value_of(each) for each in value.values] if which == "array_value" else value


def attributes(message: Any) -> dict[str, Any]:
    keys = [pair.key for pair in message.attributes]
    assert len(keys) == len(set(keys)), keys
    return {pair.key: value_of(pair.value) for pair in message.attributes}


def spans_of(request: Any) -> list[Any]:
    return [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]


def logs_of(request: Any) -> list[Any]:
    return [log for each in request.resource_logs for scope in each.scope_logs for log in scope.log_records]


def metrics_of(request: Any) -> dict[str, Any]:
    return {m.name: m for each in request.resource_metrics for scope in each.scope_metrics for m in scope.metrics}


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/x-protobuf"),)
    # "close": without an answer; "half": of the body; "late": when the receiver is told to; "never": it waits until the
    # client has gone
    how: str = "whole"


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    message: Any
    at: float

    @property
    def signal(self) -> str:
        return self.path.rpartition("/")[2]


class Receiver:
    """`answers`: taken in order, for each signal; afterwards everything is accepted."""

    def __init__(self, context: Any = None, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.answers: dict[str, list[Answer]] = {}
        self.errors: list[BaseException] = []
        self.go_on = threading.Event()
        self._came: queue.Queue[Request] = queue.Queue()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                try:
                    receiver._take(self)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                except BaseException as error:
                    receiver.errors.append(error)
                    raise

            def log_message(self, *args: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *args: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def _take(self, handler: Any) -> None:
        length = int(handler.headers["Content-Length"])
        body = handler.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError("who sent it was closed in the middle")
        if handler.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        kind = handler.headers["Content-Type"]
        assert kind in ("application/x-protobuf", "application/json")
        signal = handler.path.rpartition("/")[2]
        message = decode(signal, body, kind == "application/json")
        answers = self.answers.get(signal)
        answer = answers.pop(0) if answers else Answer()
        request = Request(handler.path, {k.lower(): v for k, v in handler.headers.items()}, message, time.monotonic())
        self.requests.append(request)
        self._came.put(request)
        self._reply(handler, answer)

    def _reply(self, handler: Any, answer: Answer) -> None:
        if answer.how == "close":
            handler.close_connection = True
            return
        if answer.how == "never":
            handler.close_connection = True
            handler.connection.settimeout(BOUND)
            with contextlib.suppress(ConnectionResetError):
                assert handler.rfile.read(1) == b"", "it goes on without an answer"
            return
        if answer.how == "late":
            self.go_on.wait(BOUND)
        handler.send_response(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value)
        half = answer.how == "half"
        handler.send_header("Content-Length", str(len(answer.body) + 1000 * half))
        handler.end_headers()
        handler.wfile.write(answer.body)
        handler.close_connection = handler.close_connection or half

    def wait(self, condition: Callable[[Receiver], bool]) -> None:
        """Until it holds; looked at after each request."""
        until = time.monotonic() + BOUND
        while not condition(self):
            try:
                self._came.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not within {BOUND} s; {len(self.requests)} requests") from None

    def spans(self) -> list[Any]:
        return [span for request in self.requests if request.signal == "traces" for span in spans_of(request.message)]

    def names(self) -> list[str]:
        return [span.name for span in self.spans()]

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()
        assert not self.errors, self.errors


def receivers() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


# ---- a receiver in a process of its own ----

RECEIVER = """
import sys
sys.path.insert(0, sys.argv[1])
from support_otlp import Receiver
receiver = Receiver(port=int(sys.argv[2]))
print("ready", flush=True)
while True:
    receiver.wait(lambda r: r.requests)
    print(receiver.requests.pop(0).message.resource_spans[0].scope_spans[0].spans[0].name, flush=True)
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def another_process(port: int) -> subprocess.Popen[str]:
    """A receiver that prints the name of each request's first span."""
    words = [sys.executable, "-c", RECEIVER, str(Path(__file__).parent), str(port)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


# ---- exporters ----


def start(receiver: Receiver | str, **options: Any) -> libperf.otlp.Exporter:
    """Of spans alone, to a receiver or a URL."""
    url = receiver if isinstance(receiver, str) else receiver.url
    settings = settle(**{"endpoint": url, "signals": ["traces"], **QUICK, **options}, environment={})
    return libperf.otlp.Exporter(settings)


def exporters(receiver: Receiver) -> Iterator[libperf.otlp.Exporter]:
    """What this process recorded before is out of the way."""
    found = start(receiver)
    assert found.flush(BOUND)
    receiver.requests.clear()
    yield found
    found.close()


def record(name: str, **given: Any) -> None:
    with libperf.span(name, **given):
        pass


def told(exporter: libperf.otlp.Exporter, words: str) -> bool:
    """Does it say so, sooner or later? Until then nothing of it arrives."""
    until = time.monotonic() + BOUND
    while words not in exporter.stats().error and time.monotonic() < until:
        assert not exporter.flush(0.1)
    return words in exporter.stats().error
