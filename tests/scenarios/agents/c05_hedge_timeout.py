"""A timeout that always fires: making `primary` faster changes nothing; the bottleneck is `fallback`."""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["primary", "fallback", "done_step"]


@libperf.trace
async def primary():
    await asyncio.sleep(0.8 * scale("primary"))


@libperf.trace
async def fallback():
    await asyncio.sleep(0.3 * scale("fallback"))


@libperf.trace
async def done_step():
    await asyncio.sleep(0.2 * scale("done_step"))


async def main():
    for _ in range(2):
        try:
            await asyncio.wait_for(primary(), 0.2)
        except TimeoutError:
            await fallback()
    await done_step()


run(main)
