"""A lock held for a sleep, which makes it a rate limiter: the bottleneck is the lock, `rate_gate`, not the fetches."""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["rate_gate", "fetch", "rank"]


@libperf.trace
async def fetch(gate):
    async with gate:
        await asyncio.sleep(0.08 * scale("rate_gate"))
    await asyncio.sleep(0.25 * scale("fetch"))


@libperf.trace
async def rank():
    await asyncio.sleep(0.2 * scale("rank"))


async def main():
    gate = libperf.Lock(name="rate_gate")
    await asyncio.gather(*[fetch(gate) for _ in range(12)])
    await rank()


run(main)
