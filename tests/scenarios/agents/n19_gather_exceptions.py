"""gather(return_exceptions=True), then the failed ones once more: the bottleneck is `agent` itself, between the two.

Hard: it looks like a retry with back-off: `call_tool` fails, then time passes in its parent, then `call_tool` again.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["agent", "call_tool", "diagnose", "merge"]


@libperf.trace
async def call_tool(number, again=False):
    if number % 3 == 0 and not again:
        await asyncio.sleep(0.05 * scale("call_tool"))
        raise ConnectionError(number)
    await asyncio.sleep((0.1 + 0.01 * number) * scale("call_tool"))
    return number


@libperf.trace
async def diagnose():
    await asyncio.sleep(0.15 * scale("diagnose"))


@libperf.trace
async def merge():
    await asyncio.sleep(0.2 * scale("merge"))


@libperf.trace
async def agent():
    results = await asyncio.gather(*[call_tool(number) for number in range(8)], return_exceptions=True)
    failed = [number for number, result in enumerate(results) if isinstance(result, ConnectionError)]
    await diagnose()
    await asyncio.sleep(0.5 * scale("agent"))
    await asyncio.gather(*[call_tool(number, again=True) for number in failed])
    await merge()


async def main():
    await agent()


run(main)
