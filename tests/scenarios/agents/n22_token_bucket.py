"""A token bucket that sleeps while it holds its lock: the bottleneck is the rate, `bucket`; the calls overlap.

Hard: the first four calls pass at once, the others wait in a chain of holds that only sleep.
"""

import asyncio
import time

from _fix import run, scale

import libperf

FIXES = ["bucket", "call_api", "summarise"]


class TokenBucket:
    """Admits a burst, then one caller each `gap` seconds."""

    def __init__(self, burst, gap):
        self.tokens = self.burst = burst
        self.gap = gap
        self.filled_at = time.monotonic()
        self.lock = libperf.Lock(name="bucket")

    async def take(self):
        async with self.lock:
            self.fill()
            if self.tokens < 1:
                await asyncio.sleep((1 - self.tokens) * self.gap)
                self.fill()
            self.tokens -= 1

    def fill(self):
        now = time.monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.filled_at) / self.gap)
        self.filled_at = now


@libperf.trace
async def call_api(bucket):
    await bucket.take()
    await asyncio.sleep(0.2 * scale("call_api"))


@libperf.trace
async def summarise():
    await asyncio.sleep(0.25 * scale("summarise"))


async def main():
    bucket = TokenBucket(burst=4, gap=0.08 * scale("bucket"))
    await asyncio.gather(*[call_api(bucket) for _ in range(14)])
    await summarise()


run(main)
