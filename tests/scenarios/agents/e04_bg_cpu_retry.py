"""A background task that takes the CPU from the loop, and retries: the bottlenecks are `remote` and `draft`, a tie."""

import asyncio

from _fix import burn, run, scale

import libperf

FIXES = ["indexer", "remote", "draft", "publish"]


@libperf.trace
async def indexer():
    while True:
        burn(0.03 * scale("indexer"))
        await asyncio.sleep(0.02)


@libperf.trace
async def remote(attempt):
    await asyncio.sleep(0.07 * scale("remote"))
    if attempt < 2:
        raise ConnectionError


@libperf.trace
async def draft():
    for _ in range(10):
        await asyncio.sleep(0.03 * scale("draft"))


@libperf.trace
async def publish():
    await asyncio.sleep(0.25 * scale("publish"))


async def main():
    background = asyncio.create_task(indexer())
    await draft()
    for attempt in range(3):
        try:
            await remote(attempt)
            break
        except ConnectionError:
            await asyncio.sleep(0.1 * 2**attempt * scale("remote"))
    await publish()
    background.cancel()


run(main)
