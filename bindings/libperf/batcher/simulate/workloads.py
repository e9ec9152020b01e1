"""What arrives, and how long it takes: seeded, so that every policy meets the same items at the same moments.

Times are integers of nanoseconds, as the queue's; what a caller says is in seconds.
"""

from dataclasses import dataclass, field

from .chance import Chance

__all__ = [
    "NEVER", "Agents", "Batches", "Cost", "Trace", "bursts", "in_classes", "in_time", "ns", "poisson", "trickle",
    "weighted", "with_faults",
]  # fmt: skip

NEVER = 2**64 - 1


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


@dataclass(frozen=True)
class Cost:
    """What a batch takes: T(n) = base + each * n seconds, times a lognormal error of mean 1."""

    base: float
    each: float
    variation: float = 0.1
    slow: float = 0.0  # share of batches that take ten times as long

    def time(self, size: float) -> float:
        return self.base + self.each * size

    def capacity(self, most: int, slots: int = 1) -> float:
        """Items per second, at most."""
        return slots * most / self.time(most)

    def known(self, size: float) -> int:
        return ns(self.time(size))


class Batches:
    """How long each batch takes, one after another."""

    def __init__(self, cost: Cost, seed: int) -> None:
        self.cost = cost
        self._error, self._slow = Chance(seed, "service"), Chance(seed, "slow")

    def time(self, size: int) -> int:
        cost = self.cost
        taken = cost.base + cost.each * size
        if cost.variation:
            taken *= self._error.lognormal(1.0, cost.variation)
        if cost.slow and self._slow.uniform() < cost.slow:
            taken *= 10.0
        return ns(taken)


@dataclass
class Trace:
    """Items in order of their arrival. Lists are by item; an empty one: all have the default."""

    name: str
    seed: int
    times: list[int]
    within: list[int] = field(default_factory=list)  # the result is wanted so long after arrival; 0: whenever
    priorities: list[int] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    poison: set[int] = field(default_factory=set)  # a batch with one of these fails
    patience: dict[int, int] = field(default_factory=dict)  # the submitter leaves so long after arrival

    @property
    def items(self) -> int:
        return len(self.times)

    def deadline(self, item: int) -> int:
        """When its result is wanted; 0: whenever."""
        within = self.within[item] if self.within else 0
        return self.times[item] + within if within else 0


# ---- arrivals that wait for nobody ----


def poisson(rate: float, items: int, seed: int) -> Trace:
    """Each moment as likely as the other: `rate` items a second."""
    chance, now, times = Chance(seed, "arrivals"), 0.0, list[int]()
    for _ in range(items):
        now += chance.exponential(1.0 / rate)
        times.append(ns(now))
    return Trace("poisson", seed, times)


def bursts(rate: float, items: int, seed: int) -> Trace:
    """A Poisson process that changes its rate (MMPP-2): three times the mean for 0.2 s, half of it for 0.8 s."""
    chance, now, times = Chance(seed, "arrivals"), 0.0, list[int]()
    high, change = False, chance.exponential(0.8)
    while len(times) < items:
        now += chance.exponential(1.0 / (rate * (3.0 if high else 0.5)))
        if now >= change:  # what came after the change is drawn again: the process has no memory
            now, high = change, not high
            change += chance.exponential(0.2 if high else 0.8)
        else:
            times.append(ns(now))
    return Trace("bursts", seed, times)


def trickle(gap: float, items: int, seed: int) -> Trace:
    """One item every `gap` seconds: just below the longest wait, it shows whose clock starts when."""
    return Trace("trickle", seed, [ns(gap * (number + 1)) for number in range(items)])


# ---- what items are like ----


def in_time(trace: Trace, within: float) -> Trace:
    """All results are wanted within so many seconds."""
    trace.within = [ns(within)] * trace.items
    return trace


def in_classes(trace: Trace, urgent: float = 0.7, within: tuple[float, float] = (0.1, 1.0)) -> Trace:
    """High priority for a share, low for the rest, each with its deadline (0: none)."""
    chance = Chance(trace.seed, "classes")
    high = [chance.uniform() < urgent for _ in trace.times]
    trace.priorities = [1 if it else 3 for it in high]
    trace.within = [ns(within[0] if it else within[1]) for it in high]
    return trace


def weighted(trace: Trace, mean: float, variation: float) -> Trace:
    """Tokens: mostly few, sometimes very many (lognormal)."""
    chance = Chance(trace.seed, "weights")
    trace.weights = [max(1, round(chance.lognormal(mean, variation))) for _ in trace.times]
    return trace


def with_faults(trace: Trace, poison: float = 0.01, leaving: float = 0.05, after: float = 0.03) -> Trace:
    """Shares of items that fail their batch, and whose submitters leave (`after`: seconds in the mean)."""
    chance = Chance(trace.seed, "faults")
    for item in range(trace.items):
        if chance.uniform() < poison:
            trace.poison.add(item)
        if chance.uniform() < leaving:
            trace.patience[item] = ns(chance.exponential(after))
    return trace


# ---- arrivals that wait for results ----


@dataclass
class Agents(Trace):
    """Clients that submit some items at once, wait for all of them, think, and go on. One item and no thinking: a
    closed loop."""

    clients: int = 1
    fan: tuple[int, int] = (1, 1)  # items at once: from, to
    think: float = 0.0  # seconds in the mean
    total: int = 0

    def __post_init__(self) -> None:
        self._chance = Chance(self.seed, "agents")
        self._waiting = [0] * self.clients
        self._client_of: list[int] = []

    def begin(self) -> list[tuple[int, int]]:
        """When each client comes first: (time, client)."""
        return [(self._pause(), client) for client in range(self.clients)]

    def arrive(self, client: int, now: int) -> range:
        """Its next items; none when all have come."""
        first, (least, most) = len(self.times), self.fan
        count = min(least + self._chance.below(most - least + 1), self.total - first)
        self.times += [now] * count
        self._client_of += [client] * count
        self._waiting[client] = count
        return range(first, first + count)

    def resolved(self, item: int, now: int) -> tuple[int, int] | None:
        """When its client comes again, if that was the last item it waited for."""
        client = self._client_of[item]
        self._waiting[client] -= 1
        if self._waiting[client] or len(self.times) >= self.total:
            return None
        return now + self._pause(), client

    def _pause(self) -> int:
        return ns(self._chance.exponential(self.think)) if self.think else 0
