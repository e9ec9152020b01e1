"""Semaphores, locks, limits and queues: what costs time is waiting for a turn.

Under each of them are two operations or more, so that none of these gains as much as the resource.
"""

from __future__ import annotations

import asyncio
import random

import libperf

from .fix import Fix, call, scenario


@scenario("query", "fetch", "answer", top="db", category="saturated")
async def saturated(k: Fix) -> None:
    """Ten at once through a pool of one connection, which is busy nearly all the time."""
    db = libperf.Semaphore(k.capacity("db", 1), name="db")

    async def lookup() -> None:
        async with db:
            await call(k, "query", 0.06)
            await call(k, "fetch", 0.04)

    await asyncio.gather(*[lookup() for _ in range(10)])
    await call(k, "answer", 0.2)


POOLED = ("tokenize", "embed", "prompt", "complete")


@scenario(*POOLED, top="llm pool", category="saturated")
async def open_arrivals(k: Fix) -> None:
    """Requests come whether or not earlier ones are done, and keep a shared pool of two busy at nine tenths."""
    await sum_of_latencies(k)


async def sum_of_latencies(k: Fix) -> float:
    """Open arrivals, and how long the requests took together."""
    pool = libperf.Semaphore(k.capacity("llm pool", 2), name="llm pool")
    arrivals = random.Random(23)
    now = asyncio.get_running_loop().time

    async def request() -> float:
        start = now()
        with libperf.span("request", kind="request"):
            async with pool:
                for name in POOLED:
                    await call(k, name, 0.09)
        return now() - start

    requests = []
    for _ in range(40):
        await asyncio.sleep(arrivals.expovariate(0.9 * 2 / 0.36))
        requests.append(asyncio.create_task(request()))
    return sum(await asyncio.gather(*requests))


@scenario("complete", "prompt", "think", "plan", top="llm slots", category="undersized")
async def undersized(k: Fix) -> None:
    """Three at once, again and again, where two are let in: mostly idle, but one place more would help."""
    slots = libperf.Semaphore(k.capacity("llm slots", 2), name="llm slots")

    async def ask() -> None:
        async with slots:
            await call(k, "prompt", 0.12)
            await call(k, "complete", 0.18)

    for _ in range(5):
        await call(k, "plan", 0.25)
        await asyncio.gather(ask(), ask(), ask())
        await call(k, "think", 0.25)


@scenario("write", "sync", "search", "read", "judge", top="journal", category="convoy")
async def convoy(k: Fix) -> None:
    """A lock that is free more than half of the time; but all come for it at the same moment."""
    journal = libperf.Lock(name="journal")

    async def step() -> None:
        for name in ("search", "read", "judge"):
            await call(k, name, 0.25)
        async with journal:
            for name, seconds in (("write", 0.05), ("sync", 0.03)):
                with libperf.span(name):
                    await asyncio.sleep(seconds * k(name, "journal"))

    for _ in range(5):
        await asyncio.gather(*[step() for _ in range(8)])


@scenario("call", "answer", top="rate limit in call", category="rate-limited")
async def rate_limit(k: Fix) -> None:
    """One call a second: each takes the next free slot, and sleeps until then."""
    gap = 1.0 * k("rate limit in call")
    next_slot = 0.0

    async def limited() -> None:
        nonlocal next_slot
        with libperf.span("call"):
            now = asyncio.get_running_loop().time()
            slot = max(next_slot, now)
            next_slot = slot + gap
            await asyncio.sleep(slot - now)
            await asyncio.sleep(0.4 * k("call"))

    await asyncio.gather(*[limited() for _ in range(10)])
    await call(k, "answer", 1.0)


@scenario("call", "answer", top="rate gate", category="rate-limited")
async def rate_gate(k: Fix) -> None:
    """A lock that is held for nothing but a pause: five calls a second, however fast they are."""
    gate = libperf.Lock(name="rate gate")

    async def limited() -> None:
        async with gate:
            await asyncio.sleep(0.2 * k("rate gate"))
        await call(k, "call", 0.4)

    await asyncio.gather(*[limited() for _ in range(10)])
    await call(k, "answer", 0.3)


@scenario("load", "store", "report", top="jobs", category="saturated")
async def few_workers(k: Fix) -> None:
    """Twenty jobs in a queue, and two workers."""
    jobs: libperf.Queue[int] = libperf.Queue(name="jobs")

    async def worker() -> None:
        while True:
            await jobs.get()
            await call(k, "load", 0.06)
            await call(k, "store", 0.04)
            jobs.task_done()

    workers = [asyncio.create_task(worker()) for _ in range(k.capacity("jobs", 2))]
    for number in range(20):
        jobs.put_nowait(number)
    await jobs.join()
    for each in workers:
        each.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    await call(k, "report", 0.2)
