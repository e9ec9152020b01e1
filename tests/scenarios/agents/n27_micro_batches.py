"""Requests gathered into batches by a timer of 40 ms: the bottleneck is `embed_batch`, one batch at a time.

Hard: a batch is a task of nobody's, woken by call_later, and resolves the futures of many callers.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["embed_batch", "prepare", "answer"]
MOST = 4


@libperf.trace
async def embed_batch(size):
    await asyncio.sleep((0.08 + 0.02 * size) * scale("embed_batch"))


class Batcher:
    """Collects up to MOST requests, or as many as come within 40 ms."""

    def __init__(self):
        self.waiting = []
        self.timer = None
        self.one_at_a_time = asyncio.Lock()
        self.tasks = set()

    async def embed(self):
        done = asyncio.get_running_loop().create_future()
        self.waiting.append(done)
        if len(self.waiting) == MOST:
            self.flush()
        elif self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(0.04, self.flush)
        await done

    def flush(self):
        if self.timer:
            self.timer.cancel()
            self.timer = None
        batch, self.waiting = self.waiting, []
        task = asyncio.create_task(self.process(batch))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def process(self, batch):
        async with self.one_at_a_time:
            await embed_batch(len(batch))
        for done in batch:
            done.set_result(None)


@libperf.trace
async def prepare(number):
    await asyncio.sleep((0.1 + 0.005 * number) * scale("prepare"))


@libperf.trace
async def answer():
    await asyncio.sleep(0.25 * scale("answer"))


async def request(batcher, number):
    await prepare(number)
    await batcher.embed()


async def main():
    batcher = Batcher()
    await asyncio.gather(*[request(batcher, number) for number in range(18)])
    await answer()


run(main)
