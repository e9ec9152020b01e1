"""A retrieval pipeline, fifteen chunks through three embedding slots: the bottleneck is `embed`."""

import asyncio
import random

from _fix import burn, capacity, run, scale

import libperf

FIXES = ["embed_slots", "embed", "vector_search", "rewrite", "respond"]
rnd = random.Random(61)


@libperf.trace
async def rewrite():
    await asyncio.sleep(0.18 * scale("rewrite"))


@libperf.trace
async def embed(slots, seconds):
    async with slots:
        await asyncio.sleep(seconds * scale("embed"))
        burn(0.004 * scale("embed"))


@libperf.trace
async def vector_search():
    await asyncio.sleep((0.12 + 0.08 * rnd.random()) * scale("vector_search"))


@libperf.trace
async def respond():
    await asyncio.sleep(0.3 * scale("respond"))


async def chunk(slots, seconds):
    await embed(slots, seconds)
    await vector_search()


async def main():
    slots = libperf.Semaphore(capacity("embed_slots", 3), name="embed_slots")
    await rewrite()
    await asyncio.gather(*[chunk(slots, 0.06 + 0.04 * rnd.random()) for _ in range(15)])
    await respond()


run(main)
