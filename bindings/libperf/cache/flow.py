"""How a key is found: memory, then disk, then Redis, then one flight computes it.

This is what threads and tasks share: where a key lies, what an entry is worth now, what moves between the tiers. The
walk itself is in walk.py for threads and in async_walk.py for tasks, step by step the same.
"""

import threading
import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Any

from .. import _memory
from .._codec import weigh
from .._memory import MISSING, Entry
from ..errors import InvalidError
from . import background, waits
from .clock import Clock
from .copying import copied_types, copier
from .flights import Flight, Flights
from .freshness import EARLY, FOREVER, FRESH, GONE, SPARE, STALE, Lifetime, early_from, is_early, later, state_at, to_ns
from .kept import Unkept, refused, refused_stream
from .keys import Key, label_of_namespace, label_of_scope, label_of_tag
from .memory import UNBOUNDED, Life, Memory
from .places import Ask, place_of
from .stats import Counts
from .tier import Tier

__all__ = ["MISSING", "Ask", "Failure", "Flow"]

STORED = 256  # counts of stores: two keys may share one, then a copy in memory is not made, once
FOREVER_MS = 2**64 - 1
# Beside a computing that takes less, asking other processes first would cost more than computing twice.
LEASE_FROM_NS = 5_000_000
# By how much the clocks of machines may differ. What was begun later than that from now is of a time that the clock was
# put back from, and how old it is nobody knows.
SKEW_MS = 10_000
ENTRY_BYTES = 240  # of an entry in memory, beside key and value


class Failure:
    """An exception as a cached value (negative_ttl)."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def _plain_ttl_ns(lifetime: Lifetime) -> int:
    """-1: there is more to it than a time to live."""
    if lifetime.ttl is None:
        return FOREVER
    windows = lifetime.stale_ttl or lifetime.stale_if_error
    return -1 if windows or not lifetime.ttl else to_ns(lifetime.ttl)


# Caches of this process with shared tiers, by namespace. Tiers tell of what other processes change; of each other the
# caches of one process hear here.
_sharing: "dict[str, weakref.WeakSet[Flow]]" = {}


class Flow:
    """The tiers of one cache, and what moves between them. See TieredCache for the settings."""

    def __init__(
        self,
        *,
        counts: Counts,
        namespace: str,
        scope: Any,
        memory: Memory,
        tiers: tuple[Tier, ...],
        values: Any,
        lifetime: Lifetime,
        copy: str,
        strict: bool,
        memory_ttl: float,
        patience: float,
        pure_tools: bool | Collection[str],
        clock: Clock,
    ) -> None:
        self.namespace = namespace
        self.scope = scope
        self.memory = memory
        self.seen: list[Any] = [None] * len(tiers)  # change words of the tiers
        self.tiers = tiers
        self.values = values
        self.lifetime = lifetime
        self.strict = strict
        self.pure_tools = pure_tools
        self.clock = clock
        self.counts = counts
        self.flights = Flights(counts.name, patience, clock)
        self.copy = copy
        self._copier = copier(copy)
        self._recheck = memory_ttl if any(tier.name == "redis" for tier in tiers) else None
        self.namespace_label = label_of_namespace(namespace)
        self._scope_labels: tuple[int, ...] = () if scope is None else (label_of_scope(namespace, scope),)
        self._canonical = bool(tiers) or memory.encoded  # keys need a canonical form
        self.epoch = 0  # how often something was invalidated, here or elsewhere
        self._stored = [0] * STORED  # how often something was stored, by the hashes of places
        self.skews_ms = [tier.skew_ms for tier in tiers]
        self._ahead_ms = SKEW_MS + max(self.skews_ms, default=0)  # what follows an invalidation is begun that late
        self._last_ms = 0  # the last invalidation's time: nothing begun later has an earlier one
        self._latest_ms = 0  # of all that was begun, as far as we know: it is older than an invalidation now
        self._deleting: set[bytes] = set()  # what lies in tiers under these digests is not to be had any more
        self._lock = threading.RLock()
        self._stores = {getattr(tier, "path", id(tier)) for tier in tiers}
        if tiers:
            _sharing.setdefault(namespace, weakref.WeakSet()).add(self)

    # ---- keys ----

    def ask(self, key: object, scope: Any, tags: Iterable[str] = (), ttl: float | None = None) -> Ask:
        """scope: None where the cache's own is meant as well as where there is none"""
        whose, labels = self.scope, self._scope_labels
        if scope is None and not tags and (type(key) is str or type(key) is int):
            return Ask(self.namespace, key, key, whose, labels, ttl)
        if scope is not None:
            whose, labels = scope, (label_of_scope(self.namespace, scope),)
        if tags:
            if isinstance(tags, str):
                raise InvalidError(f"tags={tags!r} is one text: give a list, tags=[{tags!r}]")
            labels += tuple(map(label_of_tag, tags))
        return Ask(self.namespace, key, self.place(key, scope), whose, labels, ttl)

    def place(self, key: object, scope: Any) -> Any:
        if scope is None or (type(scope) is type(self.scope) and scope == self.scope):
            return place_of(key, self.namespace, self.scope, alone=True, shared=self._canonical)
        return place_of(key, self.namespace, scope, alone=False, shared=self._canonical)

    # ---- memory ----

    def state(self, entry: Entry) -> int:
        """FRESH to GONE, now."""
        if entry.check_ns == FOREVER:
            return FRESH
        now_ns = self.clock.monotonic_ns()
        if now_ns < entry.check_ns:
            return FRESH
        life = entry.life
        if life is None:
            return GONE
        if now_ns >= life.recheck_ns:
            return SPARE if now_ns < life.expires_ns else GONE
        state = state_at(now_ns, life.fresh_ns, life.stale_ns, life.expires_ns)
        beta = self.lifetime.beta
        if state == FRESH and beta and life.compute_ns and life.fresh_ns < FOREVER:
            early = is_early(now_ns, life.fresh_ns, life.compute_ns, beta, self.clock.random())
            return EARLY if early else FRESH
        return state

    def give(self, entry: Entry) -> Any:
        """The value for a caller: what he does to it does not reach the cache."""
        value = entry.value
        if entry.check_ns == 0:
            if type(value) is Failure:
                raise value.error
            copy = self._copier(value)
            if copy is not None:
                return copy(value)
        return value

    def _entry(self, ask: Ask, value: Any, life: Life) -> Entry:
        copy = self._copier(value)
        check_ns = 0
        if copy is not None:
            value = copy(value)
        elif life is UNBOUNDED:
            return self.memory.entry(ask.place, value, FOREVER, UNBOUNDED)
        else:
            check_ns = early_from(life.fresh_ns, life.compute_ns, self.lifetime.beta)
            if check_ns > life.recheck_ns:
                check_ns = life.recheck_ns
        return self.memory.entry(ask.place, value, check_ns, life, bool(life.labels or life.digest))

    def _keep(self, entry: Entry) -> None:
        memory, weight = self.memory, 1
        if memory.max_weight and not memory.encoded:
            weight = ENTRY_BYTES + weigh(entry.key) + weigh(entry.value)
        memory.put(entry, weight, float(entry.life.compute_ns))

    def look(self, ask: Ask) -> Entry | None:
        """What memory has, if it may be given out."""
        entry = self.memory.table.find(ask.place)
        if entry is not None and self.state(entry) <= STALE and type(entry.value) is not Failure:
            self.memory.table.touch(entry)
            return entry
        self.memory.table.miss()
        return None

    # ---- shared tiers: what comes from there ----

    def watch(self) -> None:
        """Let go of what other processes changed; before memory is looked at."""
        for number, tier in enumerate(self.tiers):
            word = tier.change_word[0]
            if word == self.seen[number]:
                continue
            self.seen[number] = word  # before asking: what comes meanwhile is seen next time
            changed = tier.changed()
            if changed is None:
                self.epoch += 1
                self.flights.drop_labels(None)
                self.memory.clear()
            elif changed:
                self.epoch += 1
                self.memory.remove_digests(changed)

    def stamp(self, ask: Ask) -> tuple[int, int]:
        """Changes when something is invalidated, or stored under this key: what a tier was asked for before is old."""
        return self.epoch, self._stored[hash(ask.place) % STORED]

    def promote(self, ask: Ask, entry: bytes, stamp: tuple[int, int]) -> Entry | None:
        """An entry of a shared tier, into memory, with the time that it has left."""
        if self._deleting and ask.full.digest in self._deleting:
            return None
        found = self.values.unpack(entry)
        if found is None:
            self.counts.add("errors")
            return None
        self._latest_ms = max(self._latest_ms, found.created_ms)
        now_ns, wall_ms = self.clock.monotonic_ns(), self.clock.wall_ms()

        def at(ms: int) -> int:
            if ms >= FOREVER_MS:
                return FOREVER
            left_ms = min(ms - wall_ms, ms - found.created_ms)
            return min(FOREVER, now_ns + int(left_ms) * 1_000_000)

        fresh_ns, expires_ns = at(found.fresh_ms), at(found.expires_ms)
        if now_ns >= expires_ns or found.created_ms > wall_ms + self._ahead_ms:
            return None
        life = Life(
            fresh_ns=fresh_ns,
            stale_ns=min(later(fresh_ns, self.lifetime.stale_ttl), expires_ns) if fresh_ns < FOREVER else FOREVER,
            expires_ns=expires_ns,
            compute_ns=found.compute_us * 1000,
            created_ms=found.created_ms,
            labels=ask.labels or tuple(label for label in found.labels if label != self.namespace_label),
            digest=ask.full.digest,
            recheck_ns=FOREVER if self._recheck is None else later(now_ns, self._recheck),
        )
        promoted = self._entry(ask, found.value, life)
        if stamp == self.stamp(ask):
            self._keep(promoted)
            if stamp != self.stamp(ask):  # in between
                self.memory.remove(ask.place)
        return promoted

    def fetch(self, ask: Ask, counted: bool = True) -> Entry | None:
        """From disk, or from Redis: something that may be given out."""
        stamp = self.stamp(ask)
        for number, tier in enumerate(self.tiers):
            start_ns = self.clock.monotonic_ns()
            if waits.watcher is None:
                entry = tier.get(ask.full)
            else:
                with self.waiting(tier):
                    entry = tier.get(ask.full)
            found = self.fetched(ask, number, entry, start_ns, stamp, counted)
            if found is not None:
                return found
        return None

    def fetched(
        self, ask: Ask, number: int, entry: bytes | None, start_ns: int, stamp: tuple[int, int], counted: bool = True
    ) -> Entry | None:
        """What a tier answered, as an entry in memory and in the tiers before it."""
        name = self.tiers[number].name
        promoted = None if entry is None else self.promote(ask, entry, stamp)
        if promoted is not None and self.clock.monotonic_ns() >= promoted.life.stale_ns:
            promoted = None  # a spare one at best
        if counted:
            self.counts.time(f"{name}.get", self.clock.monotonic_ns() - start_ns)
            self.counts.add(f"{name}.misses" if promoted is None else f"{name}.hits")
        if promoted is not None and entry is not None and stamp == self.stamp(ask):
            for nearer in self.tiers[:number]:
                nearer.put(ask.full, entry)
        return promoted

    def waiting(self, tier: Tier, what: str = "") -> Any:
        """Around a wait for a tier's answer, or for its lease, or for who has it."""
        return waits.tier(self.counts.name, what or tier.name)

    def worth_a_lease(self) -> bool:
        return not 0 < self.flights.typical_ns < LEASE_FROM_NS

    # ---- computing and storing ----

    def took(self, start_ns: int) -> int:
        """How long computing took, for those who wait for the next one."""
        ns = self.clock.monotonic_ns() - start_ns
        self.flights.took(ns)
        return ns

    def failed(self, ask: Ask, error: Exception, spare: Entry | None, flight: Flight | None) -> Entry | None:
        """What is given out though computing failed; None: the error."""
        self.counts.add("failures")
        now_ns = self.clock.monotonic_ns()
        if spare is not None and now_ns < spare.life.expires_ns and type(spare.value) is not Failure:
            self.counts.add("stale")
            return spare
        seconds = self.lifetime.negative_ttl
        if seconds and (flight is None or not flight.dropped):
            until_ns = later(now_ns, seconds)
            life = Life(until_ns, until_ns, until_ns, labels=ask.labels)
            self._keep(self.memory.entry(ask.place, Failure(error), 0, life, bool(ask.labels)))
        return None

    def begin_ms(self) -> int:
        """The time at which computing begins: later than what was invalidated before, whatever the clock says. 0 where
        there are no tiers: nobody compares it."""
        if not self.tiers:
            return 0
        begun_ms = max(self.clock.wall_ms(), self._last_ms + 1)
        self._latest_ms = max(self._latest_ms, begun_ms)
        return begun_ms

    def computed(self, ask: Ask, value: Any, begun_ms: int, compute_ns: int, flight: Flight | None = None) -> Entry:
        """What a factory returned, for all who wait; kept, if it may be."""
        if type(value) is Unkept:
            return self._entry(ask, value.value, UNBOUNDED)
        reason = refused(value, self.pure_tools)
        if reason is not None:
            self.counts.add(f"skipped_{reason}")
            return self._entry(ask, value, UNBOUNDED)
        return self.store(ask, value, begun_ms, compute_ns, flight)

    def streamed(self, ask: Ask, items: tuple[Any, ...], begun_ms: int, compute_ns: int) -> None:
        """What a generator yielded and returned; kept, if it may be."""
        reason = refused_stream(items, self.pure_tools)
        if reason is None:
            self.store(ask, items, begun_ms, compute_ns)
        else:
            self.counts.add(f"skipped_{reason}")

    def store(self, ask: Ask, value: Any, begun_ms: int, compute_ns: int, flight: Flight | None = None) -> Entry:
        """Into memory, and behind the caller's back into the shared tiers."""
        if ask.ttl == 0:
            return self._entry(ask, value, UNBOUNDED)
        now_ns = self.clock.monotonic_ns()
        life = UNBOUNDED
        if ask.ttl is not None or ask.labels or self.tiers:
            fresh_ns, stale_ns, expires_ns = self.lifetime.times_at(now_ns, ask.ttl, self.clock.random())
            digest = ask.full.digest if self.tiers else None
            recheck_ns = FOREVER if self._recheck is None else later(now_ns, self._recheck)
            life = Life(fresh_ns, stale_ns, expires_ns, compute_ns, begun_ms, ask.labels, digest, recheck_ns)
        entry = self._entry(ask, value, life)
        if flight is not None and flight.dropped:
            return entry
        if self.tiers:
            self._stored[hash(ask.place) % STORED] += 1  # before it is there: who promotes meanwhile looks again
        self._keep(entry)
        if self.tiers:
            self._write(ask, value, life, now_ns)
        if flight is not None and flight.dropped:  # in between
            self.memory.remove(ask.place)
        return entry

    def _write(self, ask: Ask, value: Any, life: Life, now_ns: int) -> None:
        """Packed here, so that it does not matter what the caller does to it next; the tiers write later."""
        wall_ms = self.clock.wall_ms()

        def at(ns: int) -> int:
            return FOREVER_MS if ns >= FOREVER else max(0, wall_ms + (ns - now_ns) // 1_000_000)

        try:
            packed = self.values.pack(
                value,
                ask.full,
                labels=(self.namespace_label, *ask.labels),
                created_ms=life.created_ms,
                fresh_ms=at(life.fresh_ns),
                expires_ms=at(life.expires_ns),
                compute_us=life.compute_ns // 1000,
            )
        except (TypeError, ValueError, RecursionError):  # no form as bytes: it stays in memory
            self.counts.add("unstorable")
            self._deleting.add(ask.full.digest)  # what lies there is older
            background.submit(lambda: self._delete_in_tiers(ask.full))
            if self.strict:
                raise
            return
        for tier in self.tiers:
            tier.put(ask.full, packed)
        self._deleting.discard(ask.full.digest)
        self.tell_siblings(ask.full)

    def _delete_in_tiers(self, key: Key) -> None:
        for tier in self.tiers:
            with self.waiting(tier):
                tier.delete([key])
        self._deleting.discard(key.digest)
        self.tell_siblings(key)

    def tell_siblings(self, key: Key) -> None:
        """Another cache of the namespace has an older copy in memory, perhaps."""
        siblings = _sharing[self.namespace]
        if len(siblings) > 1:
            for other in list(siblings):
                if other is not self and not self._stores.isdisjoint(other._stores):
                    other.epoch += 1
                    other.memory.remove_digests([key.digest])

    def set(self, ask: Ask, value: Any) -> None:
        self.flights.drop(ask.place)
        self.store(ask, value, self.begin_ms(), 0)

    def plain_getter(self) -> Callable[[Any], Any] | None:
        """A way to look a plain key up in memory that sees what other processes changed: the value, if it needs no
        closer look, or MISSING."""
        get, watch = self.memory.table.get, self.watch
        if not self.tiers:
            return get if not isinstance(self.memory.table, _memory.Table) else None

        def get_plain(key: Any) -> Any:
            watch()
            return get(key)

        return get_plain

    def plain_tables(self) -> tuple[_memory.Table | None, _memory.Table | None]:
        """Where plain keys are found, and where they are set to a value with no more than an end, in one step; None:
        it takes more."""
        table = self.memory.table
        if self.tiers or not isinstance(table, _memory.Table):
            return None, None
        ttl_ns, copied = _plain_ttl_ns(self.lifetime), copied_types(self.copy)
        if self.scope is not None or ttl_ns < 0 or copied is None:
            return table, None
        table.prepare(ttl_ns, self.lifetime.jitter, copied, self.flights.under_way, weigh, ENTRY_BYTES)
        return table, table

    def delete(self, ask: Ask) -> None:
        self.forget(ask)
        if self.tiers:
            self._delete_in_tiers(ask.full)

    def forget(self, ask: Ask) -> None:
        """In this process: what there is, and what is being computed."""
        self.epoch += 1
        self.flights.drop(ask.place)
        self.memory.remove(ask.place)

    def invalidate(self, labels: list[int]) -> None:
        until_ms = self.invalidated(labels)
        for tier, skew_ms in zip(self.tiers, self.skews_ms, strict=True):
            with self.waiting(tier):
                tier.invalidate(labels, until_ms - skew_ms)

    def clear(self) -> None:
        until_ms = self.invalidated(None)
        for tier, skew_ms in zip(self.tiers, self.skews_ms, strict=True):
            with self.waiting(tier):
                tier.invalidate([self.namespace_label], until_ms - skew_ms)

    def invalidated(self, labels: list[int] | None) -> int:
        """In this process, None: all labels.  The time up to which nothing that was begun is valid, on
        machines whose clocks differ as well; tiers add that themselves."""
        with self._lock:
            now_ms = self.clock.wall_ms() + max(self.skews_ms, default=0)
            self._last_ms = now_ms = max(now_ms, self._last_ms + 1, self._latest_ms)
        self.drop(labels)
        if self.tiers:
            others = [_sharing[self.namespace]] if labels is None else list(_sharing.values())
            for other in [flow for flows in others for flow in list(flows)]:
                if other is not self and not self._stores.isdisjoint(other._stores):
                    other.drop(labels)
        return now_ms

    def drop(self, labels: list[int] | None) -> None:
        """In this cache's memory, and what it is computing."""
        self.epoch += 1
        self.flights.drop_labels(labels)
        if labels is None:
            self.memory.clear()
        else:
            self.memory.remove_labels(labels)
