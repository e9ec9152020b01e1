"""A plain asyncio.BoundedSemaphore, taken in one step and given back in another: the bottleneck is `ask_model`.

Hard: the limit has no name, spans two operations, and `write_log` comes after it was given back.
"""

import asyncio
import random

from _fix import run, scale

import libperf

FIXES = ["ask_model", "stream_out", "write_log", "merge"]
rnd = random.Random(103)


@libperf.trace
async def ask_model(slots, seconds):
    await slots.acquire()
    await asyncio.sleep(seconds * scale("ask_model"))


@libperf.trace
async def stream_out(slots):
    try:
        await asyncio.sleep(0.05 * scale("stream_out"))
    finally:
        slots.release()


@libperf.trace
async def write_log():
    await asyncio.sleep(0.25 * scale("write_log"))


@libperf.trace
async def merge():
    await asyncio.sleep(0.2 * scale("merge"))


async def request(slots, seconds):
    await ask_model(slots, seconds)
    await stream_out(slots)
    await write_log()


async def main():
    slots = asyncio.BoundedSemaphore(3)
    await asyncio.gather(*[request(slots, 0.1 + 0.06 * rnd.random()) for _ in range(13)])
    await merge()


run(main)
