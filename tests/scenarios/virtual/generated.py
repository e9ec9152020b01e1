"""Random agents: trees of operations in series and side by side, for one request or several at a time.

`generate(seed)` is the same agent for ever. Operations are of six kinds; two of them share a semaphore or a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import libperf
from libperf.testing import work

from .baselines import Span
from .fix import Agent, Fix

LOADS = ("one request", "burst", "open arrivals")
WAIT, CPU, BOTH, POOLED, LOCKED, STEPS = OPERATIONS = ("llm", "parse", "tool", "db", "store", "search")
POOL, LOCK = "db pool", "store lock"


@dataclass(frozen=True)
class Operation:
    name: str
    seconds: float


@dataclass(frozen=True)
class Group:
    parts: tuple[Tree, ...]
    parallel: bool


Tree = Operation | Group


@dataclass(frozen=True)
class Plan:
    requests: tuple[tuple[float, Tree], ...]  # when each comes, and what it does
    connections: int

    async def run(self, k: Fix, spans: list[Span] | None = None) -> None:
        await _Run(k, self.connections, [] if spans is None else spans).all(self.requests)


@dataclass(frozen=True)
class Generated(Agent):
    plan: Plan
    load: str

    def spans(self) -> list[Span]:
        """The spans of a run."""
        found: list[Span] = []
        Agent(partial(self.plan.run, spans=found), self.names).seconds()
        return found


def generate(seed: int) -> Generated:
    """Agent number `seed`; its load is one of the three in turn."""
    rng = random.Random(seed)
    load = LOADS[seed % 3]
    means = {name: rng.choice((0.2, 0.5, 1.0, 2.0)) for name in OPERATIONS}
    means[CPU], means[LOCKED] = rng.choices((0.05, 0.1, 0.2, 0.5), k=2)  # only one at a time has a turn
    shape = _tree(rng, means, depth=3)
    while len(_names(shape)) < 2:
        shape = _tree(rng, means, depth=3)
    number = 1 if load == "one request" else 6
    requests = tuple(_vary(shape, rng) for _ in range(number))
    gap = sum(means.values()) / number if load == "open arrivals" else 0.0
    starts = [0.0]
    for _ in requests[1:]:
        starts.append(starts[-1] + rng.expovariate(1 / gap) if gap else 0.0)
    names = sorted(_names(shape))
    resources = [resource for name, resource in ((POOLED, POOL), (LOCKED, LOCK)) if name in names]
    plan = Plan(tuple(zip(starts, requests, strict=True)), connections=rng.randint(1, 3))
    return Generated(plan.run, (*names, *resources), plan, load)


def _tree(rng: random.Random, means: dict[str, float], depth: int) -> Tree:
    kind = rng.random()
    if depth == 0 or kind < 0.2:
        name = rng.choice(OPERATIONS)
        return Operation(name, means[name])
    return Group(tuple(_tree(rng, means, depth - 1) for _ in range(rng.randint(2, 3))), parallel=kind > 0.6)


def _names(tree: Tree) -> set[str]:
    if isinstance(tree, Operation):
        return {tree.name}
    return set().union(*map(_names, tree.parts))


def _vary(tree: Tree, rng: random.Random) -> Tree:
    """The same tree with other durations, as the next request has."""
    if isinstance(tree, Operation):
        return Operation(tree.name, tree.seconds * rng.lognormvariate(0, 0.8))
    return Group(tuple(_vary(part, rng) for part in tree.parts), tree.parallel)


class _Run:
    """One run of an agent."""

    def __init__(self, k: Fix, connections: int, spans: list[Span]) -> None:
        self.k = k
        self.spans = spans
        self.pool = libperf.Semaphore(k.capacity(POOL, connections), name=POOL)
        self.lock = libperf.Lock(name=LOCK)

    @contextlib.contextmanager
    def span(self, name: str, parent: int) -> Iterator[int]:
        """A span of libperf's, and one of ours."""
        now = asyncio.get_running_loop().time
        number, begun = len(self.spans), Span(name, parent, now(), now())
        self.spans.append(begun)
        with libperf.span(name):
            yield number
        self.spans[number] = begun._replace(end=now())

    async def all(self, requests: tuple[tuple[float, Tree], ...]) -> None:
        now = asyncio.get_running_loop().time
        self.spans.append(root := Span("agent", -1, now(), now()))  # ours alone: to libperf, arriving is in no span
        await asyncio.gather(*[self.request(start, tree) for start, tree in requests])
        self.spans[0] = root._replace(end=now())

    async def request(self, start: float, tree: Tree) -> None:
        if start:
            await asyncio.sleep(start)
        with self.span("request", 0) as request:
            await self.run(tree, request)

    async def run(self, tree: Tree, parent: int) -> None:
        if isinstance(tree, Operation):
            with self.span(tree.name, parent):
                await self.operation(tree.name, tree.seconds)
        elif tree.parallel:
            await asyncio.gather(*[self.run(part, parent) for part in tree.parts])
        else:
            for part in tree.parts:
                await self.run(part, parent)

    async def operation(self, name: str, seconds: float) -> None:
        seconds *= self.k(name)
        if name == WAIT:
            await asyncio.sleep(seconds)
        elif name == CPU:
            work(seconds)
        elif name == BOTH:
            await asyncio.sleep(0.8 * seconds)
            work(0.2 * seconds)
        elif name == POOLED:
            async with self.pool:
                await asyncio.sleep(seconds)
        elif name == LOCKED:
            async with self.lock:
                await asyncio.sleep(seconds * self.k(LOCK))
        elif name == STEPS:
            for _ in range(4):
                await asyncio.sleep(seconds / 4)
