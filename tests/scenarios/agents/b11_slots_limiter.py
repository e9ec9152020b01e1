"""A rate limiter without any lock, each caller sleeps until its slot: the bottleneck is the rate, not `api`."""

import asyncio
import time

from _fix import run, scale

import libperf

FIXES = ["api", "post", "rate limit in api"]


class Limiter:
    """One call each `gap` seconds."""

    def __init__(self, gap):
        self.gap = gap
        self.next = 0

    async def take(self):
        now = time.monotonic()
        self.next = max(self.next, now) + self.gap
        await asyncio.sleep(self.next - self.gap - now)


limiter = Limiter(0.09 * scale("rate limit in api"))


@libperf.trace
async def api():
    await limiter.take()
    await asyncio.sleep(0.2 * scale("api"))


@libperf.trace
async def post():
    await asyncio.sleep(0.3 * scale("post"))


async def main():
    await asyncio.gather(*[api() for _ in range(10)])
    await post()


run(main)
