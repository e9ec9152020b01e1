"""Who ran when, and who was waiting in between: actors and the pieces of their time, as scheduler events tell them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..events import SAMPLES, ActorKind, Code, Event

__all__ = ["Actor", "Birth", "History", "Raw", "Ring", "Span", "read_history"]

SOON = 100_000  # ns: who gets a resource sooner has not waited for it


class Raw(NamedTuple):
    """A piece of an actor's time between two events. What a wait was for shows when all events are known."""

    start: int
    end: int
    code: int  # RUN; SUSPEND, SLEEP, WAIT; ACQUIRE for any resource; SPAWN, SUBMIT: ready, and not yet running
    span: int  # the innermost open one
    ring: int
    keys: tuple[int, ...] = ()  # what it waited for: futures, actors; a resource and then its future
    module: int = 0  # name of what was imported


@dataclass(slots=True)
class Actor:
    """A task, callback, timer, thread or piece of work."""

    id: int
    kind: int
    raw: list[Raw] = field(default_factory=list)
    selected: tuple[int, int] = (0, 0)  # the last wait of its loop before it ran: from, to
    # while its events are read:
    since: int = 0  # begin of its piece
    suspended: tuple[int, int, int] | None = None  # time, span, key
    resource: int = 0  # that it waits for
    keys: tuple[int, ...] = ()  # of its next WAIT
    hosts: bool = False  # it lends its thread to a loop
    modules: list[int] = field(default_factory=list)  # that it is importing

    def close(self, code: int, time: int, span: int, ring: int, keys: tuple[int, ...] = (), module: int = 0) -> None:
        """End its piece. Running on in the same span is one piece."""
        last = self.raw[-1] if self.raw else None
        same = last and last.end == self.since and (last.code, last.span, last.module) == (Code.RUN, span, module)
        if last and same and code == Code.RUN:
            self.raw[-1] = last._replace(end=time)
        elif time > self.since:
            self.raw.append(Raw(self.since, time, code, span, ring, keys, module))
        self.since = time


@dataclass(slots=True)
class Span:
    name: int
    parent: int
    actor: int
    begin: int


class Birth(NamedTuple):
    """How an actor became ready for the first time."""

    time: int
    code: int  # SPAWN, TIMER, SUBMIT
    by: int
    span: int
    more: int  # TIMER: its deadline; SUBMIT: its executor


class Resolution(NamedTuple):
    time: int
    by: int


class Resource(NamedTuple):
    kind: int
    name: int


@dataclass(slots=True)
class History:
    """Everything that the events of a program say."""

    actors: dict[int, Actor] = field(default_factory=dict)
    spans: dict[int, Span] = field(default_factory=dict)
    births: dict[int, Birth] = field(default_factory=dict)
    resolved: dict[int, Resolution] = field(default_factory=dict)  # futures, and actors that ended
    resources: dict[int, Resource] = field(default_factory=dict)
    rings: list["Ring"] = field(default_factory=list)
    start: int = 0
    work: int = 0  # when the program's own work began: its first span, task or thread
    end: int = 0
    events: int = 0

    def actor(self, id_: int, kind: int) -> Actor:
        found = self.actors.get(id_)
        if found is None:
            found = self.actors[id_] = Actor(id_, kind)
        return found


def read_history(events: Iterable[Event]) -> History:
    """One pass over all events, ring by ring."""
    history = History()
    rings: dict[int, Ring] = {}
    for event in events:
        if event.code in SAMPLES:
            continue
        history.events += 1
        history.start = min(history.start or event.time, event.time)
        history.end = max(history.end, event.time)
        if event.code == Code.THREAD or event.block not in rings:
            rings[event.block] = Ring(history, event)
        rings[event.block].take(event)
    return history


class Ring:
    """A thread while its events are read: who runs on top of whom, and how much CPU time it has used."""

    def __init__(self, history: History, first: Event) -> None:
        known = first.code == Code.THREAD  # else the beginning is lost
        actor = history.actor(first.key if known else -1 - first.block, first.arg if known else ActorKind.THREAD)
        actor.since = first.time
        self.history = history
        self.number = len(history.rings)
        self.stack = [actor]
        self.times: list[int] = []  # when its CPU time was read
        self.cpu: list[int] = []
        self.selected = (0, 0)  # its loop's last wait
        self.is_pool = False
        history.rings.append(self)

    def take(self, event: Event) -> None:
        if event.cpu:
            self.times.append(event.time)
            self.cpu.append(event.cpu)
        act = ACTS.get(event.code)
        if act:
            act(self, event)

    # ---- one method for each thing that can happen ----

    def run(self, event: Event) -> None:
        actor = self.history.actor(event.key, event.arg)
        if event.arg != ActorKind.CALLBACK:
            actor.kind = event.arg
        self.is_pool |= actor.kind == ActorKind.WORK
        self.label(event)
        if actor.suspended:
            start, span, key = actor.suspended
            code, keys = (Code.ACQUIRE, (actor.resource, key)) if actor.resource else (Code.SUSPEND, (key,))
            actor.raw.append(Raw(start, event.time, code, span, self.number, keys))
            actor.suspended = None
        elif not actor.selected[1]:
            actor.selected = self.selected if self.selected[1] else (event.time, event.time)
            birth = self.history.births.get(actor.id)
            if birth and birth.code != Code.TIMER:
                actor.raw.append(Raw(birth.time, event.time, birth.code, birth.span, self.number, (birth.more,)))
        actor.since = event.time
        self.stack.append(actor)

    def leave(self, time: int) -> None:
        """Whoever is on top gives the thread to the one below."""
        if len(self.stack) > 1:
            self.stack.pop()
            self.stack[-1].since = time

    def label(self, event: Event) -> None:
        actor = self.stack[-1]
        if actor.hosts:
            actor.since = event.time
        else:
            actor.close(Code.RUN, event.time, event.span, self.number)

    def span_begin(self, event: Event) -> None:
        self.label(event)
        self.began(event)
        self.history.spans[event.key] = Span(event.arg, event.more, self.stack[-1].id, event.time)

    def suspend(self, event: Event) -> None:
        self.label(event)
        self.stack[-1].suspended = (event.time, event.span, event.key)
        self.leave(event.time)

    def end(self, event: Event) -> None:
        self.label(event)
        actor = self.stack[-1].id
        self.history.resolved.setdefault(actor, Resolution(event.time, actor))
        self.leave(event.time)

    def host(self, event: Event) -> None:
        self.label(event)
        self.stack[-1].hosts = True

    def hosted(self, event: Event) -> None:
        self.stack[-1].hosts = False
        self.stack[-1].since = event.time

    def birth(self, event: Event) -> None:
        self.began(event)
        birth = Birth(event.time, event.code, self.stack[-1].id, event.span, event.more)
        self.history.births.setdefault(event.key, birth)

    def began(self, event: Event) -> None:
        self.history.work = min(self.history.work or event.time, event.time)

    def resolve(self, event: Event) -> None:
        self.history.resolved.setdefault(event.key, Resolution(event.time, self.stack[-1].id))

    def select(self, event: Event) -> None:
        self.selected = (event.more, event.time)

    def resource(self, event: Event) -> None:
        self.history.resources[event.key] = Resource(event.more & 0xFF, event.arg)

    def want(self, event: Event) -> None:
        self.label(event)
        self.stack[-1].resource = event.key

    def have(self, event: Event) -> None:
        """A task was suspended in between, or it did not wait; a thread was blocked."""
        actor = self.stack[-1]
        waited = event.time - actor.since > SOON and not (actor.raw and actor.raw[-1].code == Code.ACQUIRE)
        code = Code.ACQUIRE if waited else Code.RUN
        actor.close(code, event.time, event.span, self.number, (actor.resource, 0) if waited else ())
        actor.resource = 0

    def slept(self, event: Event) -> None:
        self.stack[-1].close(Code.SLEEP, event.time, event.span, self.number)

    def wait_for(self, event: Event) -> None:
        self.stack[-1].keys += (event.key,)

    def waited(self, event: Event) -> None:
        actor = self.stack[-1]
        code, keys = (Code.ACQUIRE, (actor.resource, 0)) if actor.resource else (Code.WAIT, actor.keys)
        actor.close(code, event.time, event.span, self.number, keys)
        actor.keys, actor.resource = (), 0

    def importing(self, event: Event) -> None:
        if not self.stack[-1].modules:
            self.label(event)
        self.stack[-1].modules.append(event.arg)

    def imported(self, event: Event) -> None:
        actor = self.stack[-1]
        module = actor.modules.pop() if actor.modules else 0
        if not actor.modules:
            actor.close(Code.RUN, event.time, event.span, self.number, (), module)


ACTS: dict[int, Callable[[Ring, Event], None]] = {
    Code.RUN: Ring.run,
    Code.SUSPEND: Ring.suspend,
    Code.END: Ring.end,
    Code.LABEL: Ring.label,
    Code.SPAN_BEGIN: Ring.span_begin,
    Code.SPAN_END: Ring.label,
    Code.SPAWN: Ring.birth,
    Code.TIMER: Ring.birth,
    Code.SUBMIT: Ring.birth,
    Code.RESOLVE: Ring.resolve,
    Code.SELECT: Ring.select,
    Code.HOST: Ring.host,
    Code.HOSTED: Ring.hosted,
    Code.RESOURCE: Ring.resource,
    Code.SLEEP: Ring.label,
    Code.SLEPT: Ring.slept,
    Code.WAIT_FOR: Ring.wait_for,
    Code.WAIT: Ring.label,
    Code.WAIT_EXECUTOR: Ring.want,
    Code.WAITED: Ring.waited,
    Code.IMPORT: Ring.importing,
    Code.IMPORTED: Ring.imported,
    **dict.fromkeys((Code.ACQUIRE, Code.GET, Code.PUT, Code.JOIN), Ring.want),
    **dict.fromkeys((Code.ACQUIRED, Code.NOT_ACQUIRED, Code.GOT, Code.NOT_GOT), Ring.have),
    **dict.fromkeys((Code.HAS_PUT, Code.NOT_PUT, Code.JOINED), Ring.have),
}
