"""An asyncio.PriorityQueue where urgent jobs overtake: the bottleneck is `handle_urgent`; the bulk can wait.

Hard: replayed first in, first out, the answer would wait for all of the bulk; and no worker is ever idle.
"""

import asyncio
import itertools

from _fix import run, scale

import libperf

FIXES = ["handle_urgent", "handle_bulk", "plan", "answer"]
ticket = itertools.count()


@libperf.trace
async def handle_urgent():
    await asyncio.sleep(0.17 * scale("handle_urgent"))


@libperf.trace
async def handle_bulk():
    await asyncio.sleep(0.12 * scale("handle_bulk"))


@libperf.trace
async def plan():
    await asyncio.sleep(0.2 * scale("plan"))


@libperf.trace
async def answer():
    await asyncio.sleep(0.3 * scale("answer"))


async def worker(jobs):
    while True:
        _, _, handle, done = await jobs.get()
        await handle()
        done.set_result(None)


def put(jobs, priority, handle):
    done = asyncio.get_running_loop().create_future()
    jobs.put_nowait((priority, next(ticket), handle, done))
    return done


async def main():
    jobs = asyncio.PriorityQueue()
    workers = [asyncio.create_task(worker(jobs)) for _ in range(2)]
    for _ in range(20):
        put(jobs, 1, handle_bulk)
    await plan()
    await asyncio.gather(*[put(jobs, 0, handle_urgent) for _ in range(7)])
    await answer()
    for task in workers:
        task.cancel()


run(main)
