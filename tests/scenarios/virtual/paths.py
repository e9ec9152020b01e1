"""Which operations are on the critical path: no resource, only who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import libperf

from .fix import Fix, call, scenario


@scenario("A", "C", top="B")
async def chain(k: Fix) -> None:
    """One after the other: the longest counts most, and each counts by its length."""
    await call(k, "A", 1.0)
    await call(k, "B", 3.0)
    await call(k, "C", 1.0)


@scenario("A", top="B")
async def fork(k: Fix) -> None:
    """Side by side: the shorter one has two seconds of slack, and gains nothing."""
    await asyncio.gather(call(k, "A", 1.0), call(k, "B", 3.0))


@scenario("get foo2", "foo3", top="get foo1")
async def unrelated_sibling(k: Fix) -> None:
    """foo3 waits for foo1 and a pause after it. That foo2 ended last before foo3 began means nothing (jaeger-ui#2371).

    A walk over spans alone blames foo2, the longest of all.
    """

    async def first() -> None:
        await call(k, "get foo1", 1.2)
        await asyncio.sleep(0.3)
        await call(k, "foo3", 1.0)

    with libperf.span("agent"):
        await asyncio.gather(first(), call(k, "get foo2", 1.4))


@scenario("second", top="first")
async def back_to_back(k: Fix) -> None:
    """The second begins at the very nanosecond at which the first ends; the first is not lost (jaeger#9148)."""
    with libperf.span("agent"):
        await call(k, "first", 2.0)
        await call(k, "second", 1.0)


@scenario("X", "Z", top="Y")
async def tie(k: Fix) -> None:
    """Two operations within one per cent of each other: either may be called the first."""
    await call(k, "X", 1.0)
    await call(k, "Y", 1.005)
    await call(k, "Z", 0.3)


@scenario("Y", "Z", top="X")
async def exposed(k: Fix) -> None:
    """Half of X would save 1.5 s, if Y did not take 2.5 s beside it: it saves half a second. Z saves 0.4 s."""
    await asyncio.gather(call(k, "X", 3.0), call(k, "Y", 2.5))
    await call(k, "Z", 0.8)


@scenario("lookup", "telemetry", top="answer")
async def background(k: Fix) -> None:
    """Nobody waits for the longest operation."""
    telemetry = asyncio.create_task(call(k, "telemetry", 4.0))
    await call(k, "lookup", 0.5)
    await call(k, "answer", 1.0)
    assert not telemetry.done()


@scenario("answer", "reply", top="index")
async def outlived_parent(k: Fix) -> None:
    """A child goes on after its parent span has ended, and the end waits for it."""

    async def request() -> asyncio.Task[None]:
        with libperf.span("request", kind="request"):
            index = asyncio.create_task(call(k, "index", 2.5))
            await call(k, "answer", 1.0)
            return index

    index = await request()
    await call(k, "reply", 0.6)
    await index


@scenario("render", "finish", top="produce")
async def abandoned_stream(k: Fix) -> None:
    """An async generator is read in one task and closed, half-way, in another."""

    @libperf.trace("stream")
    async def stream() -> AsyncGenerator[int, None]:
        for number in range(10):
            await call(k, "produce", 0.5)
            yield number

    async def read(numbers: AsyncGenerator[int, None]) -> None:
        async for number in numbers:
            await call(k, "render", 0.2)
            if number == 1:
                break

    async def close(numbers: AsyncGenerator[int, None]) -> None:
        async with aclosing(numbers):
            await call(k, "finish", 0.3)

    numbers = stream()
    await asyncio.create_task(read(numbers))
    await asyncio.create_task(close(numbers))
