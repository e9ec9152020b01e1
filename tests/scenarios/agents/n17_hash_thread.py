"""One thread that hashes, freeing the GIL, while the loop computes: the bottleneck is `checksum`; `tokenise` hides.

Hard: the sum of CPU times is more than the wall; replayed under one GIL both would matter.
"""

import asyncio
import hashlib
import time

from _fix import burn, run, scale

import libperf

FIXES = ["checksum", "tokenise", "upload"]
NOISY = "two threads compute at once"
BLOCK = b"x" * (1 << 20)


@libperf.trace
def checksum():
    end = time.thread_time() + 0.7 * scale("checksum")
    while time.thread_time() < end:
        hashlib.sha256(BLOCK).digest()


@libperf.trace
def tokenise():
    burn(0.03 * scale("tokenise"))


@libperf.trace
async def upload():
    await asyncio.sleep(0.3 * scale("upload"))


async def chat():
    for _ in range(8):
        tokenise()
        await asyncio.sleep(0.01)


async def main():
    await asyncio.gather(asyncio.to_thread(checksum), chat())
    await upload()


run(main)
