"""Eight jobs side by side, some retry up to three times: the bottleneck is `vendor`, through the unluckiest job."""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["vendor", "local_step", "end_step"]


@libperf.trace
async def vendor(bad):
    await asyncio.sleep(0.06 * scale("vendor"))
    if bad:
        raise OSError


@libperf.trace
async def local_step():
    await asyncio.sleep(0.2 * scale("local_step"))


@libperf.trace
async def end_step():
    await asyncio.sleep(0.25 * scale("end_step"))


async def job(number):
    for attempt in range(4):
        try:
            await vendor(attempt < number % 4)
            break
        except OSError:
            await asyncio.sleep(0.08 * 2**attempt * scale("vendor"))
    await local_step()


@libperf.trace
async def batch():
    await asyncio.gather(*[job(number) for number in range(8)])


async def main():
    await batch()
    await end_step()


run(main)
