"""Twenty-five small reads one after the other: the bottleneck is `get_item`, though `big_query` is the slowest call."""

import asyncio
import random

from _fix import burn, run, scale

import libperf

FIXES = ["get_item", "big_query", "render"]
rnd = random.Random(12)


@libperf.trace
async def get_item(number):
    await asyncio.sleep((0.02 + 0.02 * rnd.random()) * scale("get_item"))


@libperf.trace
async def big_query():
    await asyncio.sleep(0.5 * scale("big_query"))


@libperf.trace
def render():
    burn(0.15 * scale("render"))


async def main():
    await big_query()
    for number in range(25):
        await get_item(number)
    render()


run(main)
