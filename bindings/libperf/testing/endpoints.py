"""One request from path to last byte: finding the endpoint, injecting faults, answering at the right time."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .answer import Answer, Speaker
from .completions import Envelope, Event, chat_events, chat_json, text_events, text_json
from .embeddings import embeddings_json
from .latency import Timetable, Timing
from .records import Records, RequestRecord
from .request import ApiError, Message, MockRequest, generator, parse_request
from .responses import response_events, response_json
from .script import Faults, Reply, Script
from .wire import ClientLeft, Connection, HttpRequest, ServerStops

_JSON = {"Content-Type": "application/json"}
_EVENTS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_FULL_BUFFER = 1 << 16  # bytes of due events that are sent without waiting for more
_REMEMBERED = 1000  # conversations kept for previous_response_id

_KNOWN_PATHS = (
    "POST /v1/chat/completions",
    "POST /v1/responses",
    "POST /v1/completions",
    "POST /v1/embeddings",
    "GET /v1/models",
    "GET /v1/models/{model}",
)
_TAILS = {
    ("chat", "completions"): "chat",
    ("responses",): "responses",
    ("completions",): "completions",
    ("embeddings",): "embeddings",
    ("models",): "models",
}
_PREFIXES = ((), ("v1",), ("api", "v1"), ("openai",), ("openai", "v1"))

_Builder = Callable[[MockRequest, Sequence[Answer], Envelope], dict[str, Any]]
_Streamer = Callable[[MockRequest, Sequence[Answer], Envelope], Iterator[Event]]
_FORMATS: dict[str, tuple[_Builder, _Streamer]] = {
    "chat": (chat_json, chat_events),
    "responses": (response_json, response_events),
    "completions": (text_json, text_events),
}


class ConnectionDropped(Exception):
    """The connection must be closed now: a fault was injected, or its end marks the end of the answer."""


@dataclass(frozen=True)
class Route:
    """Where a path leads."""

    endpoint: str
    model: str | None = None
    """The model's name when the path carries it."""


def find_route(path: str) -> Route:
    """The endpoint behind `path`, with or without ``/v1``, also below ``/openai/deployments/NAME``.

    Raises ApiError (404) naming the path and what exists.
    """
    parts = tuple(part for part in path.split("/") if part)
    deployment = None
    if len(parts) > 3 and parts[:2] == ("openai", "deployments"):
        deployment, parts = parts[2], parts[3:]
    for prefix in _PREFIXES:
        if parts[: len(prefix)] != prefix:
            continue
        tail = parts[len(prefix) :]
        if tail in _TAILS:
            return Route(_TAILS[tail], deployment)
        if len(tail) > 1 and tail[0] == "models":
            return Route("models", "/".join(tail[1:]))
    raise ApiError(404, f"Unknown path {path!r}. This server has: {', '.join(_KNOWN_PATHS)}.", code="unknown_url")


@dataclass
class Desk:
    """Answers the requests of all connections of one server. Thread-safe."""

    seed: int
    speaker: Speaker
    timing: Timing
    faults: Faults
    script: Script
    records: Records
    retry_after: float
    stall_seconds: float
    models: tuple[str, ...]
    strict_models: bool
    """Whether a model that is not in `models` is refused."""
    embedding_dimensions: int
    on_finish: Callable[[RequestRecord], None] | None = None
    _seen: dict[bytes, int] = field(default_factory=dict, init=False)
    _talks: OrderedDict[str, tuple[Message, ...]] = field(default_factory=OrderedDict, init=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def serve(self, connection: Connection, http: HttpRequest) -> None:
        """Answers one request. Raises ClientLeft, ServerStops or ConnectionDropped when the connection must end."""
        record = RequestRecord(http.path, http.started)
        self.records.open(record)
        try:
            self._answer(connection, http, record)
        except ApiError as error:
            record.error = str(error)
            self._send_json(connection, http, record, error.status, error.body(), error.headers)
        except ClientLeft:
            if record.finished is None:  # else it left with the answer on its way, which no one can tell
                record.client_left = True
            raise
        except (ServerStops, ConnectionDropped):
            raise
        except Exception as error:  # a Reply's function may raise anything; the client must still get an answer
            record.error = f"{type(error).__name__}: {error}"
            if record.status is not None:
                raise ConnectionDropped from error
            failure = ApiError(500, f"MockLLM could not answer: {record.error}")
            self._send_json(connection, http, record, 500, failure.body())
        finally:
            self.records.finish(record, time.monotonic())
            if self.on_finish is not None:
                self.on_finish(record)

    def reset(self) -> None:
        """Forgets how often each body was seen, the use of the replies, and the conversations."""
        with self._lock:
            self._seen.clear()
            self._talks.clear()
        self.script.reset()

    # -- one request ----------------------------------------------------------------------------------------------

    def _answer(self, connection: Connection, http: HttpRequest, record: RequestRecord) -> None:
        route = find_route(http.path)
        record.endpoint = route.endpoint
        method = "GET" if route.endpoint == "models" else "POST"
        if http.method != method:
            message = f"Method {http.method} is not allowed for {http.path}: use {method}."
            raise ApiError(405, message, code="method_not_allowed", headers={"Allow": method})
        if route.endpoint == "models":
            self._send_json(connection, http, record, 200, self._models(route.model))
            return
        request = self._parse(route, http, record)
        number = self._count(request.digest)
        fault = self.faults.draw(generator(self.seed, "fault", request.digest, number))
        record.fault = fault
        if fault is not None and fault.isdigit():
            self._refuse(connection, record, request, int(fault), None, number, "injected")
        reply = self.script.take(request)
        record.scripted = reply is not None
        if reply is not None and reply.status >= 400:
            self._refuse(connection, record, request, reply.status, reply.latency, number, "scripted")
        if request.endpoint == "embeddings":
            body = embeddings_json(request, self.embedding_dimensions)
            self._plan(record, request, (), reply, number)
            self._send_at(connection, http, record, body)
        else:
            self._complete(connection, http, record, request, reply, number)

    def _parse(self, route: Route, http: HttpRequest, record: RequestRecord) -> MockRequest:
        try:
            record.body = json.loads(http.body)
        except ValueError as error:
            raise ApiError(400, f"The request body is not valid JSON: {error}.", code="invalid_json") from None
        except RecursionError:
            raise ApiError(400, "The request body is nested too deeply.", code="invalid_json") from None
        request = parse_request(route.endpoint, http.path, record.body, route.model)
        previous = request.body.get("previous_response_id")
        if route.endpoint == "responses" and isinstance(previous, str):
            with self._lock:
                earlier = self._talks.get(previous, ())
            request = dataclasses.replace(request, messages=earlier + request.messages)
        record.model, record.stream = request.model, request.stream
        record.prompt_tokens = request.prompt_tokens
        if self.strict_models and request.model not in self.models:
            raise _unknown_model(request.model, self.models)
        return request

    def _count(self, digest: bytes) -> int:
        with self._lock:
            number = self._seen.get(digest, 0)
            self._seen[digest] = number + 1
            return number

    def _refuse(
        self,
        connection: Connection,
        record: RequestRecord,
        request: MockRequest,
        status: int,
        latency: float | None,
        number: int,
        why: str,
    ) -> None:
        """Waits as an error does, and raises it. A limiter answers at once, a failing service after some work."""
        if latency is None:
            latency = 0.0 if status == 429 else self._timetable(request, 0, None, 0.0, number).first
        record.latency = record.ttft = latency
        record.prompt_tokens = 0  # a refused request costs nothing
        connection.wait_until(record.started + latency)
        headers = {}
        if status in (429, 503):
            # Whole seconds are all the standard header allows; clients that know the other one wait exactly.
            headers = {
                "Retry-After": str(math.ceil(self.retry_after)),
                "Retry-After-Ms": f"{self.retry_after * 1000:g}",
            }
        if status == 429:
            message = f"Rate limit reached for {request.model} ({why}). Try again in {self.retry_after:g} s."
            raise ApiError(429, message, code="rate_limit_exceeded", headers=headers)
        raise ApiError(status, f"An error of status {status} ({why}).", code=f"{why}_error", headers=headers)

    def _timetable(
        self, request: MockRequest, tokens: int, override: float | None, stall: float, number: int
    ) -> Timetable:
        timing = self.timing if request.endpoint != "embeddings" else Timing(self.timing.latency, None, None)
        return timing.plan(
            request.model, tokens, generator(self.seed, "latency", request.digest, number), override, stall
        )

    def _plan(
        self, record: RequestRecord, request: MockRequest, answers: Sequence[Answer], reply: Reply | None, number: int
    ) -> Timetable:
        record.completion_tokens = sum(answer.tokens for answer in answers)
        stall = self.stall_seconds if record.fault == "stall" else 0.0
        override = None if reply is None else reply.latency
        table = self._timetable(request, record.completion_tokens, override, stall, number)
        record.latency, record.ttft = table.last, table.first
        return table

    def _complete(
        self,
        connection: Connection,
        http: HttpRequest,
        record: RequestRecord,
        request: MockRequest,
        reply: Reply | None,
        number: int,
    ) -> None:
        answers = self.speaker.answers(request, reply)
        identity = generator(self.seed, "id", request.digest, number).getrandbits(96)
        envelope = Envelope(f"{identity:024x}", int(time.time()))
        table = self._plan(record, request, answers, reply, number)
        if request.endpoint == "responses":
            self._remember(f"resp_{envelope.id}", request, answers[0])
        build, stream = _FORMATS[request.endpoint]
        if request.stream:
            self._stream(connection, http, record, table, stream(request, answers, envelope))
        else:
            self._send_at(connection, http, record, build(request, answers, envelope))

    def _remember(self, identity: str, request: MockRequest, answer: Answer) -> None:
        """Keeps the conversation for a request that goes on from it; instructions are given anew each time."""
        told = tuple(m for m in request.messages if m.role != "system")
        with self._lock:
            self._talks[identity] = (*told, Message("assistant", answer.text or "", len(answer.calls)))
            while len(self._talks) > _REMEMBERED:
                self._talks.popitem(last=False)

    def _models(self, name: str | None) -> dict[str, Any]:
        def entry(model: str) -> dict[str, Any]:
            return {"id": model, "object": "model", "created": 0, "owned_by": "libperf"}

        if name is None:
            return {"object": "list", "data": [entry(model) for model in self.models]}
        if self.strict_models and name not in self.models:
            raise _unknown_model(name, self.models)
        return entry(name)

    # -- sending --------------------------------------------------------------------------------------------------

    def _send_at(self, connection: Connection, http: HttpRequest, record: RequestRecord, body: dict[str, Any]) -> None:
        """Sends `body` when the record's latency has passed."""
        data = json.dumps(body).encode()  # before the wait, which hides the time it takes
        connection.wait_until(record.started + record.latency)
        if record.fault == "disconnect":
            raise ConnectionDropped
        self._send(connection, http, record, 200, data, {})

    def _send_json(
        self,
        connection: Connection,
        http: HttpRequest,
        record: RequestRecord,
        status: int,
        body: dict[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._send(connection, http, record, status, json.dumps(body).encode(), headers or {})

    def _send(
        self,
        connection: Connection,
        http: HttpRequest,
        record: RequestRecord,
        status: int,
        data: bytes,
        headers: Mapping[str, str],
    ) -> None:
        record.status = status
        # Finished before the bytes leave: whoever holds the answer finds the record complete.
        self.records.finish(record, time.monotonic())
        connection.send_whole(http, status, {**_JSON, **self._marks(record), **headers}, data)

    def _marks(self, record: RequestRecord) -> dict[str, str]:
        """Headers clients log: an id for the request, and the time asked for."""
        return {
            "X-Request-Id": f"req_{next(self._numbers):012x}",
            "OpenAI-Processing-Ms": f"{record.latency * 1000:.0f}",
        }

    def _stream(
        self,
        connection: Connection,
        http: HttpRequest,
        record: RequestRecord,
        table: Timetable,
        events: Iterator[Event],
    ) -> None:
        """Sends each event when it is due; those due together leave in one packet."""
        head = connection.stream_head(http, {**_EVENTS, **self._marks(record)})
        broken_at = max(1, table.tokens // 2) if record.fault == "disconnect" else None
        pending = bytearray()
        for token, data in events:
            if broken_at is not None and token >= broken_at:
                break
            due = record.started + (table.due(token) if token >= 0 else 0.0)
            if due > time.monotonic() or len(pending) > _FULL_BUFFER:
                if pending:
                    # The head waits for the first event, as it does at the real service.
                    record.status = 200
                    connection.send(head + pending)
                    head = b""
                    pending.clear()
                connection.wait_until(due)
            pending += connection.stream_part(data)
        record.status = 200
        if broken_at is not None:
            connection.send(head + pending)
            raise ConnectionDropped
        connection.wait_until(record.started + record.latency)
        self.records.finish(record, time.monotonic())
        connection.send(head + pending + connection.stream_end())
        if not http.chunked:
            raise ConnectionDropped  # an old client reads until the connection ends


def _unknown_model(name: str, models: Sequence[str]) -> ApiError:
    message = f"The model {name!r} does not exist. This server has: {', '.join(models)}."
    return ApiError(404, message, param="model", code="model_not_found")
