"""An asyncio.Barrier that three workers meet at after each round: the bottleneck is `embed`, the slowest of each round.

Hard: two of three workers always wait, and the last to arrive wakes the others by a condition inside the barrier.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["embed", "rank", "crawl", "publish"]


@libperf.trace
async def crawl():
    await asyncio.sleep(0.1 * scale("crawl"))


@libperf.trace
async def rank():
    await asyncio.sleep(0.14 * scale("rank"))


@libperf.trace
async def embed():
    await asyncio.sleep(0.24 * scale("embed"))


@libperf.trace
async def publish():
    await asyncio.sleep(0.25 * scale("publish"))


async def worker(barrier, step):
    for _ in range(4):
        await step()
        await barrier.wait()


async def main():
    barrier = asyncio.Barrier(3)
    await asyncio.gather(*[worker(barrier, step) for step in (crawl, rank, embed)])
    await publish()


run(main)
