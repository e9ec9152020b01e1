"""to_thread more often than the default executor has threads: the bottleneck is `blocking_call`, and that pool."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from _fix import fixed, run, scale

import libperf

FIXES = ["asyncio", "blocking_call", "finish"]


@libperf.trace
def blocking_call():
    time.sleep(0.12 * scale("blocking_call"))


@libperf.trace
async def finish():
    await asyncio.sleep(0.15 * scale("finish"))


async def main():
    if fixed("asyncio"):  # twice the six threads that the default has on two cores
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(12))
    await asyncio.gather(*[asyncio.to_thread(blocking_call) for _ in range(40)])
    await finish()


run(main)
