"""Child processes through a semaphore of two: the bottleneck is the limit, `runners`; two operations share it.

Hard: the ends of the processes come from a watcher, in no task; `run_linter` holds the same slots, for a shorter time.
"""

import asyncio

from _fix import capacity, run, scale

import libperf

FIXES = ["runners", "run_tests", "run_linter", "summarise"]


async def wait_for_child(seconds):
    process = await asyncio.create_subprocess_exec("sleep", str(seconds), stdout=asyncio.subprocess.PIPE)
    await process.communicate()


@libperf.trace
async def run_tests(runners):
    async with runners:
        await wait_for_child(0.26 * scale("run_tests"))


@libperf.trace
async def run_linter(runners):
    async with runners:
        await wait_for_child(0.14 * scale("run_linter"))


@libperf.trace
async def summarise():
    await asyncio.sleep(0.2 * scale("summarise"))


async def main():
    runners = libperf.Semaphore(capacity("runners", 2), name="runners")
    await asyncio.gather(*[run_tests(runners) for _ in range(6)], *[run_linter(runners) for _ in range(6)])
    await summarise()


run(main)
