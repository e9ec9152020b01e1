"""What a piece of time went to: running, or waiting for what."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from .._core import lib
from ..events import ActorKind, Code
from ..reader import Name
from .actors import Actor, History, Raw, Ring, Span

__all__ = ["Explainer", "Piece", "State"]

LEAST = 1_000_000  # ns: less without the CPU is no finding
LEAST_SHARE = 0.1  # of a piece
LAG = 200_000  # ns: a loop that needs less is not busy
HOPS = 16  # callbacks between what ended a wait and who waited
NAMES = 2  # of spans, in an actor's name
RESOURCES = {
    lib.PERF_RESOURCE_SEMAPHORE: "semaphore",
    lib.PERF_RESOURCE_LOCK: "lock",
    lib.PERF_RESOURCE_QUEUE: "queue",
    lib.PERF_RESOURCE_EXECUTOR: "executor",
    lib.PERF_RESOURCE_BATCHER: "batcher",
}


class State(IntEnum):
    """What an actor's time goes to."""

    RUN = 0
    BLOCKED = 1  # keeps its thread, and does not use the CPU
    INTERPRETER = 2  # another thread has the interpreter
    LAG = 3  # could run, and its event loop is busy
    RESOURCE = 4
    OUTSIDE = 5  # timers and I/O
    OTHER = 6  # another task, thread or piece of work
    UNKNOWN = 7


class Piece(NamedTuple):
    """A piece of an actor's time. Nanoseconds."""

    start: int
    end: int
    state: State
    span: int  # the innermost open one
    what: str  # that it waited for, in words, where the state does not say it
    part: int = 0  # per cent of the lane's height: n from below, -n from above; 0: all of it


class Explainer:
    """Knows everything that happened, and says of single pieces why they were."""

    def __init__(self, history: History, names: Sequence[Name]) -> None:
        self.history = history
        self.names = names
        self.spans_of: dict[int, list[Span]] = defaultdict(list)  # of an actor, those not inside others of its own
        for span in history.spans.values():
            parent = history.spans.get(span.parent)
            if not parent or parent.actor != span.actor:
                self.spans_of[span.actor].append(span)
        self.threads = [actor.id for actor in history.actors.values() if actor.kind == ActorKind.THREAD]

    # ---- names ----

    def text(self, name: int) -> str:
        return self.names[name].text if 0 <= name < len(self.names) else "(unknown)"

    def span_name(self, span: int) -> str:
        known = self.history.spans.get(span)
        return self.text(known.name) if known else ""

    def actor_name(self, actor: Actor) -> str:
        """What its spans are called, or where it was made."""
        if actor.kind == ActorKind.MAIN:
            return "main thread"
        spans = sorted(self.spans_of[actor.id], key=lambda span: span.begin)
        texts = list(dict.fromkeys(self.text(span.name) for span in spans))
        if texts:
            return ", ".join(texts[:NAMES]) + (", …" if len(texts) > NAMES else "")
        if actor.kind == ActorKind.THREAD:
            return f"thread {self.threads.index(actor.id) + 1}"
        birth = self.history.births.get(actor.id)
        inside = self.span_name(birth.span) if birth else ""
        word = "work" if actor.kind == ActorKind.WORK else "task"
        return f"{word} of {inside}" if inside else word

    def resource_name(self, id_: int) -> str:
        found = self.history.resources.get(id_)
        return f"{RESOURCES.get(found.kind, 'resource')} {self.text(found.name)}" if found else "a resource"

    # ---- pieces ----

    def pieces(self, actor: Actor) -> Iterator[Piece]:
        """The pieces of an actor's time, in order, with what is behind each."""
        for raw in sorted(actor.raw):
            if raw.code == Code.RUN:
                yield from self._running(raw)
            elif raw.code == Code.SLEEP:
                yield Piece(raw.start, raw.end, State.BLOCKED, raw.span, "time.sleep()")
            elif raw.code == Code.SUBMIT:
                if raw.end - raw.start > LAG:
                    what = f"a free thread of {self.resource_name(raw.keys[0])}"
                    yield Piece(raw.start, raw.end, State.RESOURCE, raw.span, what)
            elif raw.code == Code.SPAWN:
                yield from self._lag(raw.start, raw)
            elif raw.code == Code.WAIT:
                ends = [self._cause(key, actor) for key in raw.keys[:NAMES]]
                what = " and ".join(dict.fromkeys(what for _, what, _ in ends if what))
                more = f" and {len(raw.keys) - NAMES} more" if len(raw.keys) > NAMES else ""
                yield Piece(raw.start, raw.end, State.OTHER, raw.span, what + more or "another thread")
            else:
                yield from self._waiting(raw, actor)

    def _running(self, raw: Raw) -> Iterator[Piece]:
        """CPU time, and what is left of the piece: side by side, because their order was not recorded."""
        what = f"import {self.text(raw.module)}" if raw.module else ""
        wall = raw.end - raw.start
        rest = wall - _cpu_between(self.history.rings[raw.ring], raw.start, raw.end)
        if rest < LEAST or rest < LEAST_SHARE * wall:
            yield Piece(raw.start, raw.end, State.RUN, raw.span, what)
            return
        state, what = State.BLOCKED, "a blocking call, or no free CPU"
        if self._others(raw.ring, raw.start, raw.end) > rest / 2:
            state, what = State.INTERPRETER, ""
        ran = 100 - round(100 * rest / wall)
        if ran <= 0:
            yield Piece(raw.start, raw.end, state, raw.span, what)
        else:
            yield Piece(raw.start, raw.end, State.RUN, raw.span, "", ran)
            yield Piece(raw.start, raw.end, state, raw.span, what, ran - 100)

    def _waiting(self, raw: Raw, actor: Actor) -> Iterator[Piece]:
        """A suspended task: until what it awaits is there, and from then on until its loop has time for it."""
        state, what, ready = self._cause(raw.keys[-1], actor)
        if raw.code == Code.ACQUIRE:
            state, what = State.RESOURCE, self.resource_name(raw.keys[0])
            if not raw.keys[-1]:
                ready = raw.end
        ready = min(max(ready or raw.end, raw.start), raw.end)
        if raw.end - ready <= LAG:
            ready = raw.end
        if ready > raw.start:
            yield Piece(raw.start, ready, state, raw.span, what)
        yield from self._lag(ready, raw)

    def _lag(self, ready: int, raw: Raw) -> Iterator[Piece]:
        late = raw.end - ready
        if late <= LAG:
            return
        own = _cpu_between(self.history.rings[raw.ring], ready, raw.end)
        if own < late / 2 < self._others(raw.ring, ready, raw.end):
            yield Piece(ready, raw.end, State.INTERPRETER, raw.span, "")
        else:
            yield Piece(ready, raw.end, State.LAG, raw.span, "")

    def _others(self, ring: int, start: int, end: int) -> int:
        """CPU time that the other threads used."""
        return sum(_cpu_between(other, start, end, 0.0) for other in self.history.rings if other.number != ring)

    def _cause(self, key: int, waiter: Actor) -> tuple[State, str, int]:
        """What ended a wait, in words, and when that was; 0: not known."""
        done = self.history.resolved.get(key)
        if not key or not done:
            return (State.UNKNOWN, "something that was not recorded", 0) if key else (State.LAG, "", 0)
        time = done.time
        actor = self.history.actors[done.by]
        for _ in range(HOPS):
            birth = self.history.births.get(actor.id)
            since, back = actor.selected
            if actor.kind == ActorKind.TIMER and birth:  # a loop that slept is late by what its system's timer is
                return State.OUTSIDE, "a timer", min(time, back if since < birth.more else birth.more)
            if actor.kind == ActorKind.IO or (actor.kind == ActorKind.CALLBACK and not birth):
                return State.OUTSIDE, "I/O", min(time, back)
            if actor.kind != ActorKind.CALLBACK or not birth:
                break
            time = birth.time
            actor = self.history.actors[birth.by]
        name = self.actor_name(actor)
        if actor is waiter or not name:
            return State.LAG, "", time
        return State.OTHER, name, time


def _cpu_between(ring: Ring, start: int, end: int, unread: float = 1.0) -> int:
    """CPU time that a thread used. `unread`: its share where it was read on one side only, or never."""
    return round(_cpu_at(ring, end, unread) - _cpu_at(ring, start, unread))


def _cpu_at(ring: Ring, time: int, unread: float) -> float:
    after = bisect_left(ring.times, time)
    if not ring.times:
        return unread * time
    if after == len(ring.times):
        return ring.cpu[-1] + unread * (time - ring.times[-1])
    if after == 0:
        return ring.cpu[0] - unread * (ring.times[0] - time)
    t0, t1, c0, c1 = ring.times[after - 1], ring.times[after], ring.cpu[after - 1], ring.cpu[after]
    return c0 + (c1 - c0) * (time - t0) / (t1 - t0)
