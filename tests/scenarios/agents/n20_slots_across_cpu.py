"""A semaphore held across CPU work on the loop: the bottleneck is `parse`; more slots would not help.

Hard: the semaphore has the longest queue of all, but the loop is what is full.
"""

import asyncio
import random

from _fix import burn, capacity, run, scale

import libperf

FIXES = ["parse", "slots", "generate", "reply"]
rnd = random.Random(120)


@libperf.trace
async def generate():
    await asyncio.sleep((0.04 + 0.03 * rnd.random()) * scale("generate"))


@libperf.trace
def parse():
    burn(0.05 * scale("parse"))


@libperf.trace
async def reply():
    await asyncio.sleep(0.2 * scale("reply"))


async def request(slots):
    async with slots:
        await generate()
        parse()


async def main():
    slots = libperf.Semaphore(capacity("slots", 4), name="slots")
    await asyncio.gather(*[request(slots) for _ in range(16)])
    await reply()


run(main)
