"""Blocking queries in a pool of two threads: the bottleneck is the pool, `dbpool`, and as much `query`."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from _fix import capacity, run, scale

import libperf

FIXES = ["dbpool", "query", "summarise"]


@libperf.trace
def query(number):
    time.sleep(0.1 * scale("query"))


@libperf.trace
async def summarise():
    await asyncio.sleep(0.3 * scale("summarise"))


async def main():
    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(capacity("dbpool", 2), thread_name_prefix="dbpool")
    await asyncio.gather(*[loop.run_in_executor(pool, query, number) for number in range(15)])
    await summarise()


run(main)
