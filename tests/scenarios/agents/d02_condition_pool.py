"""A connection pool of one, taken twice by each of eight tasks: the bottleneck is `sql` and its pool, `conns`."""

import asyncio
import random

from _fix import capacity, run, scale

import libperf

FIXES = ["conns", "sql", "llm", "final"]
rnd = random.Random(52)


@libperf.trace
async def sql(seconds):
    await asyncio.sleep(seconds * scale("sql"))


@libperf.trace
async def llm():
    await asyncio.sleep((0.15 + 0.1 * rnd.random()) * scale("llm"))


@libperf.trace
async def final():
    await asyncio.sleep(0.25 * scale("final"))


async def request(conns):
    await llm()
    async with conns:
        await sql(0.05)
    async with conns:
        await sql(0.04 + 0.02 * rnd.random())


async def main():
    conns = libperf.Semaphore(capacity("conns", 1), name="conns")
    asyncio.create_task(asyncio.sleep(30))  # noqa: RUF006  # still there at the end, and nobody waits for it
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(request(conns))
    await asyncio.shield(final())


run(main)
