"""Programs in virtual time, and their analyses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import libperf
from libperf.testing import run_virtual, virtual_time

Main = Callable[[], Coroutine[Any, Any, object]]


def analysed(main: Main) -> libperf.Analysis:
    """What libperf says of one run; every duration is exact."""
    with virtual_time(), libperf.Profiler() as profiler:
        run_virtual(main)
    return profiler.analyze()


async def call(name: str, seconds: float, kind: str | libperf.Kind = "span") -> None:
    """An operation that waits for somebody else's answer."""
    with libperf.span(name, kind=kind):
        await asyncio.sleep(seconds)


async def chain() -> None:
    """A for 1 s, B for 3 s, C for 1 s."""
    await call("A", 1)
    await call("B", 3, "llm")
    await call("C", 1, "tool")


async def saturated() -> None:
    """Ten calls of 1 s, one at a time."""
    db = libperf.Semaphore(1, name="db")

    async def query() -> None:
        async with db:
            await call("query", 1)

    await asyncio.gather(*[query() for _ in range(10)])


async def hand_over() -> None:
    """Four tasks, one behind the other; each holds the lock for 1 s."""
    journal = libperf.Lock("journal")

    async def write() -> None:
        async with journal:
            await asyncio.sleep(1)

    await asyncio.gather(*[write() for _ in range(4)])


async def one_worker() -> None:
    """Four jobs of 1 s."""
    jobs: libperf.Queue[float] = libperf.Queue(name="jobs")

    async def worker() -> None:
        while True:
            await call("job", await jobs.get())
            jobs.task_done()

    task = asyncio.create_task(worker())
    for _ in range(4):
        jobs.put_nowait(1)
    await jobs.join()
    task.cancel()


async def one_slot_in_half_a_second() -> None:
    """Six calls that begin at 0, 0.5, … 2.5 s whenever they come, then take 0.2 s."""
    next_slot = 0.0

    async def fetch(number: int) -> None:
        nonlocal next_slot
        now = asyncio.get_running_loop().time
        await asyncio.sleep(0.01 * number)
        with libperf.span("gate"):
            slot = max(now(), next_slot)
            next_slot = slot + 0.5
            await asyncio.sleep(slot - now())
        await call("fetch", 0.2)

    await asyncio.gather(*[fetch(number) for number in range(6)])
