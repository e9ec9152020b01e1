"""All kinds of function: generators, async generators, methods in a pool; the bottleneck is the consumer, `consume`."""

import asyncio
import time

from _fix import run, scale

import libperf

FIXES = ["gen_sync", "gen_async", "meth", "consume"]


@libperf.trace("gen_sync")
def lines():
    for number in range(10):
        time.sleep(0.02 * scale("gen_sync"))
        yield number


@libperf.trace(operation="gen_async")
async def pages():
    for number in range(10):
        await asyncio.sleep(0.025 * scale("gen_async"))
        yield number


class Tools:
    @libperf.trace
    def meth(self, number):
        time.sleep(0.15 * scale("meth"))
        return number


@libperf.trace
def consume():
    time.sleep(0.012 * scale("consume"))


async def main():
    loop = asyncio.get_running_loop()
    for _ in lines():
        consume()
    async for _ in pages():
        consume()
    await asyncio.gather(*[loop.run_in_executor(None, libperf.wrap(Tools().meth), number) for number in range(3)])


run(main)
