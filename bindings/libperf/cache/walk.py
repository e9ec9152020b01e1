"""A thread's walk: memory, disk, Redis, and then one flight computes. async_walk.py is the same for tasks."""

import time
from collections.abc import Callable
from typing import Any

from .._memory import Entry
from ..errors import InvalidError
from . import background
from .flights import Flight
from .flow import MISSING, Flow
from .freshness import EARLY, FRESH, STALE
from .places import Ask
from .tier import Lease

__all__ = ["find", "find_many", "obtain"]

Factory = Callable[[], Any]

# Asking a type for what it has not costs more than all the rest of looking a key up.
NEVER_AWAITED = frozenset({bool, bytes, dict, float, frozenset, int, list, set, str, tuple, type(None)})
POLL_FIRST, POLL_LAST = 0.002, 0.1  # seconds between looks for what another process computes


def find(flow: Flow, ask: Ask) -> Any:
    """The value, or MISSING."""
    if flow.tiers:
        flow.watch()
    entry = flow.look(ask)
    if entry is None and flow.tiers:
        entry = flow.fetch(ask)
    return MISSING if entry is None else flow.give(entry)


def find_many(flow: Flow, asks: list[Ask]) -> list[Any]:
    """The same of many: one question to each tier."""
    if flow.tiers:
        flow.watch()
    found = [flow.look(ask) for ask in asks]
    stamps = [flow.stamp(ask) for ask in asks]
    for number, tier in enumerate(flow.tiers):
        missing = [place for place, entry in enumerate(found) if entry is None]
        if not missing:
            break
        start_ns = flow.clock.monotonic_ns()
        with flow.waiting(tier):
            entries = tier.get_many([asks[place].full for place in missing])
        for place, entry in zip(missing, entries, strict=True):
            found[place] = flow.fetched(asks[place], number, entry, start_ns, stamps[place])
    return [MISSING if entry is None else flow.give(entry) for entry in found]


def obtain(flow: Flow, ask: Ask, factory: Factory) -> Any:
    """The value, computed if there is none."""
    if flow.tiers:
        flow.watch()
    entry = flow.memory.table.find(ask.place)
    if entry is not None:
        state = flow.state(entry)
        if state <= STALE:
            flow.memory.table.touch(entry)
            if state == EARLY:
                entry = _early(flow, ask, factory, entry)
            elif state == STALE:
                _refresh(flow, ask, factory, entry)
            return flow.give(entry)
    flow.memory.table.miss()
    if ask.ttl == 0:
        return flow.give(_compute(flow, ask, factory, None, None))
    spare = entry
    found = flow.flights.fly(ask.place, ask.labels, lambda flight: _fill(flow, ask, factory, spare, flight))
    if flow.tiers and flow.state(found) == STALE:
        _refresh(flow, ask, factory, found)
    return flow.give(found)


def _refresh(flow: Flow, ask: Ask, factory: Factory, entry: Entry) -> None:
    """Compute what is stale again, behind the caller's back, once."""
    flow.counts.add("stale")
    flight = flow.flights.start(ask.place, ask.labels)
    if flight is None:
        return

    def work() -> None:
        try:
            flow.flights.lead(flight, lambda flight: _renew(flow, ask, factory, entry, flight))
        except Exception:
            flow.counts.add("swallowed")  # the stale value is still there

    if background.submit(work):
        flow.counts.add("refreshes")
    else:
        flow.flights.abandon(flight)


def _early(flow: Flow, ask: Ask, factory: Factory, entry: Entry) -> Entry:
    """This caller computes, the others are still served; unless somebody does already."""
    flight = flow.flights.start(ask.place, ask.labels)
    if flight is None:
        return entry
    flow.counts.add("refreshes")
    found: Entry = flow.flights.lead(flight, lambda flight: _renew(flow, ask, factory, entry, flight))
    return found


def _renew(flow: Flow, ask: Ask, factory: Factory, entry: Entry, flight: Flight) -> Entry:
    """Compute again, unless another process has."""
    found = flow.fetch(ask, counted=False) if flow.tiers else None
    if found is not None and found.life.created_ms > entry.life.created_ms and flow.state(found) == FRESH:
        return found
    return _compute(flow, ask, factory, entry, flight)


def _fill(flow: Flow, ask: Ask, factory: Factory, spare: Entry | None, flight: Flight) -> Entry:
    """The leader's part: look once more, look in the other tiers, compute."""
    entry = flow.memory.table.find(ask.place)
    if entry is not None and flow.state(entry) <= EARLY:  # it landed since we looked
        return entry
    if not flow.tiers:
        return _compute(flow, ask, factory, spare, flight)
    found = flow.fetch(ask)
    if found is not None:
        return found
    lease = None
    if not flight.alone and flow.worth_a_lease():
        found, lease = _take_lease(flow, ask)
        if found is not None:
            return found
    try:
        return _compute(flow, ask, factory, spare, flight)
    finally:
        if lease is not None:
            lease.release()


def _take_lease(flow: Flow, ask: Ask) -> tuple[Entry | None, Lease | None]:
    """The right to compute, or what another process computed meanwhile. Neither: it takes too long, or died."""
    widest, pause = flow.tiers[-1], POLL_FIRST
    seconds = flow.flights.patience_ns / 1e9
    deadline_ns = flow.clock.monotonic_ns() + flow.flights.patience_ns
    while True:
        with flow.waiting(widest, "lease"):
            lease = widest.lease(ask.full, seconds)
        if lease is not None and pause == POLL_FIRST:
            return None, lease
        found = flow.fetch(ask, counted=False)
        if found is not None:
            if lease is not None:
                lease.release()
            return found, None
        if lease is not None or flow.clock.monotonic_ns() >= deadline_ns:
            return None, lease
        with flow.waiting(widest, "lease"):
            time.sleep(pause)
        pause = min(2 * pause, POLL_LAST)


def _compute(flow: Flow, ask: Ask, factory: Factory, spare: Entry | None, flight: Flight | None) -> Entry:
    begun_ms, start_ns = flow.begin_ms(), flow.clock.monotonic_ns()
    try:
        value = factory()
    except Exception as error:
        kept = flow.failed(ask, error, spare, flight)
        if kept is None:
            raise
        return kept
    if type(value) not in NEVER_AWAITED and hasattr(type(value), "__await__"):
        if hasattr(value, "close"):
            value.close()  # nobody will await it
        raise InvalidError(f"the factory for {ask.key!r} is async: use `await cache.aget_or_set(...)`")
    return flow.computed(ask, value, begun_ms, flow.took(start_ns), flight)
