"""Workers on a queue who use a pool of two threads and a lock: the bottleneck is `load_file`, in the pool `disk`."""

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor

from _fix import capacity, run, scale

import libperf

FIXES = ["tasks", "disk", "journal", "load_file", "score"]
rnd = random.Random(63)


@libperf.trace
def load_file(seconds):
    time.sleep(seconds * scale("load_file"))


@libperf.trace
async def score():
    await asyncio.sleep((0.05 + 0.05 * rnd.random()) * scale("score"))


async def worker(tasks, disk, journal):
    while True:
        seconds, done = await tasks.get()
        await asyncio.get_running_loop().run_in_executor(disk, load_file, seconds)
        await score()
        async with journal:
            await asyncio.sleep(0.02 * scale("journal"))
        done.set_result(1)


async def main():
    tasks = libperf.Queue(name="tasks")
    journal = libperf.Lock(name="journal")
    disk = ThreadPoolExecutor(capacity("disk", 2), thread_name_prefix="disk")
    workers = [asyncio.create_task(worker(tasks, disk, journal)) for _ in range(capacity("tasks", 5))]
    answers = []
    for _ in range(24):
        done = asyncio.get_running_loop().create_future()
        answers.append(done)
        tasks.put_nowait((0.06 + 0.04 * rnd.random(), done))
    for done in answers:
        await done
    for task in workers:
        task.cancel()


run(main)
