"""asyncio.timeout around attempts that hang, with back-off: the bottleneck is `flaky_api`, by its back-off.

Hard: half of the time of `flaky_api` is cut off by timeouts that a faster service would still run into.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["flaky_api", "lookup", "compose"]
ATTEMPTS_S = [3.0, 3.0, 0.16]


@libperf.trace
async def flaky_api(attempt):
    await asyncio.sleep(ATTEMPTS_S[attempt] * scale("flaky_api"))


@libperf.trace
async def lookup():
    await asyncio.sleep(0.2 * scale("lookup"))


@libperf.trace
async def compose():
    await asyncio.sleep(0.3 * scale("compose"))


@libperf.trace
async def agent():
    await lookup()
    for attempt in range(3):
        try:
            async with asyncio.timeout(0.22):
                await flaky_api(attempt)
            break
        except TimeoutError:
            await asyncio.sleep(0.15 * 2**attempt * scale("flaky_api"))
    await compose()


async def main():
    await agent()


run(main)
