"""TaskGroups inside a TaskGroup, children that outlive their parents: the bottleneck is `illustrate`.

Hard: a chapter ends when its sections do, but leaves a picture to the outer group; only the outer group waits for it.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["illustrate", "section", "outline", "review"]


@libperf.trace
async def outline():
    await asyncio.sleep(0.15 * scale("outline"))


@libperf.trace
async def section(number):
    await asyncio.sleep((0.1 + 0.04 * number) * scale("section"))


@libperf.trace
async def illustrate():
    await asyncio.sleep(0.5 * scale("illustrate"))


@libperf.trace
async def review():
    await asyncio.sleep(0.2 * scale("review"))


async def chapter(book, number):
    async with asyncio.TaskGroup() as group:
        for part in range(number + 1):
            group.create_task(section(part))
    book.create_task(illustrate())


async def main():
    await outline()
    async with asyncio.TaskGroup() as book:
        for number in range(4):
            book.create_task(chapter(book, number))
    await review()


run(main)
