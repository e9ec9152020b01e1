"""Workers that wait for jobs with a timeout, so the get hides in a task of wait_for: the bottleneck is `do_job`."""

import asyncio
import random

from _fix import capacity, run, scale

import libperf

FIXES = ["todo", "do_job", "wrapup"]
rnd = random.Random(48)


@libperf.trace
async def do_job(seconds):
    await asyncio.sleep(seconds * scale("do_job"))


@libperf.trace
async def wrapup():
    await asyncio.sleep(0.2 * scale("wrapup"))


async def worker(todo):
    while True:
        try:
            seconds = await asyncio.wait_for(todo.get(), 0.3)
        except TimeoutError:
            return
        await do_job(seconds)
        todo.task_done()


async def main():
    todo = libperf.Queue(name="todo")
    for _ in range(20):
        todo.put_nowait(0.06 + 0.06 * rnd.random())
    workers = [asyncio.create_task(worker(todo)) for _ in range(capacity("todo", 3))]  # noqa: F841  # kept alive
    await todo.join()
    await wrapup()


run(main)
