"""Three hundred tasks on a semaphore of twenty and a nearly full loop: `index` and the limit `api_limit` tie."""

import asyncio
import random

from _fix import capacity, run, scale, spin

import libperf

FIXES = ["api_limit", "fetch_page", "extract", "index"]
rnd = random.Random(41)


@libperf.trace
async def fetch_page(limit, seconds):
    async with limit:
        await asyncio.sleep(seconds * scale("fetch_page"))


@libperf.trace
def extract():
    spin(40000 * scale("extract"))


@libperf.trace
async def index():
    await asyncio.sleep(0.25 * scale("index"))


async def page(limit, seconds):
    await fetch_page(limit, seconds)
    extract()


async def main():
    limit = libperf.Semaphore(capacity("api_limit", 20), name="api_limit")
    await asyncio.gather(*[page(limit, 0.02 + 0.04 * rnd.random()) for _ in range(300)])
    await index()


run(main)
