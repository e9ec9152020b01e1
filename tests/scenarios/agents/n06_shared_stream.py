"""One async generator read by two consumers in turn under a lock: the bottleneck is the generator, `page_stream`.

Hard: the generator runs now in the one task, now in the other, and the plain lock around it has no name.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["page_stream", "summarise", "report"]


@libperf.trace
async def page_stream():
    for number in range(18):
        await asyncio.sleep(0.045 * scale("page_stream"))
        yield number


@libperf.trace
async def summarise():
    await asyncio.sleep(0.05 * scale("summarise"))


@libperf.trace
async def report():
    await asyncio.sleep(0.25 * scale("report"))


async def consumer(pages, turn):
    while True:
        async with turn:
            page = await anext(pages, None)
        if page is None:
            break
        await summarise()


async def main():
    pages = page_stream()
    turn = asyncio.Lock()
    await asyncio.gather(consumer(pages, turn), consumer(pages, turn))
    await report()


run(main)
