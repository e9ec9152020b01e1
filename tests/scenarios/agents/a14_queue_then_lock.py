"""Three workers on a bounded queue who commit under one lock: `think` wins just before queue, lock and commit."""

import asyncio
import random

from _fix import capacity, run, scale

import libperf

FIXES = ["inbox", "db_lock", "commit", "think"]
rnd = random.Random(14)


@libperf.trace
async def think():
    await asyncio.sleep((0.1 + 0.1 * rnd.random()) * scale("think"))


@libperf.trace
async def commit(factor):
    await asyncio.sleep(0.06 * scale("commit") * factor)


async def worker(inbox, db_lock):
    while True:
        item = await inbox.get()
        if item is None:
            break
        await think()
        async with db_lock:
            await commit(scale("db_lock"))


async def main():
    inbox = libperf.Queue(maxsize=4, name="inbox")
    db_lock = libperf.Lock(name="db_lock")
    count = capacity("inbox", 3)
    workers = [asyncio.create_task(worker(inbox, db_lock)) for _ in range(count)]
    for item in range(20):
        await inbox.put(item)
    for _ in range(count):
        await inbox.put(None)
    await asyncio.gather(*workers)


run(main)
