"""A lock held for CPU work and for a wait: the bottleneck is the lock, `state`; each of its two parts is half of it."""

import asyncio
import random

from _fix import burn, run, scale

import libperf

FIXES = ["state", "update", "sync_out", "fetch"]
rnd = random.Random(35)


@libperf.trace
async def fetch():
    await asyncio.sleep((0.1 + 0.1 * rnd.random()) * scale("fetch"))


@libperf.trace
def update():
    burn(0.02 * scale("update") * scale("state"))


@libperf.trace
async def sync_out():
    await asyncio.sleep(0.03 * scale("sync_out") * scale("state"))


async def session(lock):
    for _ in range(3):
        await fetch()
        async with lock:
            update()
            await sync_out()


async def main():
    lock = libperf.Lock(name="state")
    await asyncio.gather(*[session(lock) for _ in range(6)])


run(main)
