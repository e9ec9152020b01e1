"""The least mean latency that any rule can have with one slot and Poisson arrivals; with a price on calls, too.

A semi-Markov decision process: n items wait and the slot is free; either wait for one more, or serve min(n, most). It is
solved by policy iteration (Howard): solve for the gain and the relative values of a rule, take in every state what is
better, again until nothing changes. That the best rule is a control limit (serve from so many on; Deb and Serfozo,
1973) is not used, so it comes out as a check. Linear algebra in plain Python: some 150 states, a tenth of a second.
"""

import math
from dataclasses import dataclass
from operator import mul

from .workloads import Cost

__all__ = ["Optimum", "closed_form", "evaluate", "optimum", "pareto_front"]

STATES = {0.6: 96, 1.0: 160}  # up to that load


@dataclass(frozen=True)
class Optimum:
    """What a rule comes to in the long run. `limit`: a batch goes from so many items on."""

    limit: int
    latency: float  # seconds in the mean, service included
    calls: float  # by item


class _Process:
    def __init__(self, rate: float, cost: Cost, most: int, states: int | None) -> None:
        """In state n, n items wait. Beyond `states` nobody comes: far enough out that it does not matter."""
        load = rate / cost.capacity(most)
        if not 0 < load < 1:
            raise ValueError(f"a load of {load:.2f}: it must be above 0 and below 1")
        enough = states or next(count for up_to, count in STATES.items() if load <= up_to)
        self.rate, self.most, self.states = rate, most, max(enough, 2 * most)
        size = range(self.states + 1)
        self.next = [list[float]() for _ in size]  # chances of the states after serving
        self.time, self.waiting = [0.0] * len(size), [0.0] * len(size)  # until then; item-seconds until then
        for n in size[1:]:
            served = min(n, most)
            taken, left = cost.time(served), n - served
            # the error has mean 1: only its square is larger than one
            square = taken * taken * (1 + cost.variation**2)
            self.time[n], self.waiting[n] = taken, n * taken + rate * square / 2
            come = _poisson(rate * taken, cost.variation, self.states - left)
            self.next[n] = [0.0] * left + come

    def solve(self, limit: int, price: float) -> tuple[float, float, list[float]]:
        """Of the rule that serves from `limit` on: mean number in the system, calls per second, relative values (with
        `price` item-seconds a call)."""
        reference = self._often(limit)
        order = [n for n in range(self.states + 1) if n != reference]
        rows = [self._row(n, limit, price) for n in order]
        matrix = [[*(-value for value in self._drop(row, reference)), *ends] for row, ends in rows]
        for position, row in enumerate(matrix):
            row[position] += 1.0
        columns = _eliminate(matrix)  # [costs, times, calls] until `reference` is reached, from each state
        row, ends = self._row(reference, limit, price)
        chances = self._drop(row, reference)
        total = [end + sum(map(mul, chances, column)) for end, column in zip(ends, columns, strict=True)]
        cost, time, calls = total
        gain = cost / time
        values = [value - gain * spent for value, spent in zip(columns[0], columns[1], strict=True)]
        values.insert(reference, 0.0)
        return gain - price * calls / time, calls / time, values

    def better(self, limit: int, price: float, gain: float, values: list[float]) -> int:
        """The least number from which on serving is no worse than waiting for one more."""
        for n in range(1, self.most):
            serve = self.waiting[n] + price - gain * self.time[n] + sum(map(mul, self.next[n], values))
            wait = (n - gain) / self.rate + values[n + 1]
            if serve <= wait + 1e-12 * abs(wait):
                return n
        return self.most

    def _row(self, n: int, limit: int, price: float) -> tuple[list[float], list[float]]:
        """Chances of what comes next, and [cost, time, calls] until then."""
        if n >= limit:
            return self.next[n], [self.waiting[n] + price, self.time[n], 1.0]
        row = [0.0] * (self.states + 1)
        row[n + 1] = 1.0
        return row, [n / self.rate, 1 / self.rate, 0.0]

    @staticmethod
    def _drop(row: list[float], reference: int) -> list[float]:
        return row[:reference] + row[reference + 1 :]

    def _often(self, limit: int) -> int:
        """A state that is seen often: what waits after a batch of as many, or where the rule stops waiting."""
        n = 1
        for _ in range(100):
            n = max(1, min(self.most, round(self.rate * self.time[n])))
        return max(n, limit)


def _poisson(mean: float, variation: float, most: int) -> list[float]:
    """Chances of 0, 1, ... arrivals in a time of this mean; whatever is above `most` counts as that. A lognormal time is
    taken at nine points of equal weight (the middles of ninths)."""
    means = [mean]
    if variation:
        square = math.log(1 + variation * variation)
        factors = [math.exp(math.sqrt(square) * z - square / 2) for z in NINTHS]
        even = sum(factors) / len(factors)
        means = [mean * factor / even for factor in factors]
    found = [0.0] * (most + 1)
    for each in means:
        log, left = math.log(each), 1.0
        for k in range(most):
            chance = math.exp(k * log - each - math.lgamma(k + 1))
            found[k] += chance / len(means)
            left -= chance
        found[most] += max(left, 0.0) / len(means)
    return found


NINTHS = (-1.5932, -0.9674, -0.5895, -0.2822, 0.0, 0.2822, 0.5895, 0.9674, 1.5932)  # of the normal distribution


def _eliminate(matrix: list[list[float]]) -> list[list[float]]:
    """Solve by Gauss; the last three columns are right sides. No pivoting: an M-matrix needs none."""
    size = len(matrix)
    for position in range(size):
        pivot = matrix[position]
        head = pivot[position]
        tail = pivot[position:] = [value / head for value in pivot[position:]]
        for row in matrix[position + 1 :]:
            if factor := row[position]:
                row[position:] = [value - factor * of for value, of in zip(row[position:], tail, strict=True)]
    columns = []
    for side in range(3):
        found = [0.0] * size
        for position in reversed(range(size)):
            row = matrix[position]
            rest = sum(map(mul, row[position + 1 : size], found[position + 1 :]))
            found[position] = row[size + side] - rest
        columns.append(found)
    return columns


def evaluate(rate: float, cost: Cost, most: int, limit: int, price: float = 0.0, states: int | None = None) -> Optimum:
    """One control limit; 1: a batch goes as soon as the slot is free."""
    inside, calls, _ = _Process(rate, cost, most, states).solve(limit, price)
    return Optimum(limit, inside / rate, calls / rate)


def optimum(rate: float, cost: Cost, most: int, price: float = 0.0, states: int | None = None) -> Optimum:
    """The best rule. `price`: seconds of one item's waiting that a call less is worth."""
    process = _Process(rate, cost, most, states)
    return _improve(process, price, 1)


def _improve(process: _Process, price: float, limit: int) -> Optimum:
    for _ in range(process.most):
        inside, calls, values = process.solve(limit, price)
        best = process.better(limit, price, inside + price * calls, values)
        if best == limit:
            break
        limit = best
    return Optimum(limit, inside / process.rate, calls / process.rate)


def pareto_front(rate: float, cost: Cost, most: int, prices: list[float], states: int | None = None) -> list[Optimum]:
    """Mean latency against calls: no rule is below and left of it. One point a price."""
    process = _Process(rate, cost, most, states)
    found, limit = list[Optimum](), 1
    for price in prices:
        found.append(_improve(process, price, limit))
        limit = found[-1].limit
    return found


def closed_form(rate: float, cost: Cost) -> float:
    """No bound on batches, a batch goes as soon as the slot is free: the mean latency is at most this, and hardly less
    (Inoue, Performance Evaluation 2021; a service without error)."""
    a, b = cost.base, cost.each
    busy = rate * b
    short = (b + a) / (2 * (1 - busy)) * (1 + 2 * rate * a + (1 - rate * a) / (1 + busy))
    long = 1.5 * a / (1 - busy) + (b / 2) * (busy + 2) / (1 - busy * busy)
    return min(short, long)
