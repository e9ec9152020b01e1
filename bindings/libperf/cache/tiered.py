"""TieredCache: one cache over memory, disk and Redis."""

import weakref
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from .._core import lib
from .._memory import Entry, Front
from ..errors import ClosedError, InvalidError
from ..names import Kind
from . import background, walk
from .clock import Clock
from .flights import running_loop
from .flow import MISSING, Flow
from .freshness import Lifetime, check_seconds
from .keys import label_of_scope, label_of_tag
from .memory import MAX_ENTRIES, Memory
from .places import Ask
from .sizes import parse_bytes
from .stats import CacheInfo, Counts, gather
from .tier import Tier
from .values import Values

__all__ = ["TieredCache"]

T = TypeVar("T")

POLICIES = {
    "adaptive": lib.PERF_POLICY_ADAPTIVE,
    "lru": lib.PERF_POLICY_LRU,
    "s3fifo": lib.PERF_POLICY_S3FIFO,
}

FORMS = ("object", "bytes")


class _Default:
    """As the cache was told."""

    def __repr__(self) -> str:
        return "<the cache's>"


DEFAULT: Final[Any] = _Default()


class TieredCache(Front):
    """A cache over memory, disk and Redis, with one key, one time to live and one flight for each computing.

    >>> cache = libperf.TieredCache(ttl=3600, disk=True)
    >>> user = cache.get_or_set("user:123", lambda: fetch_user(123))
    >>> user = await cache.aget_or_set("user:123", lambda: fetch_user(123))     # factory sync or async

    local_max_size:  entries in memory; None: only max_bytes bounds it
    max_bytes:       of keys and values in memory, as far as Python tells their sizes: a number or "64MB"; None: no bound
    disk:            True: the user's cache folder; a path; a DiskTier; None
    redis:           a URL, a client of redis-py, a RedisTier; None
    ttl:             seconds for which a value is fresh; None: for ever. Up to `jitter` (a share) more or less
    stale_ttl:       seconds after that in which it is still served, while it is computed again behind the caller's back
    stale_if_error:  seconds after `ttl` in which it is served if computing it again fails
    negative_ttl:    seconds for which an exception of a factory is raised again without calling it
    beta:            how eagerly a value is computed shortly before its time, by one caller while the others are served;
                     0: never (XFetch; at 1 within a few times what computing takes)
    copy:            what callers get of values in memory: "shallow" (default) copies of dicts, lists and sets, "deep"
                     copies, or "none": the very objects
    form:            of values in memory. "object" (default): the very objects. "bytes": encoded, as in shared tiers; so
                     `max_bytes` (64 KiB or more) is exact, of all that is held, memory that is not needed goes back to
                     the system, and a hit takes microseconds, for it decodes the value anew: `copy` does not apply.
                     Only what the codec knows is kept, the rest is counted ("unstorable"), or an error with strict;
                     keys need a canonical form. Not with negative_ttl
    namespace:       keys of caches with different namespaces never meet
    scope:           whose values these are: a tenant's id, "public"; part of every key. Also per call
    strict:          raise UnencodableError (a TypeError) when a value cannot be stored in a shared tier; otherwise it is
                     kept in memory and counted ("unstorable")
    memory_ttl:      seconds after which a copy in memory is compared with Redis again, whatever else happens
    patience:        seconds, or three times the usual if that is more, until somebody else computes beside a slow leader
    policy:          who stays in memory: "adaptive" (W-TinyLFU), "lru", "s3fifo"
    pure_tools:      True, or names of tools: a model's answers that ask for them may be kept

    Keys: anything made of plain values: str, numbers, bytes, tuples, dicts, dataclasses, datetimes, …; 1, 1.0, True and
    "1" are four keys. Values: in memory any object; in shared tiers what the codec knows, see register_type().
    What a factory returns is not kept if it is a model's answer (of the SDKs of OpenAI and Anthropic, of LangChain, or
    their JSON) that was cut off or filtered, failed, or asks for a tool: done again from memory, that acts again. Stats
    have `skipped_<reason>`. What is set() is kept whatever it is.
    Promise: a process reads what it wrote. Another process sees it after its tiers tell (disk: at once; Redis:
    invalidation messages, at the latest after memory_ttl). What was invalidated is not served, and neither is what was
    being computed at that moment. A tier that fails is a miss, never an error.
    Threads: any, and any event loop; after fork as well.
    """

    def __init__(
        self,
        local_max_size: int | None = 1000,
        max_bytes: int | str | None = "64MB",
        *,
        disk: Any = None,
        redis: Any = None,
        compression_threshold: int | None = 1024,
        ttl: float | None = None,
        stale_ttl: float = 0.0,
        stale_if_error: float = 0.0,
        negative_ttl: float = 0.0,
        jitter: float = 0.05,
        beta: float = 1.0,
        copy: str = "shallow",
        form: str = "object",
        namespace: str = "default",
        scope: Any = None,
        name: str | None = None,
        strict: bool = False,
        memory_ttl: float = 60.0,
        patience: float = 60.0,
        policy: str = "adaptive",
        pure_tools: bool | Collection[str] = False,
        clock: Clock | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise InvalidError(f"policy={policy!r}: use one of {', '.join(map(repr, POLICIES))}")
        if form not in FORMS:
            raise InvalidError(f"form={form!r}: use one of {', '.join(map(repr, FORMS))}")
        if not isinstance(namespace, str):
            raise InvalidError(f"namespace={namespace!r} is not a str")
        entries = MAX_ENTRIES if local_max_size is None else local_max_size
        if not isinstance(entries, int) or not 1 <= entries <= MAX_ENTRIES:
            raise InvalidError(f"local_max_size={local_max_size!r} is not a number of entries (1 to 2**30), or None")
        weight = 0 if max_bytes is None else parse_bytes(max_bytes, "max_bytes")
        lifetime = Lifetime(ttl, stale_ttl, stale_if_error, negative_ttl, jitter, beta)
        clock = clock or Clock()
        self.name = name or namespace
        counts = Counts(self.name)
        series = counts.number(Kind.COUNTER, "memory.hits"), counts.number(Kind.COUNTER, "memory.misses")
        self._closed = False
        self._owned: list[Tier] = []
        if form == "bytes":
            from .bytes_table import check_bytes

            check_bytes(max_bytes, weight, negative_ttl)
        tiers = self._open_tiers(disk, redis)
        values = _values(tiers, compression_threshold) if tiers or form == "bytes" else None
        memory: Memory
        if form == "object" or values is None:
            memory = Memory(entries, weight, clock, POLICIES[policy], series=series)
        else:
            from .bytes_table import BytesMemory

            memory = BytesMemory(
                entries,
                weight,
                clock,
                POLICIES[policy],
                series=series,
                refused=None if tiers else _unstorable(counts, strict),  # tiers refuse it as well
                values=values,
                lifetime=lifetime,
                namespace=namespace,
                scope=scope,
            )
        self._flow = Flow(
            namespace=namespace,
            scope=scope,
            memory=memory,
            counts=counts,
            tiers=tiers,
            values=values,
            lifetime=lifetime,
            copy=copy,
            strict=strict,
            memory_ttl=check_seconds(memory_ttl, "memory_ttl"),
            patience=check_seconds(patience, "patience"),
            pure_tools=pure_tools,
            clock=clock,
        )
        self._plain_get = self._flow.plain_getter()  # None: it takes more
        self._serve(*self._flow.plain_tables())
        weakref.finalize(self, _finish, self._flow.memory, self._owned)

    def _open_tiers(self, disk: Any, redis: Any) -> tuple[Tier, ...]:
        tiers: list[Tier] = []
        try:
            for what, given, module, kind in (
                ("disk", disk, "disk", "DiskTier"),
                ("redis", redis, "redis", "RedisTier"),
            ):
                if given is None or given is False:
                    continue
                if getattr(given, "name", None) == what and hasattr(given, "get_many"):
                    tiers.append(given)
                    continue
                from importlib import import_module

                tier = getattr(import_module(f"libperf.cache.{module}"), kind)(given)
                self._owned.append(tier)
                tiers.append(tier)
        except BaseException:
            _close_all(self._owned)
            raise
        return tuple(tiers)

    # ---- one key ----

    def _ask(self, key: object, scope: Any, tags: Iterable[str] = (), ttl: Any = None) -> Ask:
        if self._closed:
            raise ClosedError(f"the cache {self.name!r} is closed: make a new one")
        if ttl is DEFAULT:
            ttl = self._flow.lifetime.ttl
        elif ttl is not None:
            check_seconds(ttl, "ttl")
        return self._flow.ask(key, scope, tags, ttl)

    # get() and set() are Front's; what takes more than a step into memory comes here

    def _get(self, key: object, default: Any = None, *, scope: Any = None) -> Any:
        if scope is None and self._plain_get is not None and (type(key) is str or type(key) is int):
            found = self._plain_get(key)
            if found is not MISSING:
                return found
        found = walk.find(self._flow, self._ask(key, scope))
        return default if found is MISSING else found

    def _set(
        self,
        key: object,
        value: object,
        ttl: float | None = DEFAULT,
        *,
        tags: Iterable[str] = (),
        scope: Any = None,
    ) -> None:
        ask = self._ask(key, scope, tags, ttl)
        if ask.ttl == 0:
            self._flow.delete(ask)
        else:
            self._flow.set(ask, value)

    def _unlist(self, gone: list[Entry]) -> None:
        self._flow.memory.unlist(gone)

    def get_or_set(
        self,
        key: object,
        factory: Callable[[], T],
        ttl: float | None = DEFAULT,
        *,
        tags: Iterable[str] = (),
        scope: Any = None,
    ) -> T:
        """The value; if there is none, what the factory returns: called once, however many callers there are.

        What it raises is raised to all who wait, and not kept (but see stale_if_error and negative_ttl).
        """
        result: T = walk.obtain(self._flow, self._ask(key, scope, tags, ttl), factory)
        return result

    def delete(self, key: object, *, scope: Any = None) -> None:
        """In every tier. What is being computed for it is not kept."""
        self._flow.delete(self._ask(key, scope))

    def contains(self, key: object, *, scope: Any = None) -> bool:
        """Whether get() would find it; counts as a look."""
        return walk.find(self._flow, self._ask(key, scope)) is not MISSING

    __contains__ = contains

    # ---- many ----

    def get_many(self, keys: Iterable[object], *, scope: Any = None) -> dict[Any, Any]:
        """Those that there are, by key."""
        wanted = list(keys)
        found = walk.find_many(self._flow, [self._ask(key, scope) for key in wanted])
        return {key: value for key, value in zip(wanted, found, strict=True) if value is not MISSING}

    def set_many(
        self,
        values: Mapping[Any, object] | Iterable[tuple[object, object]],
        ttl: float | None = DEFAULT,
        *,
        tags: Iterable[str] = (),
        scope: Any = None,
    ) -> None:
        tags = tuple(tags) if not isinstance(tags, str) else tags
        for key, value in values.items() if isinstance(values, Mapping) else values:
            self.set(key, value, ttl, tags=tags, scope=scope)

    # ---- invalidating ----

    def _labels(self, tag: str | None, scope: Any) -> list[int]:
        if (tag is None) == (scope is None):
            raise InvalidError("invalidate() takes one of tag= and scope=; for everything there is clear()")
        if tag is not None and not isinstance(tag, str):
            raise InvalidError(f"tag={tag!r} is not a str")
        return [label_of_tag(tag) if tag is not None else label_of_scope(self._flow.namespace, scope)]

    def invalidate(self, *, tag: str | None = None, scope: Any = None) -> None:
        """Nothing with that tag, or of that scope, is served any more: in no tier, in no process; nor what is being
        computed now."""
        self._flow.invalidate(self._labels(tag, scope))

    def clear(self) -> None:
        """The whole namespace, in all tiers."""
        self._flow.clear()

    # ---- the same for tasks ----

    async def aget(self, key: object, default: Any = None, *, scope: Any = None) -> Any:
        from .async_walk import afind

        found = await afind(self._flow, self._ask(key, scope))
        return default if found is MISSING else found

    async def aset(
        self,
        key: object,
        value: object,
        ttl: float | None = DEFAULT,
        *,
        tags: Iterable[str] = (),
        scope: Any = None,
    ) -> None:
        ask = self._ask(key, scope, tags, ttl)
        if ask.ttl == 0:
            from .async_walk import adelete

            await adelete(self._flow, ask)
        else:
            self._flow.set(ask, value)  # tiers write behind

    async def aget_or_set(
        self,
        key: object,
        factory: Callable[[], Awaitable[T] | T],
        ttl: float | None = DEFAULT,
        *,
        tags: Iterable[str] = (),
        scope: Any = None,
    ) -> T:
        """As get_or_set(). The factory runs on the loop; what it returns is awaited if it can be."""
        from .async_walk import aobtain

        result: T = await aobtain(self._flow, self._ask(key, scope, tags, ttl), factory)
        return result

    async def adelete(self, key: object, *, scope: Any = None) -> None:
        from .async_walk import adelete

        await adelete(self._flow, self._ask(key, scope))

    async def acontains(self, key: object, *, scope: Any = None) -> bool:
        return await self.aget(key, MISSING, scope=scope) is not MISSING

    async def aget_many(self, keys: Iterable[object], *, scope: Any = None) -> dict[Any, Any]:
        from .async_walk import afind_many

        wanted = list(keys)
        found = await afind_many(self._flow, [self._ask(key, scope) for key in wanted])
        return {key: value for key, value in zip(wanted, found, strict=True) if value is not MISSING}

    async def aset_many(
        self,
        values: Mapping[Any, object] | Iterable[tuple[object, object]],
        ttl: float | None = DEFAULT,
        *,
        tags: Iterable[str] = (),
        scope: Any = None,
    ) -> None:
        tags = tuple(tags) if not isinstance(tags, str) else tags
        for key, value in values.items() if isinstance(values, Mapping) else values:
            await self.aset(key, value, ttl, tags=tags, scope=scope)

    async def ainvalidate(self, *, tag: str | None = None, scope: Any = None) -> None:
        from .async_walk import ainvalidate

        await ainvalidate(self._flow, self._labels(tag, scope))

    async def aclear(self) -> None:
        from .async_walk import aclear

        await aclear(self._flow)

    # ---- as a whole ----

    def __len__(self) -> int:
        """Entries in memory."""
        return len(self._flow.memory)

    def __bool__(self) -> bool:
        return True  # one with nothing in it is a cache as well

    def cache_info(self) -> CacheInfo:
        """As functools.lru_cache's; get_stats() has more."""
        stats = self.get_stats()
        memory = self._flow.memory
        maximum = None if memory.max_entries == MAX_ENTRIES else memory.max_entries
        return CacheInfo(int(stats["hits"]), int(stats["misses"]), maximum, len(memory))

    def get_stats(self) -> dict[str, Any]:
        """Since the cache was made: rates (0 to 1), counts, bytes, and percentiles of each shared tier in seconds."""
        return gather(self._flow)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the shared tiers have written what they were given."""
        self._flow.memory.table.stats()  # tells the segment of the last hits
        for tier in self._flow.tiers:
            tier.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        import asyncio

        await asyncio.to_thread(self.flush, timeout)

    def close(self) -> None:
        """Write what is left and let go of it. Tiers that were given to the cache stay open. Closing twice is allowed."""
        if not self._closed:
            self.flush(5.0)
            self._closed, self._plain_get = True, None
            self._serve(None, None)
            self._flow.memory.clear()
            _close_all(self._owned)

    async def aclose(self) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        tiers = ", ".join(["memory", *(tier.name for tier in self._flow.tiers)])
        return f"<TieredCache {self.name!r} ({tiers}), {len(self)} entries in memory>"


def _values(tiers: tuple[Tier, ...], threshold: int | None) -> Values:
    """How values become entries; dictionaries lie in every tier."""

    def find(id: int) -> bytes | None:
        if running_loop() is None:
            return next((found for tier in tiers if (found := tier.dictionary(id)) is not None), None)
        near = next((found for tier in tiers if tier.name == "disk" and (found := tier.dictionary(id))), None)
        if near is None:  # a loop does not wait for Redis: this one is a miss, and the next one is not
            background.submit(lambda: fetch(id))
        return near

    def fetch(id: int) -> None:
        for tier in tiers:
            dictionary = tier.dictionary(id)
            if dictionary is not None:
                values.compression.add(dictionary)
                return

    def keep(id: int, dictionary: bytes) -> None:
        for tier in tiers:
            tier.put_dictionary(id, dictionary)

    values = Values(threshold, find_dictionary=find, keep_dictionary=keep)
    return values


def _unstorable(counts: Counts, strict: bool) -> Callable[[BaseException], None]:
    def refused(error: BaseException) -> None:
        counts.add("unstorable")
        if strict:
            raise error

    return refused


def _finish(memory: Memory, tiers: list[Tier]) -> None:
    """At the end of the cache, or of the program."""
    memory.table.stats()  # tells the segment of the last hits
    _close_all(tiers)


def _close_all(tiers: list[Tier]) -> None:
    while tiers:
        tiers.pop().close()
