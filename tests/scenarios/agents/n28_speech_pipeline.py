"""A token stream cut into sentences and spoken as it comes: the bottleneck is `speak`; `generate` overlaps it.

Hard: both stages run all the time; the queue between them must keep its order, so two speakers are half a cheat.
"""

import asyncio

from _fix import capacity, run, scale

import libperf

FIXES = ["speak", "sentences", "generate", "greet"]


@libperf.trace
async def greet():
    await asyncio.sleep(0.15 * scale("greet"))


@libperf.trace
async def generate(sentences, speakers):
    for number in range(12):
        for _ in range(3):
            await asyncio.sleep(0.02 * scale("generate"))
        await sentences.put(number)
    for _ in range(speakers):
        await sentences.put(None)


@libperf.trace
async def speak():
    await asyncio.sleep(0.08 * scale("speak"))


async def speaker(sentences):
    while await sentences.get() is not None:
        await speak()


async def main():
    sentences = libperf.Queue(name="sentences")
    speakers = capacity("sentences", 1)
    await greet()
    async with asyncio.TaskGroup() as group:
        group.create_task(generate(sentences, speakers))
        for _ in range(speakers):
            group.create_task(speaker(sentences))


run(main)
