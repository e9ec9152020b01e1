"""What others do, as policies for the same arrivals: the rules alone, with perfect knowledge where they need any.

They keep items in order of arrival, take no notice of priorities and weights, and resolve nobody early unless their rule
says so.
"""

from collections import deque
from collections.abc import Iterable

from .engine import Batch
from .workloads import NEVER, Cost, Trace, ns

__all__ = [
    "Bounded", "Cork", "DropExpired", "DropHopeless", "EarlyDrop", "Lifo", "Shrink", "Wait", "control_limit",
    "full_only", "greedy", "window",
]  # fmt: skip


class Wait:
    """A batch goes when a slot is free and `least` items wait, or the oldest has waited `longest` ns."""

    drains = True

    def __init__(
        self, trace: Trace, name: str, most: int, slots: int = 1, least: int = 1, longest: int = NEVER
    ) -> None:
        self.name = name
        self.trace, self.most, self.slots, self.least, self.longest = trace, most, slots, least, longest
        self.queue = deque[int]()
        self.running = 0
        self.gone = list[int]()
        self.closed = False

    def submit(self, item: int, now: int) -> bool:
        self.queue.append(item)
        return True

    def cancel(self, item: int, now: int) -> bool:
        """While it runs as well: its place in the batch stays."""
        if item in self.queue:
            self.queue.remove(item)
        return True

    def take(self, now: int) -> Batch | None:
        if self.running >= self.slots or not self.queue:
            return None
        count = self.count(now)
        if not count:
            return None
        self.running += 1
        return Batch([self.next() for _ in range(count)])

    def count(self, now: int) -> int:
        """How many go now."""
        waiting = len(self.queue)
        if waiting < self.least and not self.closed and now < self.trace.times[self.queue[0]] + self.longest:
            return 0
        return min(waiting, self.most)

    def next(self) -> int:
        return self.queue.popleft()

    def done(self, batch: Batch, failed: bool, now: int) -> Iterable[int]:
        self.running -= 1
        return ()

    def dropped(self, now: int) -> Iterable[int]:
        gone, self.gone = self.gone, []
        return gone

    def wake(self, now: int) -> int:
        if self.gone:
            return now
        if self.longest == NEVER or self.running >= self.slots or not self.queue:
            return NEVER
        return self.trace.times[self.queue[0]] + self.longest

    def close(self) -> None:
        self.closed = True


def greedy(trace: Trace, most: int, slots: int = 1, name: str = "greedy") -> Wait:
    """Whatever is there, as soon as a slot is free: first in, first out, nobody is dropped."""
    return Wait(trace, name, most, slots)


def control_limit(trace: Trace, most: int, least: int) -> Wait:
    """The shape of the optimum for one slot: not before `least` items are there, however long it takes."""
    return Wait(trace, f"limit {least}", most, 1, least)


def window(trace: Trace, most: int, slots: int, longest: float) -> Wait:
    """Full, or the oldest has waited so many seconds: what most libraries do."""
    return Wait(trace, f"window {longest * 1e3:.0f} ms", most, slots, most, ns(longest))


def full_only(trace: Trace, most: int, slots: int = 1) -> Wait:
    return Wait(trace, "full only", most, slots, most)


class Cork(Wait):
    """BentoML's rule: wait another millisecond while that costs less than usual, by the mean wait of 50 batches."""

    TICK = ns(0.001)

    def __init__(self, trace: Trace, most: int, slots: int, cost: Cost) -> None:
        super().__init__(trace, "cork", most, slots)
        self.each = ns(cost.each)
        self.waits = deque[int](maxlen=50)
        self.mean = 0.0

    def count(self, now: int) -> int:
        waiting, times = len(self.queue), self.trace.times
        newest = now - times[self.queue[-1]]
        if waiting < self.most and waiting * (newest + self.TICK + self.each) <= 0.95 * self.mean and not self.closed:
            return 0
        self.waits.append(now - times[self.queue[0]])
        self.mean = sum(self.waits) / len(self.waits)
        return min(waiting, self.most)

    def wake(self, now: int) -> int:
        return NEVER if self.running >= self.slots or not self.queue else now + self.TICK


class Lifo(Wait):
    """The newest first: good under overload, and unfair to whoever came before."""

    def __init__(self, trace: Trace, most: int, slots: int = 1) -> None:
        super().__init__(trace, "last in first", most, slots)

    def next(self) -> int:
        return self.queue.pop()


class Bounded(Wait):
    """What comes when so many wait is turned away."""

    def __init__(self, trace: Trace, most: int, slots: int, bound: int) -> None:
        super().__init__(trace, f"bound {bound}", most, slots)
        self.bound = bound

    def submit(self, item: int, now: int) -> bool:
        return len(self.queue) < self.bound and super().submit(item, now)


class DropExpired(Wait):
    """Before a batch is formed, the oldest are dropped while their deadline has passed."""

    label = "drop expired"

    def __init__(self, trace: Trace, most: int, slots: int, cost: Cost) -> None:
        super().__init__(trace, self.label, most, slots)
        self.cost = cost

    def count(self, now: int) -> int:
        while self.queue and self.hopeless(self.queue[0], now):
            self.gone.append(self.queue.popleft())
        return min(len(self.queue), self.most)

    def hopeless(self, item: int, now: int) -> bool:
        return self.trace.deadline(item) < now


class DropHopeless(DropExpired):
    """As well those who could not be in time in a batch of their own (a tenth is added to its time)."""

    label = "drop hopeless"

    def hopeless(self, item: int, now: int) -> bool:
        return self.trace.deadline(item) < now + 1.1 * self.cost.known(1)


class EarlyDrop(DropExpired):
    """Those who could not be in time in the batch that would be formed: the rule of our queue, with true times."""

    label = "early drop, known times"

    def hopeless(self, item: int, now: int) -> bool:
        return self.trace.deadline(item) < now + 1.1 * self.cost.known(min(len(self.queue), self.most))


class Shrink(DropHopeless):
    """The batch gets smaller until its oldest item is in time: looks right, and ruins the capacity."""

    label = "shrink"

    def count(self, now: int) -> int:
        count = super().count(now)
        while count > 1 and self.trace.deadline(self.queue[0]) < now + 1.1 * self.cost.known(count):
            count -= 1
        return count
