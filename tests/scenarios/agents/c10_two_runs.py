"""Several event loops, one after another and one in a thread: the bottleneck is `second`, in that thread."""

import asyncio
import threading

from _fix import run, scale

import libperf

FIXES = ["first", "second", "third"]


@libperf.trace
async def first():
    await asyncio.sleep(0.3 * scale("first"))


@libperf.trace
async def second():
    await asyncio.sleep(0.5 * scale("second"))


@libperf.trace
async def third():
    await asyncio.sleep(0.25 * scale("third"))


def main():
    asyncio.run(first())
    thread = threading.Thread(target=lambda: asyncio.run(second()))
    thread.start()
    asyncio.run(third())
    thread.join()
    asyncio.run(third())


run(main)
