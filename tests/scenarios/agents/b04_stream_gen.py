"""An async generator and a consumer who works on each token: the bottleneck is `token_stream`, not `render`."""

import asyncio

from _fix import burn, run, scale

import libperf

FIXES = ["token_stream", "render", "setup"]


@libperf.trace("token_stream")
async def tokens():
    for number in range(40):
        await asyncio.sleep(0.012 * scale("token_stream"))
        yield number


@libperf.trace
def render():
    burn(0.006 * scale("render"))


@libperf.trace
async def setup():
    await asyncio.sleep(0.3 * scale("setup"))


async def main():
    await setup()
    async for _ in tokens():
        render()


run(main)
