"""as_completed with a slow step for each result, which stops when it has enough: the bottleneck is `grade`.

Hard: the slowest fetches are cancelled and never matter; the fetches that do hide behind the grading of earlier ones.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["grade", "fetch", "respond"]


@libperf.trace
async def fetch(number):
    await asyncio.sleep((0.12 + 0.1 * number) * scale("fetch"))


@libperf.trace
async def grade():
    await asyncio.sleep(0.16 * scale("grade"))


@libperf.trace
async def respond():
    await asyncio.sleep(0.25 * scale("respond"))


async def main():
    fetches = [asyncio.create_task(fetch(number)) for number in range(9)]
    enough = 5
    for done in asyncio.as_completed(fetches):
        await done
        await grade()
        enough -= 1
        if not enough:
            break
    for task in fetches:
        task.cancel()
    await respond()


run(main)
