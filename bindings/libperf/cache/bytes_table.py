"""The memory tier in its bytes form: values encoded, in C's cache (cache.h), which knows to the byte what it holds.

An entry there is what a shared tier gets of it (entry.h), under the digest of its key: encoded and compressed alike. Nobody
but this process reads it, so its times are those of this process: fresh_ms is fresh_ns, and expires_ms is recheck_ns. What
C looks at itself lies beside it: fresh_ns is check_ns, expires_ns, and as mark a bit or two for each label.

A value is decoded anew for each hit, so nobody needs a copy, and what a caller does to it reaches nobody. What has no form
as bytes is not kept. An index by label would have no bound: who invalidates one walks over all marks.
"""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import reduce
from typing import Any

from .. import _memory
from .._codec import entry_unpack
from .._core import ffi, lib
from .._memory import MISSING, Entry
from ..errors import InvalidError, check
from .clock import Clock
from .freshness import FOREVER, Lifetime, early_from, jittered, later
from .keys import Key, label_of_namespace, make_key
from .memory import MAX_ENTRIES, Life, Memory
from .values import Values

__all__ = ["UNENCODABLE", "BytesMemory", "BytesTable"]

NEVER = 2**64 - 1
MOST_BYTES = 1 << 46
KEY_BYTES = 16
ROOM, ROOM_MOST = 1024, 1 << 16  # bytes for a value of which nobody knows how large it is
UNENCODABLE = (TypeError, ValueError, RecursionError)  # no form as bytes

_new = ffi.new_allocator(should_clear_after_alloc=False)


def _mark_of(label: int) -> int:
    return 1 << (label & 63) | 1 << (label >> 6 & 63)


def _marks_of(labels: Iterable[int]) -> int:
    return reduce(lambda mark, label: mark | _mark_of(label), labels, 0)


class BytesTable:
    """As table.Table, of values that are encoded. Keys are what places.py makes of them.

    max_bytes:  of everything that C holds
    clock:      nanoseconds, None: the monotonic clock
    Threads: any. After fork() a child has its own.
    """

    def __init__(
        self,
        max_entries: int,
        max_bytes: int,
        kind: int,
        seed: int,
        clock: Callable[[], int] | None,
        series: int = 0,
        misses_series: int = 0,
        /,
        *,
        values: Values,
        lifetime: Lifetime,
        namespace: str,
        scope: Any,
    ) -> None:
        self._values, self._lifetime = values, lifetime
        self._namespace, self._scope = namespace, scope
        self._label = label_of_namespace(namespace)
        self._clock = clock or time.monotonic_ns
        self._random = random.Random(seed).random
        self._series, self._misses_series = series, misses_series
        self._room = ROOM
        self._lock = threading.Lock()  # of the two below
        self.hits = self.misses = 0
        config = ffi.new("perf_cache_config *")
        config.policy, config.seed = kind, seed
        config.max_entries = 0 if max_entries == MAX_ENTRIES else max_entries
        config.max_bytes = max_bytes
        out = ffi.new("perf_cache **")
        check(lib.perf_cache_create(config, out), f"a memory tier of {max_bytes} bytes")
        self._cache = ffi.gc(out[0], lib.perf_cache_destroy)

    def __len__(self) -> int:
        return int(self._stats().entries)

    def _key(self, place: Any) -> Key:
        """Bytes as a place are a whole key in its canonical form."""
        if type(place) is bytes:
            digest = ffi.new("uint8_t[16]")
            lib.perf_digest(place, len(place), digest)
            return Key(place, bytes(digest))
        return make_key(self._namespace, self._scope, place)

    # ---- looking ----

    def _read(self, digest: bytes, now_ns: int) -> tuple[Any, Any] | None:
        """A copy of an entry, and perf_cache_hit. The copy is this call's: a decoder may come back."""
        hit, capacity = ffi.new("perf_cache_hit *"), self._room
        while True:
            room = _new("char[]", capacity)
            size = lib.perf_cache_get_at(self._cache, digest, KEY_BYTES, room, capacity, hit, now_ns)
            if size < 0:
                return None
            if size <= capacity:
                return ffi.buffer(room, size), hit
            capacity = size
            self._room = max(self._room, min(size, ROOM_MOST))

    def get(self, key: Any, /) -> Any:
        """A value that needs no closer look, which is a hit; else MISSING."""
        now_ns = self._clock()
        full, digest = self._key(key)
        read = self._read(digest, now_ns)
        if read is None or now_ns >= read[1].fresh_ns:
            return MISSING
        found = self._values.unpack(read[0], full)
        if found is None:
            return MISSING
        self._hit()
        return found.value

    def find(self, key: Any, /) -> Entry | None:
        """The entry, until it has expired; no hit."""
        full, digest = self._key(key)
        read = self._read(digest, self._clock())
        if read is None:
            return None
        found, hit = self._values.unpack(read[0], full), read[1]
        if found is None:
            return None
        fresh_ns, recheck_ns, expires_ns = found.fresh_ms, found.expires_ms, min(hit.expires_ns, FOREVER)
        stale_ns = FOREVER if fresh_ns >= FOREVER else min(later(fresh_ns, self._lifetime.stale_ttl), expires_ns)
        labels = found.labels[1:]
        life = Life(
            fresh_ns, stale_ns, expires_ns, found.compute_us * 1000, found.created_ms, labels, digest, recheck_ns
        )
        return _memory.Entry(key, found.value, min(hit.fresh_ns, FOREVER), life)

    def touch(self, entry: Entry, /) -> None:
        """A hit; the policy knows since it was found."""
        self._hit()

    def _hit(self) -> None:
        with self._lock:
            self.hits += 1
        lib.perf_metric_add(self._series, 1)

    def miss(self) -> None:
        """A look in vain: counted."""
        with self._lock:
            self.misses += 1
        lib.perf_metric_add(self._misses_series, 1)

    # ---- changes ----

    def put(self, entry: Entry, weight: int, cost: float, expires_ns: int, /) -> None:
        """Take an entry in, in place of one with its key; it weighs what it is. Raises one of UNENCODABLE, and then the
        key has no value; also if the entry is larger than the cache may be, without an error."""
        key = self._key(entry.key)
        life = entry.life or Life(expires_ns, expires_ns, expires_ns)
        check_ns = entry.check_ns
        if not check_ns:  # of one that would have to be copied
            check_ns = min(early_from(life.fresh_ns, life.compute_ns, self._lifetime.beta), life.recheck_ns)
        try:
            packed = self._values.pack(
                entry.value,
                key,
                labels=(self._label, *life.labels),
                created_ms=life.created_ms,
                fresh_ms=life.fresh_ns,
                expires_ms=life.recheck_ns,
                compute_us=min(-(-life.compute_ns // 1000), 2**32 - 1),
            )
        except UNENCODABLE:
            lib.perf_cache_delete(self._cache, key.digest, KEY_BYTES)
            raise
        about = ffi.new("perf_cache_about *")
        about.fresh_ns = 0 if check_ns >= FOREVER else max(1, check_ns)
        about.expires_ns = NEVER if expires_ns >= FOREVER else max(1, expires_ns)
        about.mark = _marks_of(life.labels)
        about.cost = cost
        lib.perf_cache_set_at(self._cache, key.digest, KEY_BYTES, packed, len(packed), about, self._clock())

    def set(self, key: Any, value: Any, ttl_ns: int, jitter: float, weight: int, /) -> None:
        """The same without a life of its own: gone when its time is over."""
        expires_ns = FOREVER
        if ttl_ns != FOREVER:
            expires_ns = min(FOREVER, self._clock() + int(jittered(ttl_ns, jitter, self._random())))
        self.put(_memory.Entry(key, value, expires_ns), weight, 0.0, expires_ns)

    def remove(self, key: Any, /) -> bool:
        """Whether there was something."""
        return self.remove_digest(self._key(key).digest)

    def remove_digest(self, digest: bytes) -> bool:
        return bool(lib.perf_cache_delete(self._cache, digest, KEY_BYTES))

    def remove_labels(self, labels: Collection[int]) -> int:
        """How many entries had one of them."""
        marks, wanted, removed = [_mark_of(label) for label in labels], set(labels), 0
        for digest, mark in self._walk():
            if not mark or all(mark & each != each for each in marks):
                continue
            read = self._read(digest, self._clock())
            parts = None if read is None else entry_unpack(read[0])
            if parts is not None and not wanted.isdisjoint(parts[4]):
                removed += self.remove_digest(digest)
        return removed

    def _walk(self) -> Iterator[tuple[bytes, int]]:
        """Digests and marks of all that was there when it began and is there still."""
        cursor, hit = ffi.new("uint64_t *"), ffi.new("perf_cache_hit *")
        digest, now_ns = ffi.new("char[]", KEY_BYTES), self._clock()
        while lib.perf_cache_next_at(self._cache, cursor, digest, KEY_BYTES, hit, now_ns) >= 0:
            yield ffi.buffer(digest)[:], hit.mark

    def expire(self) -> None:
        """Let go of what has expired by now; put() does as well, in passing."""
        lib.perf_cache_expire_at(self._cache, MAX_ENTRIES, self._clock())

    def clear(self) -> None:
        """Its memory goes back to the system."""
        lib.perf_cache_clear_blocking(self._cache)
        lib.perf_cache_trim_blocking(self._cache)

    def keys(self) -> list[bytes]:
        """Their digests: keys themselves cannot be had back."""
        return [digest for digest, _ in self._walk()]

    def _stats(self) -> Any:
        found = ffi.new("perf_cache_stats *")
        lib.perf_cache_stats_now(self._cache, found)
        return found

    def stats(self) -> tuple[int, int, int, int, int, int, float]:
        """Entries, bytes of everything, evictions, rejections (what was too large among them), expirations, bytes
        beside keys and values, the policy's window."""
        now = self._stats()
        return (
            int(now.entries),
            int(now.bytes),
            int(now.evictions),
            int(now.rejections + now.refusals),
            int(now.expirations),
            int(now.bytes - now.content_bytes),
            float(now.window),
        )


class BytesMemory(Memory):
    """As Memory, of encoded values; what has no form as bytes is not kept.

    refused:  told of each such value; what it raises is raised to who put it; None: somebody else sees to that
    """

    encoded = True
    table: BytesTable  # type: ignore[assignment]

    def __init__(
        self,
        max_entries: int,
        max_bytes: int,
        clock: Clock,
        policy: int = lib.PERF_POLICY_ADAPTIVE,
        *,
        series: tuple[int, int] = (0, 0),
        refused: Callable[[BaseException], None] | None = None,
        values: Values,
        lifetime: Lifetime,
        namespace: str,
        scope: Any,
    ) -> None:
        self._refused = refused
        about = {"values": values, "lifetime": lifetime, "namespace": namespace, "scope": scope}

        def make(*args: Any) -> BytesTable:
            return BytesTable(*args, **about)

        super().__init__(max_entries, max_bytes or MOST_BYTES, clock, policy, series=series, make_table=make)

    def _after_fork(self) -> None:
        self.table._lock = threading.Lock()

    def put(self, entry: Entry, weight: int = 1, cost: float = 0.0) -> None:
        expires_ns = entry.life.expires_ns if entry.life is not None else entry.check_ns
        try:
            self.table.put(entry, weight, cost, expires_ns)
        except UNENCODABLE as error:
            if self._refused is not None:
                self._refused(error)

    def set(self, key: Any, value: Any, ttl_ns: int, jitter: float, weight: int) -> None:
        self.table.set(key, value, ttl_ns, jitter, weight)

    def remove(self, key: Any) -> bool:
        return self.table.remove(key)

    def remove_labels(self, labels: Iterable[int]) -> int:
        return self.table.remove_labels(tuple(labels))

    def remove_digests(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self.table.remove_digest(digest)

    def clear(self) -> None:
        self.table.clear()

    def expire(self) -> None:
        self.table.expire()

    def unlist(self, gone: Iterable[Entry]) -> None:
        pass  # nothing is listed


def check_bytes(max_bytes: object, parsed: int, negative_ttl: float) -> None:
    """What a cache of this form cannot be."""
    if parsed and not lib.PERF_CACHE_BYTES_MIN <= parsed <= MOST_BYTES:
        raise InvalidError(f'max_bytes={max_bytes!r}: with form="bytes" it is "64KiB" to 2**46, or None')
    if negative_ttl:
        raise InvalidError(f'negative_ttl={negative_ttl!r}: with form="bytes" 0, for exceptions have no form as bytes')
