"""A blocking call in a coroutine: `legacy_sdk` stops the loop for all nine branches and is the bottleneck."""

import asyncio
import time

from _fix import run, scale

import libperf

FIXES = ["legacy_sdk", "llm", "glue"]


@libperf.trace
def legacy_sdk():
    time.sleep(0.08 * scale("legacy_sdk"))


@libperf.trace
async def llm():
    await asyncio.sleep(0.3 * scale("llm"))


@libperf.trace
async def glue():
    await asyncio.sleep(0.1 * scale("glue"))


async def branch():
    await llm()
    legacy_sdk()
    await glue()


async def main():
    await asyncio.gather(*[branch() for _ in range(9)])


run(main)
