"""Two tasks of nearly the same length: halving one uncovers the other; the bottleneck is the short `tail`."""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["slow_a", "slow_b", "tail"]


@libperf.trace
async def slow_a():
    await asyncio.sleep(0.8 * scale("slow_a"))


@libperf.trace
async def slow_b():
    await asyncio.sleep(0.72 * scale("slow_b"))


@libperf.trace
async def tail():
    await asyncio.sleep(0.3 * scale("tail"))


async def main():
    beside = asyncio.create_task(slow_b())
    await slow_a()
    await beside
    await tail()


run(main)
