"""Two stages with a bounded queue between: the bottleneck is the second, `upload` and its one worker on `stage2`."""

import asyncio
import random

from _fix import capacity, run, scale

import libperf

FIXES = ["stage1", "stage2", "extract", "upload"]
rnd = random.Random(26)


@libperf.trace
async def extract(seconds):
    await asyncio.sleep(seconds * scale("extract"))


@libperf.trace
async def upload(seconds):
    await asyncio.sleep(seconds * scale("upload"))


async def extractor(stage1, stage2):
    while True:
        seconds = await stage1.get()
        await extract(seconds)
        await stage2.put(seconds)
        stage1.task_done()


async def uploader(stage2):
    while True:
        await stage2.get()
        await upload(0.06)
        stage2.task_done()


async def main():
    stage1 = libperf.Queue(name="stage1")
    stage2 = libperf.Queue(maxsize=3, name="stage2")
    workers = [asyncio.create_task(extractor(stage1, stage2)) for _ in range(capacity("stage1", 2))]
    workers += [asyncio.create_task(uploader(stage2)) for _ in range(capacity("stage2", 1))]
    for _ in range(18):
        stage1.put_nowait(0.05 + 0.04 * rnd.random())
    await stage1.join()
    await stage2.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


run(main)
