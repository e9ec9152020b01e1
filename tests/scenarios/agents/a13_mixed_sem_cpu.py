"""CPU steps on the loop before a semaphore of four: the bottleneck is `generate` and its limit, `model`."""

import asyncio
import random

from _fix import capacity, run, scale, spin

import libperf

FIXES = ["model", "tokenize", "generate", "post"]
rnd = random.Random(13)


@libperf.trace
def tokenize():
    spin(250000 * scale("tokenize"))


@libperf.trace
async def generate(model):
    async with model:
        await asyncio.sleep((0.15 + 0.1 * rnd.random()) * scale("generate"))


@libperf.trace
async def post():
    await asyncio.sleep(0.1 * scale("post"))


async def request(model):
    tokenize()
    await generate(model)
    await post()


async def main():
    model = libperf.Semaphore(capacity("model", 4), name="model")
    await asyncio.gather(*[request(model) for _ in range(16)])


run(main)
