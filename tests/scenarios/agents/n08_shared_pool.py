"""to_thread and run_in_executor(None) in one default pool, clogged by slow look-ups: the bottleneck is the pool.

Hard: `dns_lookup` is rare but slow, and the many short `read_file` wait behind it; the pool is nobody's argument.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from _fix import capacity, run, scale

import libperf

FIXES = ["shared_pool", "dns_lookup", "read_file", "answer"]


@libperf.trace
def dns_lookup():
    time.sleep(0.26 * scale("dns_lookup"))


@libperf.trace
def read_file():
    time.sleep(0.06 * scale("read_file"))


@libperf.trace
async def answer():
    await asyncio.sleep(0.2 * scale("answer"))


async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(capacity("shared_pool", 4), thread_name_prefix="shared_pool"))
    lookups = [loop.run_in_executor(None, libperf.wrap(dns_lookup)) for _ in range(8)]
    await asyncio.gather(*lookups, *[asyncio.to_thread(read_file) for _ in range(20)])
    await answer()


run(main)
