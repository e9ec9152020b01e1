"""A task that nobody awaits: `telemetry` is the longest and costs nothing; the bottleneck is `answer`."""

import asyncio

from _fix import burn, run, scale

import libperf

FIXES = ["telemetry", "answer", "lookup"]


@libperf.trace
async def telemetry():
    for _ in range(30):
        await asyncio.sleep(0.05 * scale("telemetry"))
        burn(0.004 * scale("telemetry"))


@libperf.trace
async def lookup():
    await asyncio.sleep(0.25 * scale("lookup"))


@libperf.trace
async def answer():
    await asyncio.sleep(0.6 * scale("answer"))


async def main():
    asyncio.create_task(telemetry())  # noqa: RUF006  # that nobody keeps it is the point
    await lookup()
    await lookup()
    await answer()


run(main)
