"""An event loop beside two CPU threads: the loop waits for the GIL at each turn; the bottleneck is `stream`."""

import asyncio

from _fix import burn, run, scale

import libperf

FIXES = ["score", "stream", "finish"]
NOISY = "the loop and two threads compete for the GIL; no stable truth"


@libperf.trace
def score():
    burn(0.5 * scale("score"))


@libperf.trace
async def stream():
    for _ in range(30):
        await asyncio.sleep(0.03 * scale("stream"))
        burn(0.003 * scale("stream"))


@libperf.trace
async def finish():
    await asyncio.sleep(0.2 * scale("finish"))


async def main():
    await asyncio.gather(stream(), asyncio.to_thread(score), asyncio.to_thread(score))
    await finish()


run(main)
