"""A connection pool made of an asyncio.LifoQueue: the bottleneck is `query`, which two connections are shared for.

Hard: the queue is a semaphore: what is put back is what was taken, and there are no workers.
"""

import asyncio
import random

from _fix import run, scale

import libperf

FIXES = ["query", "plan", "render", "answer"]
rnd = random.Random(124)


@libperf.trace
async def plan():
    await asyncio.sleep(0.15 * scale("plan"))


@libperf.trace
async def query(connections, seconds):
    connection = await connections.get()
    await asyncio.sleep(seconds * scale("query"))
    connections.put_nowait(connection)


@libperf.trace
async def render():
    await asyncio.sleep(0.1 * scale("render"))


@libperf.trace
async def answer():
    await asyncio.sleep(0.3 * scale("answer"))


async def request(connections, seconds):
    await query(connections, seconds)
    await render()


async def main():
    connections = asyncio.LifoQueue()
    for name in ("first", "second"):
        connections.put_nowait(name)
    await plan()
    await asyncio.gather(*[request(connections, 0.07 + 0.06 * rnd.random()) for _ in range(14)])
    await answer()


run(main)
