"""A parent with time of its own, in untraced helper tasks and CPU: the bottleneck is `gather_facts` itself."""

import asyncio

from _fix import burn, run, scale

import libperf

FIXES = ["gather_facts", "lookup", "answer"]


async def untraced(seconds):
    await asyncio.sleep(seconds)


@libperf.trace
async def lookup():
    await asyncio.sleep(0.2 * scale("lookup"))


@libperf.trace
async def gather_facts():
    await asyncio.gather(*[untraced(0.3 * scale("gather_facts")) for _ in range(4)])
    burn(0.1 * scale("gather_facts"))
    await lookup()
    await untraced(0.1 * scale("gather_facts"))


@libperf.trace
async def answer():
    await asyncio.sleep(0.4 * scale("answer"))


async def main():
    await gather_facts()
    await answer()


run(main)
