"""The memory tier in its object form: a dict of the very objects, and a policy in C that says which of them stay.

A hit is a look into the dict and a number appended to a list; the policy hears of hits in batches. Whatever changes the
tier takes its lock. Reading needs none: an entry is never changed once it is in the dict, it is replaced.

Two things make a cache deadlock in Python: a value's __del__ that comes back to the cache while its lock is held, and
fork() while another thread holds it. So what falls out is let go of after the lock, who comes back anyway is told to wait
(his change is made when the outer one is done), and a child whose parent was in the middle of a change starts empty.
"""

import os
import threading
import weakref
from array import array
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .._core import ffi, lib
from ..errors import check
from .clock import Clock
from .freshness import FOREVER

__all__ = ["Entry", "Life", "Memory"]

BATCH = 64  # hits that the policy hears of at once
EXPIRE_AT_ONCE = 1000
MAX_ENTRIES = 1 << 30
UINT32_MAX = 2**32 - 1


class Life(NamedTuple):
    """What is known of a value beyond itself."""

    fresh_ns: int = FOREVER
    stale_ns: int = FOREVER
    expires_ns: int = FOREVER
    compute_ns: int = 0
    created_ms: int = 0
    labels: tuple[int, ...] = ()
    digest: bytes | None = None  # under which the shared tiers know it
    recheck_ns: int = FOREVER  # from then on the shared tiers are asked again


UNBOUNDED = Life()


class Entry:
    """A value in memory. check_ns: from then on look closer at `life`; None: never; 0: always."""

    __slots__ = ("check_ns", "key", "life", "slot", "value")

    def __init__(self, key: Any, value: Any, check_ns: int | None, life: Life) -> None:
        self.key = key
        self.value = value
        self.check_ns = check_ns
        self.life = life
        self.slot = -1


_all: "weakref.WeakSet[Memory]" = weakref.WeakSet()


def _after_fork() -> None:
    for memory in list(_all):
        memory._after_fork()


os.register_at_fork(after_in_child=_after_fork)


class Memory:
    """At most `max_entries` entries, of at most `max_weight` bytes together (0: no such bound).

    Threads: any, also without a GIL.
    """

    def __init__(self, max_entries: int, max_weight: int, clock: Clock, policy: int = lib.PERF_POLICY_ADAPTIVE) -> None:
        self.data: dict[Any, Entry] = {}  # for hot paths: read only
        self.touched: list[int] = []  # slots of hits; more than BATCH: drain()
        self.max_entries = max_entries
        self.max_weight = max_weight
        self.on_hits: Callable[[int], object] = lambda count: None
        self.clock = clock
        self._kind = policy
        self._lock = threading.RLock()
        self._drained = 0  # hits that the policy knows of
        self._new = ffi.new("perf_policy_entry *")
        self._stats = ffi.new("perf_policy_stats *")
        self._start_empty()
        _all.add(self)

    def _start_empty(self) -> None:
        config = ffi.new("perf_policy_config *")
        config.kind = self._kind
        config.max_entries = self.max_entries
        config.max_weight = self.max_weight
        config.seed = int.from_bytes(os.urandom(8), "little")
        out = ffi.new("perf_policy **")
        check(lib.perf_policy_create(config, out), f"a memory tier of {self.max_entries} entries")
        self._policy = ffi.gc(out[0], lib.perf_policy_destroy)
        self._slots: list[Entry | None] = []
        self._by_label: dict[int, set[Any]] = {}
        self._by_digest: dict[bytes, Any] = {}
        self._expiring = False
        self._changing = False
        self._later: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.data.clear()
        self.touched.clear()

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        if self._changing:
            self._start_empty()

    def __len__(self) -> int:
        return len(self.data)

    # ---- hits ----

    def touch(self, entry: Entry) -> None:
        """A hit, for paths that are not hot."""
        self.touched.append(entry.slot)
        if len(self.touched) > BATCH:
            self.drain()

    def drain(self) -> None:
        """Tell the policy of the hits so far, unless somebody else is at it: a hit does not wait."""
        if self._lock.acquire(blocking=False):
            try:
                if not self._changing:
                    self._drain()
            finally:
                self._lock.release()

    def _drain(self) -> None:
        slots = self.touched[:]
        count = len(slots)
        del self.touched[:count]
        lib.perf_policy_touch_many(self._policy, ffi.from_buffer("int32_t[]", array("i", slots)), count)
        self._drained += count
        self.on_hits(count)

    @property
    def hits(self) -> int:
        with self._lock:
            return self._drained + len(self.touched)

    # ---- changes ----

    def put(self, entry: Entry, weight: int = 1, cost: float = 0.0) -> None:
        """Take an entry in, in place of one with its key. The policy may think that others deserve the place more."""
        self._change(self._put, entry, weight, cost)

    def remove(self, key: Any) -> bool:
        return bool(self._change(self._remove, key))

    def remove_labels(self, labels: Iterable[int]) -> int:
        """How many entries had one of them."""
        return self._change(self._remove_labels, labels) or 0

    def remove_digests(self, digests: Iterable[bytes]) -> None:
        self._change(self._remove_digests, digests)

    def clear(self) -> None:
        self._change(self._clear)

    def expire(self) -> None:
        """Let go of what has expired by now; put() does as well, in passing."""
        self._change(self._expire)

    def _change(self, change: Callable[..., Any], *args: Any) -> Any:
        gone: list[Entry] = []  # let go of after the lock: what __del__ methods do is their business
        with self._lock:
            if self._changing:  # this very thread is, further up: the garbage collector called it
                self._later.append((change, args))
                return None
            self._changing = True
            try:
                result = change(gone, *args)
                while self._later:
                    later, its = self._later.pop(0)
                    later(gone, *its)
                return result
            finally:
                self._changing = False

    def _put(self, gone: list[Entry], entry: Entry, weight: int, cost: float) -> None:
        if self.touched:
            self._drain()
        life, new, policy = entry.life, self._new, self._policy
        now_ns = 0
        new.expires_ns = 0
        if life.expires_ns < FOREVER:
            self._expiring = True
            new.expires_ns = max(1, life.expires_ns)
        if self._expiring:
            now_ns = self.clock.monotonic_ns()
            self._expire(gone)
        new.hash = hash((entry.key,)) & 0xFFFFFFFFFFFFFFFF  # an int's own hash is the int
        new.weight = min(weight, UINT32_MAX)
        new.cost = cost
        old = self.data.get(entry.key)
        if old is not None and not lib.perf_policy_replace_at(policy, old.slot, new, now_ns):
            slot = old.slot
            gone.append(old)
            self._unlist(old)
        else:
            if old is not None:
                self._drop(old, gone)
            slot = lib.perf_policy_insert_at(policy, new, now_ns)
            if slot < 0:
                return
        entry.slot = slot
        if slot >= len(self._slots):
            self._slots.extend([None] * (slot + 1 - len(self._slots)))
        self._slots[slot] = entry
        self.data[entry.key] = entry
        if life.labels or life.digest:
            self._list(entry)
        if self.max_weight or len(self.data) > self.max_entries:
            self._evict(gone)

    def _evict(self, gone: list[Entry]) -> None:
        while (slot := lib.perf_policy_victim(self._policy)) >= 0:
            self._freed(slot, gone)

    def _expire(self, gone: list[Entry]) -> None:
        now_ns = self.clock.monotonic_ns()
        for _ in range(EXPIRE_AT_ONCE):
            slot = lib.perf_policy_expired_at(self._policy, now_ns)
            if slot < 0:
                return
            self._freed(slot, gone)

    def _freed(self, slot: int, gone: list[Entry]) -> None:
        """The policy has given up that slot."""
        entry, self._slots[slot] = self._slots[slot], None
        if entry is not None:
            del self.data[entry.key]
            self._unlist(entry)
            gone.append(entry)

    def _drop(self, entry: Entry, gone: list[Entry]) -> None:
        lib.perf_policy_remove(self._policy, entry.slot)
        self._freed(entry.slot, gone)

    def _remove(self, gone: list[Entry], key: Any) -> bool:
        entry = self.data.get(key)
        if entry is None:
            return False
        self._drop(entry, gone)
        return True

    def _remove_labels(self, gone: list[Entry], labels: Iterable[int]) -> int:
        before = len(gone)
        for label in labels:
            for key in list(self._by_label.get(label, ())):
                self._remove(gone, key)
        return len(gone) - before

    def _remove_digests(self, gone: list[Entry], digests: Iterable[bytes]) -> None:
        for digest in digests:
            if (key := self._by_digest.get(digest)) is not None:
                self._remove(gone, key)

    def _clear(self, gone: list[Entry]) -> None:
        for entry in list(self.data.values()):
            self._drop(entry, gone)

    # ---- by label and by digest ----

    def _list(self, entry: Entry) -> None:
        for label in entry.life.labels:
            self._by_label.setdefault(label, set()).add(entry.key)
        if entry.life.digest is not None:
            self._by_digest[entry.life.digest] = entry.key

    def _unlist(self, entry: Entry) -> None:
        for label in entry.life.labels:
            keys = self._by_label.get(label)
            if keys is not None:
                keys.discard(entry.key)
                if not keys:
                    del self._by_label[label]
        if entry.life.digest is not None:
            self._by_digest.pop(entry.life.digest, None)

    # ---- how it is going ----

    def stats(self) -> dict[str, float]:
        with self._lock:
            lib.perf_policy_stats_now(self._policy, self._stats)
            found = self._stats
            return {
                "entries": len(self.data),
                "bytes": int(found.weight) if self.max_weight else 0,
                "evictions": int(found.evictions),
                "expirations": int(found.expirations),
                "rejections": int(found.rejections),
                "window": float(found.window),
            }
