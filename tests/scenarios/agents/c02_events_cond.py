"""Two tasks that wait for each other by an Event and a Condition: the bottleneck is `producer`."""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["producer", "consumer", "idle"]


@libperf.trace
async def producer():
    await asyncio.sleep(0.5 * scale("producer"))


@libperf.trace
async def consumer():
    await asyncio.sleep(0.35 * scale("consumer"))


@libperf.trace
async def idle():
    await asyncio.sleep(0.45 * scale("idle"))


async def main():
    event = asyncio.Event()
    condition = asyncio.Condition()
    box = []

    async def produce():
        await producer()
        event.set()
        await producer()
        async with condition:
            box.append(1)
            condition.notify_all()

    async def consume():
        await idle()
        await event.wait()
        await consumer()
        async with condition:
            await condition.wait_for(lambda: box)
        await consumer()

    await asyncio.gather(produce(), consume())


run(main)
