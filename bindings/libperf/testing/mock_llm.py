"""MockLLM: an OpenAI-compatible server on the local machine, with known answers, latencies and faults."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from .answer import Speaker
from .endpoints import ConnectionDropped, Desk
from .latency import Latency, PerModel, PerModelSetting, Timing
from .records import Records, RequestRecord, Summary
from .request import ApiError
from .script import Faults, Reply, Script
from .wire import BadHttp, ClientLeft, Connection, ServerStops

API_KEY = "mock"  # any key is accepted; clients insist on having one
DEFAULT_MODELS = ("mock-llm", "mock-embedding")
_CLOSE_SECONDS = 5.0  # how long close() waits for threads busy in a Reply's function


class MockLLM:
    """A server on 127.0.0.1 that speaks the OpenAI API: any agent runs offline, at no cost, with known latencies.

    ::

        with MockLLM(latency=0.05, seed=7) as llm:
            client = openai.OpenAI(base_url=llm.base_url, api_key="mock")
            client.chat.completions.create(model="any", messages=[{"role": "user", "content": "Hello"}])
            print(llm.requests[0].latency)

    It serves ``chat/completions``, ``responses``, ``completions``, ``embeddings`` and ``models``, streamed or whole,
    with tool calls whose arguments fit the tool's schema and with structured output that fits its ``json_schema``.

    **What is the same each time.** The content of an answer depends on `seed` and the request's body; its latency and
    injected fault also on how often that same body was seen. Neither depends on the order or the concurrency of
    arrival. Token counts are by a rule: four characters are one token (4 more per message, 85 per image or file).

    **When an answer is out.** The first token after `ttft` if that is set, else after `latency`. The last one
    (tokens - 1) / `tokens_per_second` later if that is set, else at `latency`. An answer that is not streamed is sent
    at the time of its last token; embeddings take `latency`. All from the arrival of the request: work the server does
    is hidden in the wait, and no wait is ever shorter than drawn.

    Args:
        port: TCP port; 0 takes a free one.
        host: Address to listen on. Keep the default unless other machines shall reach the server.
        seed: Any integer.
        latency: Seconds (>= 0); or text such as ``"lognormal:0.8,0.3"``; or a `Latency`; or a mapping from model name
            (``fnmatch`` patterns, ``"*"`` for the rest) to one of these; a model no rule covers takes 0. As text per
            model: ``"gpt-4o*=1.2;*=0.3"``.
        ttft: Seconds to the first token, in the same forms.
        tokens_per_second: Rate of a streamed answer (> 0), in the same forms.
        replies: Scripted answers; the first that matches is used.
        tool_rounds: How many turns of tool calls follow a user message before the text answer (>= 0), when tools are
            offered and the choice is left to the model.
        parallel_tool_calls: Tool calls in one turn (>= 1).
        errors: Share of requests that fail with HTTP 500 (0 to 1); or text such as
            ``"500:0.1,429:0.05,disconnect:0.01,stall:0.02"``; or a mapping from kind to share. A disconnect drops the
            connection, in the middle of the answer when it is streamed. Errors other than 429 take the time of the
            first token; 429 is answered at once.
        rate_limit: Share of requests answered with 429 (0 to 1).
        retry_after: Seconds told with 429 and 503: exactly in ``retry-after-ms``, rounded up in ``Retry-After``.
        stall: Share of answers that halt for `stall_seconds` half-way (0 to 1).
        stall_seconds: How long a stalled answer halts, in seconds.
        reply_tokens: Length of text answers in tokens: a number, or a distribution in the forms of `latency`.
        models: Names to list; others are then refused with 404. Without it every name is accepted.
        embedding_dimensions: Length of vectors when the request names none (1 to 65536).
        keep_requests: How many of the latest `requests` are kept (>= 1).
        on_finish: Called with the record of each finished request, on a server thread. It must not raise.

    Raises:
        ValueError, TypeError: A setting is out of range; the message names it and the fix.

    All methods may be called from any thread. Use it as ``with`` or ``async with``, or call `start` and `close`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        seed: int = 0,
        latency: PerModelSetting = 0.0,
        ttft: PerModelSetting | None = None,
        tokens_per_second: PerModelSetting | None = None,
        replies: Sequence[Reply] = (),
        tool_rounds: int = 1,
        parallel_tool_calls: int = 1,
        errors: float | str | Mapping[str | int, float] = 0.0,
        rate_limit: float = 0.0,
        retry_after: float = 1.0,
        stall: float = 0.0,
        stall_seconds: float = 5.0,
        reply_tokens: float | str | Latency = "uniform:20,60",
        models: Sequence[str] | None = None,
        embedding_dimensions: int = 1536,
        keep_requests: int = 10_000,
        on_finish: Callable[[RequestRecord], None] | None = None,
    ) -> None:
        rate = None if tokens_per_second is None else PerModel(tokens_per_second, "tokens_per_second")
        if rate is not None and rate.least_mean() <= 0:
            raise ValueError(f"tokens_per_second is {tokens_per_second!r}: give a rate above 0, or None for no limit")
        timing = Timing(PerModel(latency, "latency"), None if ttft is None else PerModel(ttft, "ttft"), rate)
        lengths = PerModel(reply_tokens, "reply_tokens").of("") or Latency.fixed(0)
        self._records = Records(_whole("keep_requests", keep_requests, 1, 1 << 31))
        self._desk = Desk(
            seed=_whole("seed", seed, None, None),
            speaker=Speaker(
                seed,
                _whole("tool_rounds", tool_rounds, 0, 1 << 31),
                _whole("parallel_tool_calls", parallel_tool_calls, 1, 128),
                lengths,
            ),
            timing=timing,
            faults=Faults.of(errors, _share("rate_limit", rate_limit), _share("stall", stall)),
            script=Script(replies),
            records=self._records,
            retry_after=_seconds("retry_after", retry_after),
            stall_seconds=_seconds("stall_seconds", stall_seconds),
            models=_names(models),
            strict_models=models is not None,
            embedding_dimensions=_whole("embedding_dimensions", embedding_dimensions, 1, 1 << 16),
            on_finish=on_finish,
        )
        self._host = host
        self._port = _whole("port", port, 0, 65535)
        self._state = threading.Lock()  # guards what follows
        self._listener: socket.socket | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._acceptor: threading.Thread | None = None
        self._closing = threading.Event()
        self._open: dict[Connection, threading.Thread] = {}
        self._owner = 0  # process that started the server: a fork's child has none of its threads

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Begins to listen, and returns the server itself. Does nothing when it listens already.

        Raises OSError when the address is taken, RuntimeError after `close`.
        """
        with self._state:
            if self._closing.is_set():
                raise RuntimeError("this MockLLM was closed: create a new one")
            if self._listener is not None:
                return self
            self._listener = self._bind()
            self._port = self._listener.getsockname()[1]
            self._wake = socket.socketpair()
            self._owner = os.getpid()
            self._acceptor = threading.Thread(
                target=self._accept, args=(self._listener, self._wake[0]), name="libperf-mock", daemon=True
            )
            self._acceptor.start()
        return self

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listener = socket.create_server((self._host, self._port), family=family, backlog=1024)
        except OSError as error:
            where = f"{self._host}:{self._port}"
            if error.errno == errno.EADDRINUSE:
                raise OSError(error.errno, f"{where} is in use: choose another port, or 0 for a free one") from None
            raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}") from None
        listener.setblocking(False)
        return listener

    def close(self) -> None:
        """Stops the server: open answers break off, waits end, threads finish. Returns promptly; may be repeated.

        In the child of a fork it only frees the child's copies of the sockets.
        """
        if self._owner and os.getpid() != self._owner:
            # A fork's child: the threads and the conversations are its parent's, and so may be the lock.
            for sock in filter(None, (self._listener, *(self._wake or ()))):
                sock.close()
            return
        with self._state:
            self._closing.set()
            listener, wake, acceptor = self._listener, self._wake, self._acceptor
            self._listener = self._wake = self._acceptor = None
            connections = dict(self._open)
        if listener is None or wake is None or acceptor is None:
            return
        wake[1].send(b"x")
        for connection in connections:
            connection.shut()
        deadline = time.monotonic() + _CLOSE_SECONDS
        for thread in (acceptor, *connections.values()):
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        for sock in (listener, *wake):
            sock.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    # -- what callers ask -----------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The TCP port; 0 before `start` when a free one was asked for."""
        return self._port

    @property
    def base_url(self) -> str:
        """What clients take as ``base_url``, such as ``http://127.0.0.1:40123/v1``. Raises RuntimeError before
        `start`."""
        if not self._owner:
            raise RuntimeError("the server has no address yet: use `with MockLLM(...) as llm:` or call start()")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/v1"

    def environment(self) -> dict[str, str]:
        """Environment variables that point OpenAI clients at this server."""
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": API_KEY}

    @property
    def requests(self) -> list[RequestRecord]:
        """What was asked, in the order of arrival (a new list each time). A request that is still being answered has
        ``finished`` None; one whose answer you hold is final."""
        return self._records.list()

    def summary(self) -> Summary:
        """Totals of the finished requests."""
        return self._records.summary()

    def reset(self) -> None:
        """Forgets the requests, how often each body was seen, and the uses of the replies: as if just started."""
        self._records.reset()
        self._desk.reset()

    # -- threads --------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket, wake: socket.socket) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while not self._closing.is_set():
            poll.poll()
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                continue  # woken to close, or the client has gone again
            except OSError:
                self._closing.wait(0.05)  # out of descriptors: others will end
                continue
            sock.setblocking(True)
            self._take_in(Connection(sock, self._closing))

    def _take_in(self, connection: Connection) -> None:
        """Gives a new connection its thread, unless the server closes or the machine has no more threads."""
        thread = threading.Thread(
            target=self._converse, args=(connection,), name="libperf-mock-connection", daemon=True
        )
        with self._state:  # close() either sees the running thread, or we see that it closes
            if not self._closing.is_set():
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._open[connection] = thread
                    return
        connection.close()

    def _converse(self, connection: Connection) -> None:
        """Serves one connection, request after request, until either side has enough."""
        try:
            while not self._closing.is_set():
                http = connection.read()
                if http is None:
                    return
                self._desk.serve(connection, http)
                if not http.keep_alive:
                    return
        except BadHttp as error:
            failure = ApiError(error.status, str(error))
            with contextlib.suppress(ClientLeft, ServerStops):
                body = json.dumps(failure.body()).encode()
                connection.send_whole(None, error.status, {"Content-Type": "application/json"}, body)
        except (ClientLeft, ServerStops, ConnectionDropped, OSError):
            pass
        finally:
            connection.close()
            with self._state:
                self._open.pop(connection, None)


def _whole(name: str, value: Any, least: int | None, most: int | None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}: give an integer")
    if (least is not None and value < least) or (most is not None and value > most):
        raise ValueError(f"{name} is {value!r}: give an integer from {least} to {most}")
    return value


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r}: give a share from 0 to 1")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}: give a share from 0 to 1 (0.1 is 10 %)")
    return float(value)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r}: give seconds")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is {value!r}: give seconds, 0 or more")
    return float(value)


def _names(models: Sequence[str] | None) -> tuple[str, ...]:
    if models is None:
        return DEFAULT_MODELS
    if isinstance(models, str) or not all(isinstance(model, str) for model in models):
        raise TypeError(f"models is {models!r}: give a list of names")
    return tuple(models)
