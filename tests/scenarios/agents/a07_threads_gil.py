"""CPU work in four threads that share the GIL, beside two that sleep: the bottleneck is `embed`."""

import asyncio
import time

from _fix import burn, run, scale

import libperf

FIXES = ["embed", "download", "index"]
NOISY = "four threads compete for the GIL"


@libperf.trace
def embed(number):
    burn(0.15 * scale("embed"))


@libperf.trace
def download(number):
    time.sleep(0.35 * scale("download"))


@libperf.trace
def index():
    burn(0.2 * scale("index"))


async def main():
    await asyncio.gather(
        *[asyncio.to_thread(download, number) for number in range(2)],
        *[asyncio.to_thread(embed, number) for number in range(4)],
    )
    await asyncio.to_thread(index)


run(main)
