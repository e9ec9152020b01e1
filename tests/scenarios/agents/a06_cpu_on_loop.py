"""CPU work on the event loop between two waits: the bottleneck is `parse`, which holds up all twelve branches."""

import asyncio
import random

from _fix import burn, run, scale

import libperf

FIXES = ["parse", "fetch", "store"]
rnd = random.Random(6)


@libperf.trace
async def fetch():
    await asyncio.sleep((0.2 + 0.1 * rnd.random()) * scale("fetch"))


@libperf.trace
def parse():
    burn(0.07 * scale("parse"))


@libperf.trace
async def store():
    await asyncio.sleep(0.1 * scale("store"))


async def branch():
    await fetch()
    parse()
    await store()


async def main():
    await asyncio.gather(*[branch() for _ in range(12)])


run(main)
