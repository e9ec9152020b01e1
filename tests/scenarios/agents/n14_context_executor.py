"""libperf.ContextExecutor with untraced work inside it: the bottleneck is the pool `rerankers`, and `rank_batch`.

Hard: what the threads do belongs to the span that submitted it; a second span uses the same threads.
"""

import asyncio
import random
import time

from _fix import capacity, run, scale

import libperf

FIXES = ["rerankers", "rank_batch", "dedupe", "load"]
rnd = random.Random(114)


@libperf.trace
async def load():
    await asyncio.sleep(0.2 * scale("load"))


@libperf.trace
async def rank_batch(pool):
    loop = asyncio.get_running_loop()
    durations = [(0.08 + 0.08 * rnd.random()) * scale("rank_batch") for _ in range(12)]
    await asyncio.gather(*[loop.run_in_executor(pool, time.sleep, seconds) for seconds in durations])


@libperf.trace
async def dedupe(pool):
    await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0.2 * scale("dedupe"))


async def main():
    pool = libperf.ContextExecutor(capacity("rerankers", 2), thread_name_prefix="rerankers")
    await load()
    await asyncio.gather(dedupe(pool), rank_batch(pool))


run(main)
