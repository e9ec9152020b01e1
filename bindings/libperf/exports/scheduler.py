"""What scheduler events say over time: whose turn it was on each thread, and how much memory the process had."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..events import ActorKind, Code, Event

__all__ = ["Memory", "Turn", "read_turns"]

KINDS = {kind.value: kind.name.lower() for kind in ActorKind}


class Turn(NamedTuple):
    """An actor (a task, a callback, …) had the thread. Those of one ring do not overlap, and come in order."""

    block: int
    start: int
    end: int
    actor: int
    kind: str  # "task", "callback", "timer", "io", "work"
    span: int  # that was current in the end; 0: none


class Memory(NamedTuple):
    """The process's resident memory."""

    time: int
    bytes: int


class Ring:
    """A thread: who lies on top of whom. At the bottom is the thread itself, whose own turns are left out."""

    def __init__(self) -> None:
        self.stack: list[tuple[int, int]] = []  # actors and their kinds
        self.since = 0

    def turn(self, event: Event) -> Iterator[Turn]:
        """The one that ends here."""
        if self.stack and event.time > self.since:
            actor, kind = self.stack[-1]
            yield Turn(event.block, self.since, event.time, actor, KINDS.get(kind, "actor"), event.span)
        self.since = event.time


def read_turns(events: Iterable[Event]) -> Iterator[Turn | Memory]:
    """One pass over the events."""
    rings: dict[int, Ring] = {}
    for event in events:
        code = event.code
        if code == Code.MEMORY:
            yield Memory(event.time, event.more)
            continue
        if code not in (Code.RUN, Code.SUSPEND, Code.END, Code.THREAD):
            continue
        ring = rings.setdefault(event.block, Ring())
        yield from ring.turn(event)
        if code == Code.RUN:
            ring.stack.append((event.key, event.arg))
        elif code == Code.THREAD:
            ring.stack.clear()
        elif ring.stack:
            ring.stack.pop()
