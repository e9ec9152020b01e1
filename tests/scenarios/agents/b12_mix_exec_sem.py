"""A thread pool, CPU on the loop, then a semaphore: the bottleneck is the first, `read` and its pool, `io_pool`."""

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor

from _fix import capacity, run, scale, spin

import libperf

FIXES = ["gpu", "io_pool", "infer", "read", "decode"]
rnd = random.Random(32)


@libperf.trace
def read(seconds):
    time.sleep(seconds * scale("read"))


@libperf.trace
def decode():
    spin(120000 * scale("decode"))


@libperf.trace
async def infer(seconds):
    await asyncio.sleep(seconds * scale("infer"))


async def request(pool, gpu, read_seconds, infer_seconds):
    await asyncio.get_running_loop().run_in_executor(pool, read, read_seconds)
    decode()
    async with gpu:
        await infer(infer_seconds)


async def main():
    pool = ThreadPoolExecutor(capacity("io_pool", 3), thread_name_prefix="io_pool")
    gpu = libperf.Semaphore(capacity("gpu", 2), name="gpu")
    requests = [request(pool, gpu, 0.1 + 0.1 * rnd.random(), 0.05 + 0.06 * rnd.random()) for _ in range(20)]
    await asyncio.gather(*requests)


run(main)
