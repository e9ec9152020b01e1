"""A process pool of two that two operations share: the bottleneck is `tokenise`; `parse_pdf` mostly waits behind it.

Hard: the work is in other processes, so each wait looks alike: the pool's queue and the work itself.
"""

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor

from _fix import run, scale

import libperf

FIXES = ["tokenise", "parse_pdf", "write_out"]


@libperf.trace
async def tokenise(pool):
    await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0.2 * scale("tokenise"))


@libperf.trace
async def parse_pdf(pool):
    await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0.06 * scale("parse_pdf"))


@libperf.trace
async def write_out():
    await asyncio.sleep(0.2 * scale("write_out"))


async def main():
    with ProcessPoolExecutor(2) as pool:
        await asyncio.gather(*[tokenise(pool) for _ in range(7)], *[parse_pdf(pool) for _ in range(5)])
        await write_out()


if __name__ == "__main__":  # the pool's processes may import this file
    run(main)
