"""Deadlocks: tasks or threads that waited for each other's locks in a circle, until somebody gave up or the end."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .._core import ffi, lib
from ..reader import Reader

if TYPE_CHECKING:
    from . import Analysis

__all__ = ["Deadlock", "find_deadlocks"]

BATCH = 4096  # events taken over at a time
LEAST_NS = 1_000_000  # of waiting, before somebody gave up: a lock that was only tried is no deadlock

THREAD, RUN, RESOURCE = lib.PERF_EVENT_THREAD, lib.PERF_EVENT_RUN, lib.PERF_EVENT_RESOURCE
SUSPEND, END = lib.PERF_EVENT_SUSPEND, lib.PERF_EVENT_END
ACQUIRE, ACQUIRED = lib.PERF_EVENT_ACQUIRE, lib.PERF_EVENT_ACQUIRED
NOT_ACQUIRED, RELEASE = lib.PERF_EVENT_NOT_ACQUIRED, lib.PERF_EVENT_RELEASE
EXCLUSIVE = {kind | 1 << 8 for kind in (lib.PERF_RESOURCE_LOCK, lib.PERF_RESOURCE_SEMAPHORE)}  # capacity 1


@dataclass(frozen=True, slots=True)
class Deadlock:
    """A circle of waits: who held a lock wanted the next one, who held the last one wanted the first."""

    locks: tuple[str, ...]
    seconds: float  # until somebody gave up, or the last event of a lock


class _Step(NamedTuple):
    time: int
    code: int
    actor: int
    key: int  # of the lock


class _Circle(NamedTuple):
    since: int
    actors: list[int]
    keys: list[int]


def find_deadlocks(analysis: "Analysis") -> list[Deadlock]:
    """The longest first; those of the same locks are one."""
    if not any(one.kind in ("lock", "semaphore") and one.capacity == 1 for one in analysis.resources):
        return []
    names: dict[int, int] = {}
    with Reader(analysis._reader.path) as reader:
        steps = list(_steps(reader, analysis.session, names))
    found: dict[tuple[str, ...], int] = {}
    for circle, end in _circles(sorted(step for step in steps if step.key in names)):
        first = circle.keys.index(min(circle.keys))  # wherever it was entered, it is the same
        locks = tuple(analysis._text(names[key]) for key in circle.keys[first:] + circle.keys[:first])
        found[locks] = found.get(locks, 0) + end - circle.since
    return [Deadlock(locks, ns / 1e9) for locks, ns in sorted(found.items(), key=lambda item: -item[1])]


def _steps(reader: Reader, session: int, names: dict[int, int]) -> Iterator[_Step]:
    """What happened to locks, thread by thread. `names`: gets the number of the name of each that one at a time has."""
    batch = ffi.new("perf_event[]", BATCH)
    block, stack, wanted = -1, [0], True
    while count := lib.perf_reader_events(reader._get(), batch, BATCH):
        for event in batch[0:count]:
            code = event.code
            if event.block != block:
                block, stack, wanted = event.block, [0], not session
            if code == THREAD:
                stack, wanted = [event.key], session in (0, event.more)
            elif code == RUN:
                stack.append(event.key)
            elif code in (SUSPEND, END):
                if len(stack) > 1:
                    stack.pop()
            elif code == RESOURCE:
                if event.more in EXCLUSIVE:
                    names[event.key] = event.arg
            elif ACQUIRE <= code <= RELEASE and wanted:
                yield _Step(event.time_ns, code, stack[-1], event.key)


def _circles(steps: list[_Step]) -> Iterator[tuple[_Circle, int]]:
    """Circles that nobody outside of them resolved, and when they ended."""
    holder: dict[int, int] = {}
    wants: dict[int, int] = {}
    open_: list[_Circle] = []
    for time, code, actor, key in steps:
        if code == ACQUIRE:
            wants[actor] = key
            if circle := _circle(time, actor, wants, holder):
                open_.append(circle)
            continue
        for circle in [each for each in open_ if key in each.keys]:
            if code != NOT_ACQUIRED:  # it was given back by somebody else, as a signal is
                open_.remove(circle)
            elif actor in circle.actors:
                open_.remove(circle)
                if time - circle.since >= LEAST_NS:
                    yield circle, time
        if code == RELEASE:
            holder.pop(key, None)
            continue
        wants.pop(actor, None)
        if code == ACQUIRED:
            holder[key] = actor
    for circle in open_:
        yield circle, steps[-1].time


def _circle(time: int, actor: int, wants: dict[int, int], holder: dict[int, int]) -> _Circle | None:
    """The way from what this actor wants to who holds it and what that one wants, when it leads back to the actor."""
    actors: list[int] = []
    keys: list[int] = []
    other: int | None = actor
    while other is not None and other in wants and other not in actors:
        actors.append(other)
        keys.append(wants[other])
        other = holder.get(keys[-1])
    return _Circle(time, actors, keys) if other == actor else None
