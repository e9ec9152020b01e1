"""A heavy import inside the first call of a step: the bottleneck is `plan`, nearly all of it in its first call.

Hard: the import runs at run time inside a span, so it must count, although imports of a program's start do not.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["plan", "search", "answer"]


@libperf.trace
async def plan():
    import _slow_import  # noqa: F401

    await asyncio.sleep(0.03 * scale("plan"))


@libperf.trace
async def search():
    await asyncio.sleep(0.09 * scale("search"))


@libperf.trace
async def answer():
    await asyncio.sleep(0.2 * scale("answer"))


async def main():
    for _ in range(3):
        await plan()
        await search()
    await answer()


run(main)
