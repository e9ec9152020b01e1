"""A gather over tasks that are done by then: they matter once `long_step` is faster; the bottleneck is `end_it`."""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["long_step", "side", "side2", "end_it"]


@libperf.trace
async def long_step():
    await asyncio.sleep(0.8 * scale("long_step"))


@libperf.trace
async def side():
    await asyncio.sleep(0.7 * scale("side"))


@libperf.trace
async def side2():
    await asyncio.sleep(0.6 * scale("side2"))


@libperf.trace
async def end_it():
    await asyncio.sleep(0.4 * scale("end_it"))


async def main():
    first = asyncio.create_task(side())
    second = asyncio.create_task(side2())
    await long_step()
    await asyncio.gather(first, second)
    await end_it()


run(main)
