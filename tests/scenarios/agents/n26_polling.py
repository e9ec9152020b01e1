"""A job in the background whose state is polled: the bottleneck is `render_job`; polling faster gains nearly nothing.

Hard: how many polls there are depends on how long the job takes, and nothing wakes the one who polls.
"""

import asyncio

from _fix import run, scale

import libperf

FIXES = ["render_job", "poll_state", "deliver"]
state = "running"


@libperf.trace
async def render_job():
    global state
    await asyncio.sleep(0.77 * scale("render_job"))
    state = "done"


@libperf.trace
async def poll_state():
    await asyncio.sleep(0.06 * scale("poll_state"))
    return state


@libperf.trace
async def deliver():
    await asyncio.sleep(0.25 * scale("deliver"))


async def main():
    job = asyncio.create_task(render_job())
    while await poll_state() != "done":
        pass
    await job
    await deliver()


run(main)
