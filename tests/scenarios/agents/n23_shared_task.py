"""A token fetched once in a task that all callers shield and share: the bottleneck is `call_api`, after the token.

Hard: the first caller gives up waiting after 0.1 s and goes on without the token; the task it began goes on as well.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["call_api", "fetch_token", "prepare", "anonymous"]
flight = None


@libperf.trace
async def fetch_token():
    await asyncio.sleep(0.4 * scale("fetch_token"))


async def token():
    global flight
    if flight is None:
        flight = asyncio.create_task(fetch_token())
    await asyncio.shield(flight)


@libperf.trace
async def prepare():
    await asyncio.sleep(0.15 * scale("prepare"))


@libperf.trace
async def anonymous():
    await asyncio.sleep(0.2 * scale("anonymous"))


@libperf.trace
async def call_api():
    await asyncio.sleep(0.6 * scale("call_api"))


async def impatient():
    try:
        async with asyncio.timeout(0.1):
            await token()
    except TimeoutError:
        await anonymous()


async def patient():
    await prepare()
    await token()
    await call_api()


async def main():
    await asyncio.gather(impatient(), *[patient() for _ in range(4)])


run(main)
