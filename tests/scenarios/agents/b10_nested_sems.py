"""A semaphore inside another: the bottleneck is `outer`, held while waiting for `inner`."""

import asyncio
import random

from _fix import capacity, run, scale

import libperf

FIXES = ["outer", "inner", "call", "pre"]
rnd = random.Random(30)


@libperf.trace
async def call(inner):
    async with inner:
        await asyncio.sleep((0.08 + 0.04 * rnd.random()) * scale("call"))


@libperf.trace
async def pre():
    await asyncio.sleep((0.1 + 0.1 * rnd.random()) * scale("pre"))


async def request(outer, inner):
    async with outer:
        await pre()
        await call(inner)


async def main():
    outer = libperf.Semaphore(capacity("outer", 3), name="outer")
    inner = libperf.Semaphore(capacity("inner", 2), name="inner")
    await asyncio.gather(*[request(outer, inner) for _ in range(15)])


run(main)
