"""Plays what arrives to a policy, moment by moment, and writes down what becomes of every item.

What happens next is the earliest of: the next arrival, the next event (a batch ends, a client comes back, a submitter
leaves), the moment that the policy asked to be called at. After each the policy is asked for batches. An item that
ends twice, one that never ends, a policy that asks for attention and does nothing: SimulationError.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from typing import Any, NamedTuple, Protocol

from .workloads import NEVER, Agents, Batches, Cost, Trace

__all__ = ["Batch", "Fate", "Policy", "Run", "SimulationError", "simulate"]


class SimulationError(AssertionError):
    """A policy lost an item, or resolved one twice."""


class Fate(IntEnum):
    """What became of an item."""

    PENDING = 0
    DONE = 1
    FAILED = 2
    CANCELLED = 3
    DROPPED = 4
    REJECTED = 5


class Batch(NamedTuple):
    """What a policy hands out. `handle` is the policy's own."""

    items: list[int]
    handle: Any = None


class Policy(Protocol):
    """Who goes into which batch, and when. Times are in ns; items are numbers of the trace."""

    name: str
    drains: bool  # it may keep the last items for ever: close() is called then

    def submit(self, item: int, now: int) -> bool:
        """False: it does not take this item."""

    def cancel(self, item: int, now: int) -> bool:
        """False: it does not know this item any more."""

    def take(self, now: int) -> Batch | None:
        """A batch that begins now."""

    def done(self, batch: Batch, failed: bool, now: int) -> Iterable[int]:
        """The batch ended. Which of its items come back in another one?"""

    def dropped(self, now: int) -> Iterable[int]:
        """Items that it has given up since."""

    def wake(self, now: int) -> int:
        """When it wants to be called even if nothing happens."""

    def close(self) -> None:
        """Nothing arrives any more."""


@dataclass
class Run:
    """What came of it."""

    trace: Trace
    policy: Policy
    fates: list[Fate]
    taken: list[int]  # when it was last put into a batch; 0: never
    ended: list[int]
    sizes: list[int]  # of the batches, in order
    until: int  # when the last item ended
    area: int  # number of items in the system, over time, in item-ns


class _Kind(IntEnum):
    END = 0  # before arrivals of the same moment
    LEAVE = 1
    COME = 2


class _Simulation:
    def __init__(self, trace: Trace, policy: Policy, batches: Batches) -> None:
        self.trace, self.policy, self.batches = trace, policy, batches
        self.agents = trace if isinstance(trace, Agents) else None
        count = trace.total if isinstance(trace, Agents) else trace.items
        self.fates = [Fate.PENDING] * count
        self.taken, self.ended = [0] * count, [0] * count
        self.sizes = list[int]()
        self.events = list[tuple[int, _Kind, int, Any]]()
        self.inside = self.area = self.sequence = 0

    def run(self) -> Run:
        times, events, before, wake, position = self.trace.times, self.events, 0, NEVER, 0
        end, closed = 0 if self.agents else len(times), False
        for time, client in self.agents.begin() if self.agents else ():
            self._later(time, _Kind.COME, client)
        while True:
            arrival = times[position] if position < end else NEVER
            event = events[0][0] if events else NEVER
            now = min(arrival, event, wake)
            if now == NEVER:
                if not (self.inside and self.policy.drains) or closed:
                    break
                now, closed = before, True
                self.policy.close()
            self.area += self.inside * (now - before)
            before = now
            if event == now:
                self._happen(heappop(events), now)
            elif arrival == now:
                self._submit(position, now)
                position += 1
            wake = self._take(now)
        if self.inside:
            raise SimulationError(f"{self.policy.name}: {self.inside} items never ended")
        until = max(self.ended, default=0)
        return Run(self.trace, self.policy, self.fates, self.taken, self.ended, self.sizes, until, self.area)

    # ---- what happens ----

    def _later(self, time: int, kind: _Kind, what: Any) -> None:
        self.sequence += 1
        heappush(self.events, (time, kind, self.sequence, what))

    def _happen(self, event: tuple[int, _Kind, int, Any], now: int) -> None:
        _, kind, _, what = event
        if kind is _Kind.END:
            self._done(what, now)
        elif kind is _Kind.COME:
            assert self.agents
            for item in self.agents.arrive(what, now):
                self._submit(item, now)
        elif self.fates[what] is Fate.PENDING and self.policy.cancel(what, now):
            self._end(what, Fate.CANCELLED, now)

    def _submit(self, item: int, now: int) -> None:
        self.inside += 1
        if not self.policy.submit(item, now):
            self._end(item, Fate.REJECTED, now)
        elif self.trace.patience and item in self.trace.patience:
            self._later(now + self.trace.patience[item], _Kind.LEAVE, item)

    def _take(self, now: int) -> int:
        """Batches that begin now, and items given up; returns when to call again."""
        policy = self.policy
        for _ in range(10_000):
            busy = False
            while batch := policy.take(now):
                busy = True
                self._begin(batch, now)
            wake = policy.wake(now)
            if wake > now:
                return wake
            for item in policy.dropped(now):
                busy = True
                self._end(item, Fate.DROPPED, now)
            if not busy:
                raise SimulationError(f"{policy.name} wants to be called at once at {now}, and does nothing")
        raise SimulationError(f"{policy.name} finds no rest at {now}")

    def _begin(self, batch: Batch, now: int) -> None:
        weights, taken = self.trace.weights, self.taken
        for item in batch.items:
            taken[item] = now
        self.sizes.append(len(batch.items))
        size = sum(weights[item] for item in batch.items) if weights else len(batch.items)
        self._later(now + self.batches.time(size), _Kind.END, batch)

    def _done(self, batch: Batch, now: int) -> None:
        poison = self.trace.poison
        failed = bool(poison) and not poison.isdisjoint(batch.items)
        again = set(self.policy.done(batch, failed, now))
        fate, fates = Fate.FAILED if failed else Fate.DONE, self.fates
        for item in batch.items:
            if fates[item] is Fate.PENDING and item not in again:
                self._end(item, fate, now)

    def _end(self, item: int, fate: Fate, now: int) -> None:
        if self.fates[item] is not Fate.PENDING:
            raise SimulationError(
                f"{self.policy.name}: item {item} was {self.fates[item].name}, and is {fate.name} now"
            )
        self.fates[item] = fate
        self.ended[item] = now
        self.inside -= 1
        if self.agents and (again := self.agents.resolved(item, now)):
            self._later(again[0], _Kind.COME, again[1])


def simulate(trace: Trace, policy: Policy, cost: Cost) -> Run:
    """The same trace, cost and policy: the same run."""
    return _Simulation(trace, policy, Batches(cost, trace.seed)).run()
