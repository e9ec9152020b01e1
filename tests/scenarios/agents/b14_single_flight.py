"""Five tasks wait for what the first one loads, by one shared future: the bottleneck is `use`, after the load."""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["load_cfg", "use", "warm"]
flight = None


@libperf.trace
async def load_cfg():
    await asyncio.sleep(0.5 * scale("load_cfg"))
    return 1


async def config():
    global flight
    if flight is None:
        flight = asyncio.get_running_loop().create_future()
        loaded = await load_cfg()
        flight.set_result(loaded)
        return loaded
    return await flight


@libperf.trace
async def warm(number):
    await asyncio.sleep(0.1 * number * scale("warm"))


@libperf.trace
async def use():
    await asyncio.sleep(0.35 * scale("use"))


async def request(number):
    await warm(number)
    await config()
    await use()


async def main():
    await asyncio.gather(*[request(number) for number in range(5)])


run(main)
