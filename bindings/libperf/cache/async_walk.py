"""A task's walk: as in walk.py, step by step, and nothing in it blocks the loop."""

import asyncio
from collections.abc import Callable
from typing import Any

from .._memory import Entry
from . import waits
from .flights import Flight
from .flow import MISSING, Flow
from .freshness import EARLY, FRESH, STALE
from .places import Ask
from .tier import Lease
from .walk import NEVER_AWAITED, POLL_FIRST, POLL_LAST

__all__ = ["afind", "afind_many", "aobtain"]

Factory = Callable[[], Any]  # what it returns is awaited, if it can be

_refreshing: "set[asyncio.Task[None]]" = set()  # a loop holds its tasks weakly


async def afind(flow: Flow, ask: Ask) -> Any:
    """The value, or MISSING."""
    if flow.tiers:
        flow.watch()
    entry = flow.look(ask)
    if entry is None and flow.tiers:
        entry = await _fetch(flow, ask)
    return MISSING if entry is None else flow.give(entry)


async def afind_many(flow: Flow, asks: list[Ask]) -> list[Any]:
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
            entries = await tier.aget_many([asks[place].full for place in missing])
        for place, entry in zip(missing, entries, strict=True):
            found[place] = flow.fetched(asks[place], number, entry, start_ns, stamps[place])
    return [MISSING if entry is None else flow.give(entry) for entry in found]


async def aobtain(flow: Flow, ask: Ask, factory: Factory) -> Any:
    """The value, computed if there is none."""
    if flow.tiers:
        flow.watch()
    entry = flow.memory.table.find(ask.place)
    if entry is not None:
        state = flow.state(entry)
        if state <= STALE:
            flow.memory.table.touch(entry)
            if state == EARLY:
                entry = await _early(flow, ask, factory, entry)
            elif state == STALE:
                _refresh(flow, ask, factory, entry)
            return flow.give(entry)
    flow.memory.table.miss()
    if ask.ttl == 0:
        return flow.give(await _compute(flow, ask, factory, None, None))
    spare = entry
    found = await flow.flights.afly(ask.place, ask.labels, lambda flight: _fill(flow, ask, factory, spare, flight))
    if flow.tiers and flow.state(found) == STALE:
        _refresh(flow, ask, factory, found)
    return flow.give(found)


def _refresh(flow: Flow, ask: Ask, factory: Factory, entry: Entry) -> None:
    """Compute what is stale again, in a task of its own, once."""
    flow.counts.add("stale")
    flight = flow.flights.start(ask.place, ask.labels, asyncio.get_running_loop())
    if flight is None:
        return

    async def work() -> None:
        try:
            await flow.flights.alead(flight, lambda flight: _renew(flow, ask, factory, entry, flight))
        except Exception:
            flow.counts.add("swallowed")  # the stale value is still there

    task = asyncio.ensure_future(work())
    _refreshing.add(task)
    task.add_done_callback(_refreshing.discard)
    task.add_done_callback(lambda task: flow.flights.abandon(flight))  # cancelled before its first step
    flow.counts.add("refreshes")


async def _early(flow: Flow, ask: Ask, factory: Factory, entry: Entry) -> Entry:
    """This caller computes, the others are still served; unless somebody does already."""
    flight = flow.flights.start(ask.place, ask.labels, asyncio.get_running_loop())
    if flight is None:
        return entry
    flow.counts.add("refreshes")
    found: Entry = await flow.flights.alead(flight, lambda flight: _renew(flow, ask, factory, entry, flight))
    return found


async def _renew(flow: Flow, ask: Ask, factory: Factory, entry: Entry, flight: Flight) -> Entry:
    """Compute again, unless another process has."""
    found = await _fetch(flow, ask, counted=False) if flow.tiers else None
    if found is not None and found.life.created_ms > entry.life.created_ms and flow.state(found) == FRESH:
        return found
    return await _compute(flow, ask, factory, entry, flight)


async def _fetch(flow: Flow, ask: Ask, counted: bool = True) -> Entry | None:
    stamp = flow.stamp(ask)
    for number, tier in enumerate(flow.tiers):
        start_ns = flow.clock.monotonic_ns()
        if waits.watcher is None:
            entry = await tier.aget(ask.full)
        else:
            with flow.waiting(tier):
                entry = await tier.aget(ask.full)
        found = flow.fetched(ask, number, entry, start_ns, stamp, counted)
        if found is not None:
            return found
    return None


async def _fill(flow: Flow, ask: Ask, factory: Factory, spare: Entry | None, flight: Flight) -> Entry:
    """The leader's part: look once more, look in the other tiers, compute."""
    entry = flow.memory.table.find(ask.place)
    if entry is not None and flow.state(entry) <= EARLY:  # it landed since we looked
        return entry
    if not flow.tiers:
        return await _compute(flow, ask, factory, spare, flight)
    found = await _fetch(flow, ask)
    if found is not None:
        return found
    lease = None
    if not flight.alone and flow.worth_a_lease():
        found, lease = await _take_lease(flow, ask)
        if found is not None:
            return found
    try:
        return await _compute(flow, ask, factory, spare, flight)
    finally:
        if lease is not None:
            lease.release()


async def _take_lease(flow: Flow, ask: Ask) -> tuple[Entry | None, Lease | None]:
    """The right to compute, or what another process computed meanwhile. Neither: it takes too long, or died."""
    widest, pause = flow.tiers[-1], POLL_FIRST
    seconds = flow.flights.patience_ns / 1e9
    deadline_ns = flow.clock.monotonic_ns() + flow.flights.patience_ns
    while True:
        with flow.waiting(widest, "lease"):
            lease = await widest.alease(ask.full, seconds)
        if lease is not None and pause == POLL_FIRST:
            return None, lease
        try:
            found = await _fetch(flow, ask, counted=False)
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        if found is not None:
            if lease is not None:
                lease.release()
            return found, None
        if lease is not None or flow.clock.monotonic_ns() >= deadline_ns:
            return None, lease
        with flow.waiting(widest, "lease"):
            await asyncio.sleep(pause)
        pause = min(2 * pause, POLL_LAST)


async def _compute(flow: Flow, ask: Ask, factory: Factory, spare: Entry | None, flight: Flight | None) -> Entry:
    begun_ms, start_ns = flow.begin_ms(), flow.clock.monotonic_ns()
    try:
        value = factory()
        if type(value) not in NEVER_AWAITED and hasattr(type(value), "__await__"):
            value = await value
    except Exception as error:
        kept = flow.failed(ask, error, spare, flight)
        if kept is None:
            raise
        return kept
    return flow.computed(ask, value, begun_ms, flow.took(start_ns), flight)


async def adelete(flow: Flow, ask: Ask) -> None:
    flow.forget(ask)
    for tier in flow.tiers:
        with flow.waiting(tier):
            await tier.adelete([ask.full])
    if flow.tiers:
        flow.tell_siblings(ask.full)


async def ainvalidate(flow: Flow, labels: list[int]) -> None:
    until_ms = flow.invalidated(labels)
    for tier, skew_ms in zip(flow.tiers, flow.skews_ms, strict=True):
        with flow.waiting(tier):
            await tier.ainvalidate(labels, until_ms - skew_ms)


async def aclear(flow: Flow) -> None:
    until_ms = flow.invalidated(None)
    for tier, skew_ms in zip(flow.tiers, flow.skews_ms, strict=True):
        with flow.waiting(tier):
            await tier.ainvalidate([flow.namespace_label], until_ms - skew_ms)
