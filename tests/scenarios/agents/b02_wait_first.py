"""wait(FIRST_COMPLETED) and as_completed with CPU work for each result: the bottleneck is the one `slow_page`."""

import asyncio
import random

from _fix import burn, run, scale

import libperf

FIXES = ["crawl", "grade", "slow_page", "sum_up"]
rnd = random.Random(22)


@libperf.trace
async def crawl(seconds):
    await asyncio.sleep(seconds * scale("crawl"))


@libperf.trace
async def slow_page():
    await asyncio.sleep(0.7 * scale("slow_page"))


@libperf.trace
def grade():
    burn(0.03 * scale("grade"))


@libperf.trace
async def sum_up():
    await asyncio.sleep(0.2 * scale("sum_up"))


async def main():
    pending = {asyncio.create_task(crawl(0.2 + 0.3 * rnd.random())) for _ in range(8)}
    pending |= {asyncio.create_task(slow_page())}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for _ in done:
            grade()
    for page in asyncio.as_completed([crawl(0.1 + 0.2 * rnd.random()) for _ in range(6)]):
        await page
        grade()
    await sum_up()


run(main)
