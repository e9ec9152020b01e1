"""The memory tier in its object form: the very objects, in a table with a policy, found by key, by label and by digest.

The table (libperf._memory in C, table.py in Python) is all that a hit sees. Labels and digests are kept beside it, for
the entries that have some. A child of fork() has its own copy of everything; if another thread was changing the tier at
that moment, the child's starts empty.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .. import _memory
from .._core import lib
from .._memory import Entry, Table
from . import table as python_table
from .clock import Clock
from .freshness import FOREVER

__all__ = ["Life", "Memory"]

MAX_ENTRIES = 1 << 30


class Life(NamedTuple):
    """What is known of a value beyond itself. An entry without has nothing but its end, check_ns."""

    fresh_ns: int = FOREVER
    stale_ns: int = FOREVER
    expires_ns: int = FOREVER
    compute_ns: int = 0
    created_ms: int = 0
    labels: tuple[int, ...] = ()
    digest: bytes | None = None  # under which the shared tiers know it
    recheck_ns: int = FOREVER  # from then on the shared tiers are asked again


UNBOUNDED = Life()


def _in_c() -> bool:
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is None or bool(enabled())


_all: "weakref.WeakSet[Memory]" = weakref.WeakSet()


def _after_fork() -> None:
    for memory in list(_all):
        memory._after_fork()


os.register_at_fork(after_in_child=_after_fork)


class Memory:
    """At most `max_entries` entries, of at most `max_weight` bytes together (0: no such bound). Threads: any."""

    encoded = False  # whether values are kept as bytes, and keys are found by their canonical form

    def __init__(
        self,
        max_entries: int,
        max_weight: int,
        clock: Clock,
        policy: int = lib.PERF_POLICY_ADAPTIVE,
        *,
        series: tuple[int, int] = (0, 0),
        in_c: bool | None = None,
        make_table: Callable[..., Any] | None = None,
    ) -> None:
        self.max_entries = max_entries
        self.max_weight = max_weight
        kind: Any = _memory if (_in_c() if in_c is None else in_c) else python_table
        self.entry: type[Entry] = kind.Entry
        self.table: Table = (make_table or kind.Table)(
            max_entries,
            max_weight,
            policy,
            int.from_bytes(os.urandom(8), "little"),
            None if type(clock) is Clock else clock.monotonic_ns,
            *series,
        )
        self._lock = threading.RLock()  # of the two below
        self._by_label: dict[int, set[Any]] = {}
        self._by_digest: dict[bytes, Any] = {}
        _all.add(self)

    def _after_fork(self) -> None:
        free = self._lock.acquire(blocking=False)
        table_lock = getattr(self.table, "_lock", None)
        if free:
            self._lock.release()
        if table_lock is not None or not free:
            self._lock = threading.RLock()
            if table_lock is not None:
                self.table._lock = threading.RLock()  # type: ignore[attr-defined]
            if not free or getattr(self.table, "_changing", False):
                self.table.clear()
                self._by_label.clear()
                self._by_digest.clear()

    def __len__(self) -> int:
        return len(self.table)

    def put(self, entry: Entry, weight: int = 1, cost: float = 0.0) -> None:
        """Take an entry in, in place of one with its key, and let go of what does not fit any more."""
        life = entry.life
        expires_ns = life.expires_ns if life is not None else entry.check_ns
        if not entry.listed:
            gone = self.table.put(entry, weight, cost, expires_ns)
            if gone:
                self.unlist(gone)
            return
        with self._lock:
            gone = self.table.put(entry, weight, cost, expires_ns)
            if gone:
                self.unlist(gone)
            if self.table.find(entry.key) is entry:
                self._list(entry)

    def set(self, key: Any, value: Any, ttl_ns: int, jitter: float, weight: int) -> None:
        """An entry that has nothing but an end."""
        self.unlist(self.table.set(key, value, ttl_ns, jitter, weight) or ())

    def remove(self, key: Any) -> bool:
        entry = self.table.remove(key)
        if entry is not None and entry.listed:
            self.unlist([entry])
        return entry is not None

    def remove_labels(self, labels: Iterable[int]) -> int:
        """How many entries had one of them."""
        with self._lock:
            keys = {key for label in labels for key in self._by_label.get(label, ())}
            return sum([self.remove(key) for key in keys])

    def remove_digests(self, digests: Iterable[bytes]) -> None:
        with self._lock:
            for digest in digests:
                if (key := self._by_digest.get(digest)) is not None:
                    self.remove(key)

    def clear(self) -> None:
        with self._lock:
            self.unlist(self.table.clear() or ())

    def expire(self) -> None:
        """Let go of what has expired by now; changes do as well, in passing."""
        self.unlist(self.table.expire() or ())

    # ---- by label and by digest ----

    def _list(self, entry: Entry) -> None:
        for label in entry.life.labels:
            self._by_label.setdefault(label, set()).add(entry.key)
        if entry.life.digest is not None:
            self._by_digest[entry.life.digest] = entry.key

    def unlist(self, gone: Iterable[Entry]) -> None:
        with self._lock:
            for entry in gone:
                there = self.table.find(entry.key)
                if there is not None and there.listed:
                    self._unlist_old(entry, there)
                    continue
                for label in entry.life.labels:
                    self._discard(label, entry.key)
                if entry.life.digest is not None:
                    self._by_digest.pop(entry.life.digest, None)

    def _unlist_old(self, entry: Entry, there: Entry) -> None:
        """Its key has another entry by now, with labels of its own and the same digest."""
        for label in set(entry.life.labels).difference(there.life.labels):
            self._discard(label, entry.key)

    def _discard(self, label: int, key: Any) -> None:
        keys = self._by_label.get(label)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self._by_label[label]

    # ---- how it is going ----

    @property
    def hits(self) -> int:
        return self.table.hits

    @property
    def misses(self) -> int:
        return self.table.misses

    def stats(self) -> dict[str, float]:
        entries, weight, evictions, rejections, expirations, _, window = self.table.stats()
        return {
            "entries": entries,
            "bytes": weight if self.max_weight else 0,
            "evictions": evictions,
            "expirations": expirations,
            "rejections": rejections,
            "window": window,
        }
