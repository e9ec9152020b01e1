"""The memory tier's table in Python: a dict of entries, and a policy in C that says which of them stay.

libperf._memory is the same in C, an order of magnitude faster on changes; it relies on the GIL, so an interpreter without
one gets this. A hit is a look into the dict and a number appended to a list; the policy hears of hits in batches (in C,
of one entry only once in a batch, but for LRU). Reading takes no lock: an entry is never changed once it is in the dict,
it is replaced.

A cache deadlocks in Python when a value's __del__ comes back to it while its lock is held. So what falls out is let go of
after the lock, and who comes back anyway is told to wait: his change is made when the outer one is done.
"""

import random
import threading
import time
from array import array
from collections.abc import Callable
from typing import Any

from .._core import ffi, lib
from .._memory import MISSING
from ..errors import check
from .freshness import FOREVER, jittered

__all__ = ["Entry", "Table"]

BATCH = 64  # hits that the policy hears of at once
EXPIRE_AT_ONCE = 1000
UINT32_MAX = 2**32 - 1


class Entry:
    """A value in memory. check_ns: from then on look closer, at `life`; FOREVER: never; 0: always. listed: whoever put it
    there wants to hear when it falls out."""

    __slots__ = ("check_ns", "key", "life", "listed", "slot", "value")

    def __init__(self, key: Any, value: Any, check_ns: int, life: Any = None, listed: bool = False, /) -> None:
        self.key = key
        self.value = value
        self.check_ns = check_ns
        self.life = life
        self.listed = listed
        self.slot = -1


class Table:
    """At most `max_entries` entries, of at most `max_weight` together (0: no such bound). Threads: any.

    kind, seed: of the policy; clock: nanoseconds, None: the monotonic clock
    series: number of the counter that hits are added to, in batches; misses_series: the one of misses, one by one
    """

    def __init__(
        self,
        max_entries: int,
        max_weight: int,
        kind: int,
        seed: int,
        clock: Callable[[], int] | None,
        series: int,
        misses_series: int,
        /,
    ) -> None:
        self.max_entries, self.max_weight = max_entries, max_weight
        self._series, self._misses_series = series, misses_series
        self.misses = 0
        self._clock = clock or time.monotonic_ns
        self._random = random.Random(seed).random
        config = ffi.new("perf_policy_config *")
        config.kind, config.seed = kind, seed
        config.max_entries, config.max_weight = max_entries, max_weight
        out = ffi.new("perf_policy **")
        check(lib.perf_policy_create(config, out), f"a memory tier of {max_entries} entries")
        self._policy = ffi.gc(out[0], lib.perf_policy_destroy)
        self._new = ffi.new("perf_policy_entry *")
        self._data: dict[Any, Entry] = {}
        self._slots: list[Entry | None] = []
        self._touched: list[int] = []
        self._told = 0  # hits that the policy knows of
        self._expiring = False
        self._lock = threading.RLock()
        self._changing = False
        self._later: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def __len__(self) -> int:
        return len(self._data)

    # ---- looking ----

    def get(self, key: Any, /) -> Any:
        """A value that needs no closer look, which is a hit; else MISSING."""
        entry = self._data.get(key)
        if entry is None or (entry.check_ns != FOREVER and self._clock() >= entry.check_ns):
            return MISSING
        self.touch(entry)
        return entry.value

    def find(self, key: Any, /) -> Entry | None:
        """The entry, whatever its state; no hit."""
        return self._data.get(key)

    def touch(self, entry: Entry, /) -> None:
        """A hit."""
        self._touched.append(entry.slot)
        if len(self._touched) >= BATCH and self._lock.acquire(blocking=False):  # a hit does not wait
            try:
                if not self._changing:
                    self._tell()
            finally:
                self._lock.release()

    def miss(self) -> None:
        """A look in vain: counted."""
        with self._lock:
            self.misses += 1
        lib.perf_metric_add(self._misses_series, 1)

    def _tell(self) -> None:
        slots = self._touched[:]
        del self._touched[: len(slots)]
        lib.perf_policy_touch_many(self._policy, ffi.from_buffer("int32_t[]", array("i", slots)), len(slots))
        self._told += len(slots)
        lib.perf_metric_add(self._series, len(slots))

    @property
    def hits(self) -> int:
        with self._lock:
            return self._told + len(self._touched)

    # ---- changes: each gives the listed entries that fell out ----

    def put(self, entry: Entry, weight: int, cost: float, expires_ns: int, /) -> list[Entry] | None:
        """Take an entry in, in place of one with its key. The policy may think that others deserve the place more."""
        return self._change(self._put, entry, weight, cost, expires_ns)

    def set(self, key: Any, value: Any, ttl_ns: int, jitter: float, weight: int, /) -> list[Entry] | None:
        """The same without a life of its own: gone when its time is over."""
        expires_ns = FOREVER
        if ttl_ns != FOREVER:
            expires_ns = min(FOREVER, self._clock() + int(jittered(ttl_ns, jitter, self._random())))
        return self._change(self._put, Entry(key, value, expires_ns), weight, 0.0, expires_ns)

    def remove(self, key: Any, /) -> Entry | None:
        """What was there."""
        entry = self._data.get(key)
        self._change(self._remove, key)
        return entry

    def expire(self) -> list[Entry] | None:
        """Let go of what has expired by now; put() and set() do as well, in passing."""
        return self._change(self._expire)

    def clear(self) -> list[Entry] | None:
        return self._change(self._clear)

    def keys(self) -> list[Any]:
        return list(self._data)

    def stats(self) -> tuple[int, int, int, int, int, int, float]:
        """Entries, their weight, evictions, rejections, expirations, bytes of the policy, its window."""
        with self._lock:
            self._tell()
            found = ffi.new("perf_policy_stats *")
            lib.perf_policy_stats_now(self._policy, found)
            return (
                int(found.entries),
                int(found.weight),
                int(found.evictions),
                int(found.rejections),
                int(found.expirations),
                int(found.bytes),
                float(found.window),
            )

    def _change(self, change: Callable[..., Any], *args: Any) -> list[Entry] | None:
        gone: list[Entry] = []
        with self._lock:
            if self._changing:  # this very thread is, further up: the garbage collector called it
                self._later.append((change, args))
                return None
            self._changing = True
            try:
                change(gone, *args)
                while self._later:
                    later, its = self._later.pop(0)
                    later(gone, *its)
            finally:
                self._changing = False
        return [entry for entry in gone if entry.listed] or None

    def _put(self, gone: list[Entry], entry: Entry, weight: int, cost: float, expires_ns: int) -> None:
        new, policy, now_ns = self._new, self._policy, 0
        if self._touched:
            self._tell()
        self._expiring = self._expiring or expires_ns != FOREVER
        if self._expiring:
            now_ns = self._clock()
            self._expire(gone)
        new.hash = hash((entry.key,)) & 0xFFFFFFFFFFFFFFFF  # an int's own hash is the int
        new.expires_ns = 0 if expires_ns == FOREVER else max(1, expires_ns)
        new.weight = min(weight, UINT32_MAX)
        new.cost = cost
        old = self._data.get(entry.key)
        if old is not None and not lib.perf_policy_replace_at(policy, old.slot, new, now_ns):
            slot = old.slot
            gone.append(old)
        else:
            if old is not None:
                self._remove(gone, entry.key)
            slot = lib.perf_policy_insert_at(policy, new, now_ns)
            if slot < 0:  # too heavy
                gone.append(entry)
                return
        entry.slot = slot
        if slot >= len(self._slots):
            self._slots.extend([None] * (slot + 1 - len(self._slots)))
        self._slots[slot] = entry
        self._data[entry.key] = entry
        if self.max_weight or len(self._data) > self.max_entries:
            while (slot := lib.perf_policy_victim(policy)) >= 0:
                self._freed(gone, slot)

    def _expire(self, gone: list[Entry]) -> None:
        now_ns = self._clock()
        for _ in range(EXPIRE_AT_ONCE):
            slot = lib.perf_policy_expired_at(self._policy, now_ns)
            if slot < 0:
                return
            self._freed(gone, slot)

    def _freed(self, gone: list[Entry], slot: int) -> None:
        """The policy has given up that slot."""
        entry, self._slots[slot] = self._slots[slot], None
        if entry is not None:
            del self._data[entry.key]
            gone.append(entry)

    def _remove(self, gone: list[Entry], key: Any) -> None:
        entry = self._data.get(key)
        if entry is not None:
            lib.perf_policy_remove(self._policy, entry.slot)
            self._freed(gone, entry.slot)

    def _clear(self, gone: list[Entry]) -> None:
        for key in list(self._data):
            self._remove(gone, key)
