"""Calls that many tasks make at one time: the fix is a batcher, which makes one call of those that wait.

A call for n takes BASE + EACH * n. In these programs that is known: a batcher of that name has learned it before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import libperf
from libperf.batcher.processor import BatchProcessor
from libperf.testing import work

from .fix import Fix, call, scenario

BASE, EACH = 0.09, 0.01

Call = Callable[[int], Coroutine[Any, Any, None]]


def learned(name: str) -> None:
    """What a batcher of that name writes when it knows what a batch costs."""
    libperf.Gauge(f"batcher.{name}.base").set(BASE)
    libperf.Gauge(f"batcher.{name}.each").set(EACH)


def together(k: Fix, name: str, one: Call, many: Callable[[list[int]], Coroutine[Any, Any, None]]) -> Call:
    """The call, or a batcher in front of the call for many where that is what is fixed."""
    learned(name)
    if k.name != name:
        return one

    async def process(items: list[int]) -> list[int]:
        await many(items)
        return items

    clock = asyncio.get_running_loop().time
    processor = BatchProcessor(process, max_batch_size=32, clock=lambda: round(clock() * 1e9))

    async def submitted(item: int) -> None:
        await processor.submit(item)

    return submitted


@scenario("answer", top="embed many", category="many-small-calls")
async def all_at_once(k: Fix) -> None:
    """Twenty-four tasks compute on the loop, one after the other; a batch computes for all of them."""

    async def one(text: int) -> None:
        with libperf.span("embed many"):
            work(BASE + EACH)

    async def many(texts: list[int]) -> None:
        work(BASE + EACH * len(texts))

    embed = together(k, "embed many", one, many)
    await asyncio.gather(*[embed(text) for text in range(24)])
    await call(k, "answer", 0.3)


@scenario("answer", top="look up many", category="many-small-calls")
async def one_connection(k: Fix) -> None:
    """Tasks come every 30 ms, and there is one connection: batches form while it is busy."""
    connection = asyncio.Lock()

    async def one(key: int) -> None:
        with libperf.span("look up many"):
            async with connection:
                await asyncio.sleep(BASE + EACH)

    async def many(keys: list[int]) -> None:
        await asyncio.sleep(BASE + EACH * len(keys))

    look_up = together(k, "look up many", one, many)

    async def request(number: int) -> None:
        await asyncio.sleep(0.03 * number)
        await look_up(number)

    await asyncio.gather(*[request(number) for number in range(20)])
    await call(k, "answer", 0.3)


@scenario("think", "answer", top="rerank many", category="many-small-calls")
async def again_and_again(k: Fix) -> None:
    """Eight agents think, each for its own time, and ask a model that serves one at a time; five times."""
    connection = asyncio.Lock()

    async def one(number: int) -> None:
        with libperf.span("rerank many"):
            async with connection:
                await asyncio.sleep(BASE + EACH)

    async def many(numbers: list[int]) -> None:
        await asyncio.sleep(BASE + EACH * len(numbers))

    rerank = together(k, "rerank many", one, many)

    async def agent(number: int) -> None:
        for step in range(5):
            await call(k, "think", 0.011 + 0.0037 * number + 0.0013 * step)
            await rerank(number)

    await asyncio.gather(*[agent(number) for number in range(8)])
    await call(k, "answer", 0.3)


@scenario("think", "answer", top="model")
async def behind_a_batcher(k: Fix) -> None:
    """Twelve agents share a model that takes batches of at most four, one at a time; some agents think longer."""
    clock = asyncio.get_running_loop().time

    async def embed(texts: list[int]) -> list[int]:
        await call(k, "model", BASE + EACH * len(texts))
        return texts

    processor = BatchProcessor(
        embed,
        max_batch_size=4,
        name="shared model",
        clock=lambda: round(clock() * 1e9),
    )

    async def agent(number: int) -> None:
        for step in range(4):
            await call(k, "think", 0.011 + 0.0037 * number + 0.0013 * step)
            await processor.submit(number)

    await asyncio.gather(*[agent(number) for number in range(12)])
    await call(k, "answer", 0.3)
