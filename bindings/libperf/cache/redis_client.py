"""Commands to a Redis server: asked and waited for, awaited, or sent without looking back."""

import os
import threading
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from .._core import ffi, lib
from .._handle import Handle
from ..errors import UnsupportedError, check, text_to_bytes
from .redis_url import Address

__all__ = ["LOST", "Client", "Reply", "ReplyError", "command"]

Reply = Any  # None, bytes, int, ReplyError, or a list of them

NIL, STRING, ERROR = lib.PERF_REDIS_NIL, lib.PERF_REDIS_STRING, lib.PERF_REDIS_ERROR
INTEGER, ARRAY = lib.PERF_REDIS_INTEGER, lib.PERF_REDIS_ARRAY
FOREVER = 2**64 - 1
PIECE = 64  # commands that go as one ticket, at most
BREAKER = ("closed", "open", "probing")

NEEDS_TLS = (
    "rediss:// needs hiredis_ssl, which this libperf was built without: install hiredis 1.0 or newer with its TLS "
    "library and build libperf again, or let a TLS proxy such as stunnel listen on a unix socket"
)
NEEDS_HIREDIS = "redis= needs hiredis, which this libperf was built without: install libhiredis-dev and build it again"


def command(*words: bytes) -> bytes:
    """One command as the server reads it; several are several of these, one after the other."""
    return b"".join([b"*%d\r\n" % len(words), *[b"$%d\r\n%b\r\n" % (len(word), word) for word in words]])


class ReplyError:
    """What the server replied instead of an answer: "WRONGTYPE Operation against ..."."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"ReplyError({self.text!r})"


LOST = ReplyError("")  # no reply at all


Read = Callable[[Any, int, Any], Any]  # of a ticket, its i-th reply, what the caller gave: what is made of it


class _Room(threading.local):
    """Where C writes a pointer to, one for each thread."""

    def __init__(self) -> None:
        self.ticket = ffi.new("perf_redis_ticket **")


_room = _Room()


def read_any(ticket: Any, i: int, _: Any) -> Reply:
    return _value(lib.perf_redis_reply_at(ticket, i))


def _value(reply: Any) -> Reply:
    kind = reply.type
    if kind == NIL:
        return None
    if kind == INTEGER:
        return reply.integer
    if kind == ARRAY:
        return [_value(reply.element[i]) for i in range(reply.count)]
    text = ffi.buffer(reply.bytes, reply.size)[:]
    return ReplyError(text.decode("utf-8", "replace")) if kind == ERROR else text


# ---- event loops ----


class _Port:
    """Where one loop's replies arrive, whichever client they are for."""

    __slots__ = ("done", "pointer", "tag", "waiting")

    BATCH = 64

    def __init__(self, loop: AbstractEventLoop) -> None:
        out = ffi.new("perf_redis_port **")
        check(lib.perf_redis_port_create(ffi.NULL, out), "waiting for Redis in an event loop")
        self.pointer = ffi.gc(out[0], lib.perf_redis_port_close)
        self.done = ffi.new("perf_redis_done[]", self.BATCH)
        self.waiting: dict[int, list[_Asked]] = {}
        self.tag = 0
        loop.add_reader(lib.perf_redis_port_fd(self.pointer), self.drain)

    def drain(self) -> None:
        """Called by the loop: many replies, one wake-up."""
        count = self.BATCH
        while count == self.BATCH:
            count = lib.perf_redis_port_take(self.pointer, self.done, self.BATCH)
            for i in range(count):
                done = self.done[i]
                _resolve(self.waiting.pop(done.tag), None if done.err else done.ticket)
                lib.perf_redis_release(done.ticket)


_Asked = tuple[Future[Any], Read, Any]


def _resolve(asked: list[_Asked], ticket: Any) -> None:
    """The i-th one gets what is made of the i-th reply; without a ticket, LOST."""
    for i, (future, read, about) in enumerate(asked):
        if not future.done():  # it was not cancelled
            future.set_result(read(ticket, i, about) if ticket else LOST)


class _Batch:
    """What a client's tasks in one loop ask for between two turns of it: it goes as one ticket."""

    __slots__ = ("asked", "client", "options", "port", "wires")

    def __init__(self, client: "Client", loop: AbstractEventLoop) -> None:
        port = _ports.get(loop)
        if port is None:
            port = _ports[loop] = _Port(loop)
        self.client, self.port = client, port
        self.options = ffi.new("perf_redis_options *", {"port": port.pointer, "timeout_ns": client.timeout_ns})
        self.wires: list[bytes] = []
        self.asked: list[_Asked] = []

    def add(self, loop: AbstractEventLoop, wire: bytes, read: Read, about: Any) -> Future[Any]:
        future: Future[Any] = loop.create_future()
        self.wires.append(wire)
        self.asked.append((future, read, about))
        if len(self.wires) == 1:
            loop.call_soon(self.send)
        elif len(self.wires) >= PIECE:
            self.send()
        return future

    def send(self) -> None:
        wires, self.wires = self.wires, []
        asked, self.asked = self.asked, []
        if not wires:
            return  # there were so many that they were sent before
        wire, port, options = b"".join(wires), self.port, self.options
        options.tag = port.tag = port.tag + 1
        port.waiting[port.tag] = asked
        if lib.perf_redis_submit(self.client._get(), wire, len(wire), options, ffi.NULL):
            del port.waiting[options.tag]
            _resolve(asked, None)


# A port does not hold its loop, so both end together
_ports: WeakKeyDictionary[AbstractEventLoop, _Port] = WeakKeyDictionary()
os.register_at_fork(after_in_child=_ports.clear)  # a child's loops are others


# ---- clients ----


class Client(Handle):
    """A connection to a Redis server, made when it is first needed, and again when it was lost.

    track:      prefixes of keys whose changes by others are heard of
    timeout:    seconds that an answer is worth waiting for
    Threads: any. Fork: the child has connections of its own.
    """

    __slots__ = ("_batches", "_options", "address", "timeout_ns")

    def __init__(
        self,
        address: Address,
        *,
        timeout: float,
        connect_timeout: float = 1.0,
        heartbeat: float = 2.0,
        failures: int = 5,
        track: Sequence[str] = (),
    ) -> None:
        config, out = ffi.new("perf_redis_config *"), ffi.new("perf_redis **")
        lib.perf_redis_config_init(config, ffi.sizeof("perf_redis_config"))
        kept = []  # cffi does not keep what a struct points at

        def text(value: str | None) -> Any:
            if value is None:
                return ffi.NULL
            kept.append(ffi.new("char[]", text_to_bytes(value)))
            return kept[-1]

        config.host, config.port, config.path = text(address.host), address.port, text(address.path)
        config.user, config.password, config.database = text(address.user), text(address.password), address.database
        config.tls, config.tls_ca = address.tls, text(address.tls_ca)
        config.tls_cert, config.tls_key = text(address.tls_cert), text(address.tls_key)
        config.connect_timeout_ns, config.heartbeat_ns = int(connect_timeout * 1e9), int(heartbeat * 1e9)
        config.failures, config.seed = failures, int.from_bytes(os.urandom(8), "little")
        config.track = [text(prefix) for prefix in track]
        code = lib.perf_redis_create(config, out)
        if code == lib.PERF_ERR_UNSUPPORTED:
            raise UnsupportedError(NEEDS_TLS if lib.perf_redis_features() else NEEDS_HIREDIS)
        check(code, f"a client of {address}")
        super().__init__(out[0], lib.perf_redis_destroy_blocking)
        self.address = address
        self.timeout_ns = int(timeout * 1e9)
        self._options = ffi.new("perf_redis_options *", {"timeout_ns": self.timeout_ns})
        self._batches: WeakKeyDictionary[AbstractEventLoop, _Batch] = WeakKeyDictionary()

    def close(self) -> None:
        """Nothing is asked or sent any more. The memory stays until nobody has the client: others may be using it."""
        lib.perf_redis_close_blocking(self._get())

    def send(self, wire: bytes, timeout: float) -> bool:
        """Without looking back; False: it was refused."""
        options = ffi.new("perf_redis_options *", {"timeout_ns": int(timeout * 1e9)})
        return not lib.perf_redis_submit(self._get(), wire, len(wire), options, ffi.NULL)

    def ask(self, wire: bytes, read: Read = read_any, about: Any = None, timeout: float | None = None) -> Any:
        """What `read` makes of the reply to one command; LOST: there is none in time."""
        options, out = self._options, _room.ticket
        if timeout is not None:
            options = ffi.new("perf_redis_options *", {"timeout_ns": int(timeout * 1e9)})
        if lib.perf_redis_submit(self._get(), wire, len(wire), options, out):
            return LOST
        ticket = out[0]
        try:
            return LOST if lib.perf_redis_wait_blocking(ticket, FOREVER) else read(ticket, 0, about)
        finally:
            lib.perf_redis_release(ticket)

    def ask_many(self, wires: Sequence[bytes], read: Read, about: Sequence[Any]) -> list[Any]:
        """The same of many, in one pipeline."""
        found: list[Any] = []
        for first in range(0, len(wires), PIECE):
            piece = about[first : first + PIECE]

            def read_all(ticket: Any, _: int, piece: Sequence[Any]) -> list[Any]:
                return [read(ticket, i, one) for i, one in enumerate(piece)]

            replies = self.ask(b"".join(wires[first : first + PIECE]), read_all, piece)
            found += [LOST] * len(piece) if replies is LOST else replies
        return found

    def aask(self, wire: bytes, read: Read = read_any, about: Any = None) -> Future[Any]:
        """The same, to be awaited; what tasks ask for in one turn of their loop goes together."""
        loop = get_running_loop()
        batch = self._batches.get(loop)
        if batch is None:
            batch = self._batches[loop] = _Batch(self, loop)
        return batch.add(loop, wire, read, about)

    # ---- what others changed ----

    def change_word(self) -> memoryview:
        """One number that stands still as long as nothing was changed."""
        return memoryview(ffi.buffer(lib.perf_redis_change_word(self._get()), 8)).cast("Q")

    def changes(self, cursor: Any) -> tuple[list[tuple[int, bytes]], bool]:
        """(prefix, rest of the key) of what was changed since `cursor`, a uint64_t that moves on; and whether anything
        else may have been."""
        batch, everything = 64, ffi.new("bool *")
        out = ffi.new("perf_redis_change[]", batch)
        found: list[tuple[int, bytes]] = []
        lost, count = False, batch
        while count == batch:
            count = lib.perf_redis_changes(self._get(), cursor, out, batch, everything)
            lost = lost or everything[0]
            found += [(out[i].track, bytes(out[i].key[0 : out[i].size])) for i in range(count)]
        return found, lost

    def stats(self) -> dict[str, float]:
        """Counted since the client was made; "error" is not among them: see error()."""
        s = ffi.new("perf_redis_stats *")
        lib.perf_redis_stats_now(self._get(), s)
        return {
            "commands": s.commands,
            "replies": s.replies,
            "errors": s.errors,
            "timeouts": s.timeouts,
            "unreachable": s.unreachable,
            "refused": s.refused,
            "breaker": s.breaker,
            "breaker_opens": s.opens,
            "connects": s.connects,
            "reconnects": max(0, s.connects - 1),
            "dial_errors": s.dial_errors,
            "losses": s.losses,
            "batch": s.commands / s.writes if s.writes else 0.0,
            "bytes_out": s.bytes_out,
            "bytes_in": s.bytes_in,
            "changes": s.changes,
            "queue_bytes": s.queue_bytes,
            "latency_p50": s.p50_ns / 1e9,
            "latency_p99": s.p99_ns / 1e9,
            "latency_max": s.max_ns / 1e9,
            "connected": s.connected,
            "tracking": s.tracking,
        }

    def error(self) -> str:
        """Why connecting failed the last time; empty when it did not."""
        s = ffi.new("perf_redis_stats *")
        lib.perf_redis_stats_now(self._get(), s)
        return str(ffi.string(s.error).decode("utf-8", "replace"))
