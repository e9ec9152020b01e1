"""Three workers on a queue, answers by futures: the bottleneck is `handle`, and nearly as much the few workers."""

import asyncio
import random

from _fix import capacity, run, scale

import libperf

FIXES = ["jobs", "handle", "load", "report"]
rnd = random.Random(4)


@libperf.trace
async def handle(seconds):
    await asyncio.sleep(seconds * scale("handle"))


@libperf.trace
async def load():
    await asyncio.sleep(0.2 * scale("load"))


@libperf.trace
async def report():
    await asyncio.sleep(0.15 * scale("report"))


async def worker(jobs):
    while True:
        seconds, answer = await jobs.get()
        await handle(seconds)
        answer.set_result(seconds)
        jobs.task_done()


async def ask(jobs, seconds):
    answer = asyncio.get_running_loop().create_future()
    await jobs.put((seconds, answer))
    return await answer


async def main():
    jobs = libperf.Queue(name="jobs")
    workers = [asyncio.create_task(worker(jobs)) for _ in range(capacity("jobs", 3))]
    await load()
    await asyncio.gather(*[ask(jobs, 0.08 + 0.08 * rnd.random()) for _ in range(24)])
    await report()
    for task in workers:
        task.cancel()


run(main)
