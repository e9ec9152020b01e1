"""A named semaphore of two, shared by fourteen calls: the bottleneck is `llm_call`, and the limit `llm_slots`."""

import asyncio
import random

from _fix import capacity, run, scale

import libperf

FIXES = ["llm_slots", "llm_call", "prepare", "merge"]
rnd = random.Random(2)


@libperf.trace
async def llm_call(slots, seconds):
    async with slots:
        await asyncio.sleep(seconds * scale("llm_call"))


@libperf.trace
async def prepare():
    await asyncio.sleep(0.15 * scale("prepare"))


@libperf.trace
async def merge():
    await asyncio.sleep(0.2 * scale("merge"))


async def main():
    slots = libperf.Semaphore(capacity("llm_slots", 2), name="llm_slots")
    await prepare()
    await asyncio.gather(*[llm_call(slots, 0.12 + 0.06 * rnd.random()) for _ in range(14)])
    await merge()


run(main)
