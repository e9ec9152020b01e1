"""A gather between two steps: of six branches only the slowest counts; the bottleneck is the last step, `write`."""

import asyncio
import random

from _fix import run, scale

import libperf

FIXES = ["plan", "search", "read_docs", "write"]
rnd = random.Random(1)


@libperf.trace
async def plan():
    await asyncio.sleep(0.2 * scale("plan"))


@libperf.trace("search")
async def search_source(number):
    await asyncio.sleep((0.15 + 0.05 * number + rnd.random() * 0.02) * scale("search"))


@libperf.trace(operation="read_docs")
async def read():
    await asyncio.sleep(0.45 * scale("read_docs"))


@libperf.trace
async def write():
    await asyncio.sleep(0.4 * scale("write"))


async def main():
    await plan()
    await asyncio.gather(*[search_source(number) for number in range(5)], read())
    await write()


run(main)
