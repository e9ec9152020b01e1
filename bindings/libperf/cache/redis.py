"""The tier that machines share: entries in a Redis server (or Valkey, KeyDB, Dragonfly).

An entry is one string, with the time it has left as its expiry. Labels are times of their own: an entry is valid when
it was begun after each of them. All commands are ordinary ones; nothing is installed on the server.

    <prefix>k:<digest>   an entry           <prefix>f:<digest>   a lease: who computes it now
    <prefix>l:<label>    when it was invalidated, in ms         <prefix>d:<id>   a compression dictionary

Whatever goes wrong is a miss and a number in stats(), within `timeout` seconds; when it goes on going wrong, at once.
"""

import itertools
import os
import threading
import time
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from .._core import ffi, lib
from ..errors import InvalidError
from .keys import Key
from .redis_client import BREAKER, LOST, Client, Reply, ReplyError, command
from .redis_url import Address, address_of

__all__ = ["RedisLease", "RedisTier"]

T = TypeVar("T")
Steps = Generator[bytes, Reply, T]  # yields commands, is sent their replies

HIT, UNSURE = lib.PERF_REDIS_HIT, lib.PERF_REDIS_UNSURE
WHY = {
    lib.PERF_REDIS_DAMAGED: "damaged",
    lib.PERF_REDIS_EXPIRED: "expired",
    lib.PERF_REDIS_INVALIDATED: "invalidated",
}
LONGEST_MS = 100 * 365 * 86_400_000  # longer is for ever: the server takes no larger numbers
USUAL = 4
PLANS = 256

# The later of two invalidations counts, whoever comes last.
INVALIDATE = (
    b"local t=redis.call('GET',KEYS[1]) if t and tonumber(t)>=tonumber(ARGV[1]) then return 0 end "
    b"if ARGV[2]=='0' then redis.call('SET',KEYS[1],ARGV[1]) "
    b"else redis.call('SET',KEYS[1],ARGV[1],'PX',ARGV[2]) end return 1"
)
RELEASE = b"if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0"


class _Unsure(NamedTuple):
    """There is an entry, and it may have been invalidated by one of these."""

    labels: tuple[int, ...]


class _Plan:
    """The command for a key and some labels: what stands before the key's digest, and behind it."""

    __slots__ = ("asked", "count", "head", "tail")

    def __init__(self, keys: bytes, names: Sequence[bytes], labels: tuple[int, ...]) -> None:
        self.head = b"*%d\r\n$4\r\nMGET\r\n$%d\r\n%b" % (len(names) + 2, len(keys) + 32, keys)
        self.tail = b"\r\n" + b"".join([b"$%d\r\n%b\r\n" % (len(name), name) for name in names])
        self.asked, self.count = ffi.new("uint64_t[]", [*labels, 0]), len(labels)

    def around(self, key: Key) -> bytes:
        return b"%b%b%b" % (self.head, key.digest.hex().encode(), self.tail)


class _Room(threading.local):
    """Where C writes a pointer to, one for each thread."""

    def __init__(self) -> None:
        self.reply = ffi.new("perf_redis_reply **")


_room = _Room()


def _labels_of(entry: bytes) -> tuple[tuple[int, ...], int]:
    """And when it was begun. It was read before, so it is one."""
    found = ffi.new("perf_entry *")
    lib.perf_entry_read(entry, len(entry), found)
    return tuple(lib.perf_entry_label(found, i) for i in range(found.label_count)), found.created_ms


class RedisLease:
    """The right to compute a key, among processes; it ends by itself. Without `token` it is one that nobody checks."""

    __slots__ = ("_key", "_tier", "_token")

    def __init__(self, tier: "RedisTier", key: bytes, token: bytes | None) -> None:
        self._tier, self._key, self._token = tier, key, token

    def release(self) -> None:
        """Returns at once. Releasing twice is allowed."""
        token, self._token = self._token, None
        if token is not None:
            self._tier._send(command(b"EVAL", RELEASE, b"1", self._key, token))


class RedisTier:
    """Entries in a Redis server.

    server:     "redis://…", "rediss://…", "unix://…", or a redis-py client, whose address and password are taken
    prefix:     of every key; processes that share a cache share it
    timeout:    seconds that a call may take at most; 0.05
    skew:       seconds by which the clocks of machines may differ: an invalidation reaches that far
    max_value:  bytes; what is longer is not stored, since it could not be read in time
    max_ttl:    seconds; no entry is kept longer, and so neither is what is remembered of an invalidation. None: both
                stay until they expire, or the server evicts them
    track:      whether changes by others are heard of (changed(); needs Redis 6)
    Threads: any; event loops: any. Fork: the child has connections of its own.
    """

    name = "redis"

    def __init__(
        self,
        server: Any,
        *,
        prefix: str = "libperf:",
        timeout: float = 0.05,
        connect_timeout: float = 1.0,
        heartbeat: float = 2.0,
        failures: int = 5,
        skew: float = 1.0,
        max_value: int = 8 << 20,
        max_ttl: float | None = None,
        track: bool = True,
    ) -> None:
        for what, value in (("timeout", timeout), ("connect_timeout", connect_timeout), ("heartbeat", heartbeat)):
            if not 0.001 <= value <= 3600:
                raise InvalidError(f"{what}={value!r}: seconds, from 0.001 to 3600")
        if skew < 0 or (max_ttl is not None and max_ttl <= 0):
            raise InvalidError(f"skew={skew!r}, max_ttl={max_ttl!r}: seconds, not negative; max_ttl above 0")
        self._client = Client(
            address_of(server),
            timeout=timeout,
            connect_timeout=connect_timeout,
            heartbeat=heartbeat,
            failures=failures,
            track=(f"{prefix}k:", f"{prefix}l:") if track else (),
        )
        raw = prefix.encode()
        self._keys, self._labels, self._leases = raw + b"k:", raw + b"l:", raw + b"f:"
        self._dictionaries = raw + b"d:"
        self._put_timeout = max(1.0, 20 * timeout)
        self.skew_ms = round(skew * 1000)  # which caches take into account when they invalidate
        self._max_value, self._max_ms = max_value, LONGEST_MS if max_ttl is None else round(max_ttl * 1000)
        self._counts = dict.fromkeys(("hits", "misses", "damaged", "expired", "invalidated", "too_long"), 0)
        self._usual: tuple[int, ...] = ()  # labels that entries had lately: asked for together with the next
        self._plans: dict[tuple[int, ...], _Plan] = {}
        self._owed: dict[int, int] = {}  # invalidations that the server has not confirmed
        self._cursor = ffi.new("uint64_t *")
        self._reading = threading.Lock()
        self._tokens = itertools.count()
        self._token = os.urandom(12).hex()
        self.change_word = self._client.change_word()

    @property
    def address(self) -> Address:
        return self._client.address

    def __repr__(self) -> str:
        return f"RedisTier({str(self.address)!r})"

    # ---- running steps: each operation is written once, for threads and for event loops ----

    def _run(self, steps: Steps[T]) -> T:
        try:
            wire = next(steps)
            while True:
                wire = steps.send(self._client.ask(wire))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _arun(self, steps: Steps[T]) -> T:
        try:
            wire = next(steps)
            while True:
                wire = steps.send(await self._client.aask(wire))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _send(self, wire: bytes) -> None:
        self._client.send(wire, self._put_timeout)

    # ---- getting: MGET of the entry and of when its labels were invalidated, one atomic command ----

    def get(self, key: Key, labels: tuple[int, ...] = ()) -> bytes | None:
        """Its entry, whole, of exactly this key, neither expired nor invalidated.

        labels:  that it is known to have: asked for in the same round trip. Those that entries had lately are anyway
        """
        if self._owed:
            self._run(self._invalidate())
        plan = self._plan(labels)
        found = self._client.ask(plan.around(key), self._read, (key, plan))
        if found.__class__ is _Unsure:
            plan = self._plan(found.labels)
            found = self._client.ask(plan.around(key), self._read, (key, plan))
        return self._settle(found)

    async def aget(self, key: Key, labels: tuple[int, ...] = ()) -> bytes | None:
        if self._owed:
            await self._arun(self._invalidate())
        plan = self._plan(labels)
        found = await self._client.aask(plan.around(key), self._read, (key, plan))
        if found.__class__ is _Unsure:
            plan = self._plan(found.labels)
            found = await self._client.aask(plan.around(key), self._read, (key, plan))
        return self._settle(found)

    def get_many(self, keys: Sequence[Key], labels: tuple[int, ...] = ()) -> list[bytes | None]:
        """In one pipeline."""
        if self._owed:
            self._run(self._invalidate())
        plan = self._plan(labels)
        found = self._client.ask_many([plan.around(key) for key in keys], self._read, [(key, plan) for key in keys])
        return [
            self.get(key, one.labels) if one.__class__ is _Unsure else self._settle(one)
            for key, one in zip(keys, found, strict=True)
        ]

    async def aget_many(self, keys: Sequence[Key], labels: tuple[int, ...] = ()) -> list[bytes | None]:
        if self._owed:
            await self._arun(self._invalidate())
        plan = self._plan(labels)
        asked = [self._client.aask(plan.around(key), self._read, (key, plan)) for key in keys]
        found = [await one for one in asked]
        return [
            await self.aget(key, one.labels) if one.__class__ is _Unsure else self._settle(one)
            for key, one in zip(keys, found, strict=True)
        ]

    def _plan(self, labels: tuple[int, ...]) -> "_Plan":
        plan = self._plans.get(labels)
        if plan is None:
            if len(self._plans) >= PLANS:
                self._plans = {}
            asked = tuple(dict.fromkeys((*labels, *self._usual)))
            plan = self._plans[labels] = _Plan(self._keys, [self._label(label) for label in asked], asked)
        return plan

    def _read(self, ticket: Any, i: int, about: "tuple[Key, _Plan]") -> "bytes | _Unsure | None":
        """The entry; a miss, counted; or what to ask for as well."""
        key, plan = about
        out, full, now_ms = _room.reply, key.full, time.time_ns() // 1_000_000
        verdict = lib.perf_redis_entry_at(ticket, i, full, len(full), now_ms, plan.asked, plan.count, out)
        if verdict == lib.PERF_REDIS_MISS:
            return None
        if verdict in (HIT, UNSURE):
            reply = out[0]
            entry = ffi.buffer(reply.bytes, reply.size)[:]
            if verdict == HIT and not self._owed:
                return entry  # type: ignore[no-any-return]
            labels, created_ms = _labels_of(entry)
            if all(created_ms > self._owed.get(label, -1) for label in labels):
                return entry if verdict == HIT else self._remember(labels)
            verdict = lib.PERF_REDIS_INVALIDATED
        self._counts[WHY[verdict]] += 1
        return None

    def _remember(self, labels: tuple[int, ...]) -> "_Unsure":
        """An entry's namespace and scope come first, and come again."""
        self._usual = tuple(dict.fromkeys((*labels[:2], *self._usual)))[:USUAL]
        self._plans = {}
        return _Unsure(labels)

    def _settle(self, found: Any) -> bytes | None:
        """What is still unsure was written anew meanwhile; what is LOST was not answered: misses, both."""
        if found.__class__ is bytes:
            self._counts["hits"] += 1
            return found
        self._counts["misses"] += 1
        return None

    def _key(self, key: Key) -> bytes:
        return self._keys + key.digest.hex().encode()

    def _label(self, label: int) -> bytes:
        return self._labels + b"%016x" % label

    # ---- putting, deleting ----

    def put(self, key: Key, entry: bytes) -> None:
        """Returns at once; an entry that has expired, or is too long, is left out."""
        found = ffi.new("perf_entry *")
        if len(entry) > self._max_value or lib.perf_entry_read(entry, len(entry), found):
            self._counts["too_long" if len(entry) > self._max_value else "damaged"] += 1
            return
        left_ms = min(found.expires_ms - time.time_ns() // 1_000_000, self._max_ms)
        if left_ms <= 0:
            return
        words = [b"SET", self._key(key), entry]
        if left_ms < LONGEST_MS:
            words += [b"PX", b"%d" % left_ms]
        self._send(command(*words))

    def delete(self, keys: Sequence[Key]) -> None:
        self._run(self._delete(keys))

    async def adelete(self, keys: Sequence[Key]) -> None:
        await self._arun(self._delete(keys))

    def _delete(self, keys: Sequence[Key]) -> Steps[None]:
        if keys:
            yield command(b"UNLINK", *[self._key(key) for key in keys])

    # ---- invalidating ----

    def invalidate(self, labels: Sequence[int], now_ms: int) -> None:
        """No entry with one of these labels that was begun by `now_ms`, on any machine, is given out any more.

        When the server does not confirm it, this process keeps to it, and tells the server as soon as it answers.
        """
        self._owe(labels, now_ms)
        self._run(self._invalidate())

    async def ainvalidate(self, labels: Sequence[int], now_ms: int) -> None:
        self._owe(labels, now_ms)
        await self._arun(self._invalidate())

    def _owe(self, labels: Sequence[int], now_ms: int) -> None:
        for label in labels:
            self._owed[label] = max(now_ms + self.skew_ms, self._owed.get(label, 0))

    def _invalidate(self) -> Steps[None]:
        """Tell the server what it has not confirmed."""
        owed = list(self._owed.items())
        kept_ms = 0 if self._max_ms == LONGEST_MS else self._max_ms + 2 * self.skew_ms
        for label, until_ms in owed:
            words = (self._label(label), b"%d" % until_ms, b"%d" % kept_ms)
            reply = yield command(b"EVAL", INVALIDATE, b"1", *words)
            if reply is LOST:
                return
            if not isinstance(reply, ReplyError) and self._owed.get(label) == until_ms:
                self._owed.pop(label, None)

    # ---- leases ----

    def lease(self, key: Key, seconds: float) -> RedisLease | None:
        """None: another process computes it. When the server is away everybody gets one."""
        return self._run(self._lease(key, seconds))

    async def alease(self, key: Key, seconds: float) -> RedisLease | None:
        return await self._arun(self._lease(key, seconds))

    def _lease(self, key: Key, seconds: float) -> Steps[RedisLease | None]:
        place = self._leases + key.digest.hex().encode()
        token = f"{self._token}-{os.getpid()}-{next(self._tokens)}".encode()
        reply = yield command(b"SET", place, token, b"NX", b"PX", b"%d" % max(1, round(seconds * 1000)))
        if reply is None:
            return None
        return RedisLease(self, place, token if reply == b"OK" else None)

    # ---- dictionaries ----

    def dictionary(self, id: int) -> bytes | None:
        reply = self._client.ask(command(b"GET", self._dictionaries + b"%d" % id), timeout=self._put_timeout)
        return reply if isinstance(reply, bytes) else None

    def put_dictionary(self, id: int, bytes_: bytes) -> None:
        self._send(command(b"SET", self._dictionaries + b"%d" % id, bytes_))

    # ---- what others changed ----

    def changed(self) -> Sequence[bytes] | None:
        """Digests of what other processes wrote or deleted since the last call. None: more than that, such as labels, or
        it is not known, because a connection was lost: whatever copies came from here are to be dropped.

        `change_word[0]` stands still as long as there is nothing new.
        """
        if self.change_word[0] == self._cursor[0]:
            return ()
        with self._reading:
            found, lost = self._client.changes(self._cursor)
        if lost or any(track for track, _ in found):
            return None
        return [bytes.fromhex(rest.decode()) for _, rest in found if len(rest) == 32]

    # ---- the rest ----

    def stats(self) -> dict[str, float]:
        """Numbers since the tier was made. `breaker` is 0 closed, 1 open, 2 probing; `batch` the mean number of commands
        that went as one piece; latencies are seconds from asking to the answer."""
        return {**self._counts, **self._client.stats(), "owed": len(self._owed)}

    def describe(self) -> str:
        """One line for people: where, whether it answers, and if not, why."""
        stats = self._client.stats()
        state = "connected" if stats["connected"] else "not connected"
        error = self._client.error()
        return f"{self.address}: {state}, breaker {BREAKER[int(stats['breaker'])]}" + (f", {error}" if error else "")

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the server has what was put, at most so many seconds (10)."""
        self._client.ask(command(b"PING"), timeout=10.0 if timeout is None else timeout)

    def close(self) -> None:
        """Closing twice is allowed. What was put and is not sent is not sent any more: flush() first."""
        self._client.close()
