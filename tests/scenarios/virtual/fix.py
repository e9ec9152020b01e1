"""What is fixed in a run; agents, run again with each fix; and scenarios, whose bottleneck is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import libperf
from libperf.testing import run_virtual, virtual_time


@dataclass(frozen=True)
class Fix:
    """The one thing that is better in this run; the program asks, and takes that much less time.

    >>> k = Fix("llm")
    >>> k("llm"), k("db"), k.capacity("llm", 4)
    (0.5, 1.0, 8)
    """

    name: str = ""
    factor: float = 0.5

    def __call__(self, *names: str) -> float:
        """By what to multiply the time of something that is done in these operations and locks."""
        return self.factor if self.name in names else 1.0

    def caches(self, name: str) -> bool:
        """Whether equal calls of a function are made once."""
        return self.name == name

    def capacity(self, name: str, number: int) -> int:
        """How many a semaphore lets in, or how many workers a queue has."""
        return round(number / self.factor) if self.name == name else number


AS_IT_IS = Fix()
Main = Callable[[Fix], Coroutine[Any, Any, object]]


@dataclass(frozen=True)
class Agent:
    """A program, and everything in it that can be fixed."""

    main: Main
    names: tuple[str, ...]

    def seconds(self, fix: Fix = AS_IT_IS) -> float:
        """How long it takes."""

        async def timed() -> float:
            now = asyncio.get_running_loop().time
            start = now()
            await self.main(fix)
            return now() - start

        return run_virtual(timed)

    def gains(self) -> dict[str, float]:
        """The truth: for each name the share of the time that is saved when it is fixed."""
        as_it_is = self.seconds()
        return {name: 1 - self.seconds(Fix(name)) / as_it_is for name in self.names}

    def analyze(self) -> libperf.Analysis:
        """What libperf says of one run."""
        with virtual_time(), libperf.Profiler() as profiler:
            self.seconds()
        return profiler.analyze()


@dataclass(frozen=True)
class Scenario(Agent):
    """An agent whose bottleneck is known, and what kind of bottleneck it is."""

    top: str
    category: str


SCENARIOS: dict[str, Scenario] = {}


def scenario(*names: str, top: str, category: str = "critical") -> Callable[[Main], Scenario]:
    """Make a scenario of `async def name(k: Fix)`; `names` are what can be fixed beside `top`."""

    def register(main: Main) -> Scenario:
        made = SCENARIOS[main.__name__] = Scenario(main, (top, *names), top, category)
        return made

    return register


async def call(k: Fix, name: str, seconds: float) -> None:
    """An operation that waits for somebody else's answer."""
    with libperf.span(name):
        await asyncio.sleep(seconds * k(name))
