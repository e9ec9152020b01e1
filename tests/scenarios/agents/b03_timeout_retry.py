"""Retries under wait_for inside a TaskGroup, each attempt a task of its own: the bottleneck is `unstable`."""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["unstable", "stable", "final"]


@libperf.trace
async def unstable(attempt):
    await asyncio.sleep(0.1 * scale("unstable"))
    if attempt < 2:
        raise ValueError


@libperf.trace
async def stable():
    await asyncio.sleep(0.5 * scale("stable"))


@libperf.trace
async def final():
    await asyncio.sleep(0.3 * scale("final"))


async def call():
    for attempt in range(3):
        try:
            return await asyncio.wait_for(unstable(attempt), 2)
        except ValueError:
            await asyncio.sleep(0.15 * (attempt + 1) * scale("unstable"))


async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        group.create_task(stable())
    await final()


run(main)
