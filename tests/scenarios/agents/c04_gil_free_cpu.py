"""CPU work that frees the GIL beside CPU work that holds it: the two overlap; the bottleneck is `pure_py`."""

import asyncio
import hashlib

from _fix import burn, run, scale

import libperf

FIXES = ["hash_big", "pure_py", "close"]
BLOCK = b"x" * (1 << 20)


@libperf.trace
def hash_big():
    for _ in range(int(150 * scale("hash_big"))):
        hashlib.sha256(BLOCK).digest()


@libperf.trace
def pure_py():
    burn(0.25 * scale("pure_py"))


@libperf.trace
async def close():
    await asyncio.sleep(0.2 * scale("close"))


async def main():
    await asyncio.gather(asyncio.to_thread(hash_big), asyncio.to_thread(pure_py))
    await close()


run(main)
