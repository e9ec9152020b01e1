"""Three failures with growing back-off, then success: the bottleneck is `flaky_api`, mostly between its spans."""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["flaky_api", "clean", "compose"]


@libperf.trace
async def flaky_api(attempt):
    await asyncio.sleep(0.08 * scale("flaky_api"))
    if attempt < 3:
        raise RuntimeError("503")
    return attempt


@libperf.trace
async def clean():
    await asyncio.sleep(0.35 * scale("clean"))


@libperf.trace
async def compose():
    await asyncio.sleep(0.3 * scale("compose"))


@libperf.trace
async def agent():
    for attempt in range(4):
        try:
            await flaky_api(attempt)
            break
        except RuntimeError:
            await asyncio.sleep(0.1 * 2**attempt * scale("flaky_api"))
    await clean()
    await compose()


async def main():
    await agent()


run(main)
