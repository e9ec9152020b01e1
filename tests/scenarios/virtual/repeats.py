"""Calls that are made again with the arguments that they had before: the fix is a cache, which makes equal calls once.

What repeats is traced, so that its arguments are known; it calls two operations or more, none of which gains as much.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import libperf
from libperf.testing import work

from .fix import Fix, call, scenario

Function = Callable[..., Coroutine[Any, Any, Any]]


def once(k: Fix, name: str, function: Function) -> Function:
    """A function that is cached, where that is what is fixed."""
    return libperf.cached(name=name)(function) if k.caches(name) else function


@scenario("query", "parse", "answer", top="lookup", category="repeated")
async def one_after_the_other(k: Fix) -> None:
    """Eight questions about three cities."""

    @libperf.trace
    async def lookup(city: str) -> None:
        await call(k, "query", 0.3)
        await call(k, "parse", 0.2)

    lookup = once(k, "lookup", lookup)
    for city in ("Rome", "Oslo", "Rome", "Rome", "Bonn", "Oslo", "Rome", "Bonn"):
        await lookup(city)
    await call(k, "answer", 1.0)


@scenario("answer", top="embed", category="repeated")
async def at_the_same_time(k: Fix) -> None:
    """Six tasks ask for the same at once, and each works on the loop: one flight would do for all of them."""

    @libperf.trace
    async def embed(text: str) -> None:
        await asyncio.sleep(0.1)
        work(0.2)

    embed = once(k, "embed", embed)
    await asyncio.gather(*[embed("the same") for _ in range(6)])
    await call(k, "answer", 0.3)


@scenario("request", "read", "api", "report", top="fetch", category="repeated")
async def behind_a_semaphore(k: Fix) -> None:
    """Three workers, twelve jobs about four documents, and one connection: most of them need no turn."""
    api = libperf.Semaphore(k.capacity("api", 1), name="api")
    jobs: libperf.Queue[int] = libperf.Queue(name="jobs")

    @libperf.trace
    async def fetch(document: int) -> None:
        async with api:
            await call(k, "request", 0.3)
            await call(k, "read", 0.1)

    fetch = once(k, "fetch", fetch)

    async def worker() -> None:
        while True:
            await fetch(await jobs.get())
            jobs.task_done()

    workers = [asyncio.create_task(worker()) for _ in range(3)]
    for number in range(12):
        jobs.put_nowait(number % 4)
    await jobs.join()
    for each in workers:
        each.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    await call(k, "report", 0.2)


@scenario("page", "answer", top="summarise", category="repeated")
async def what_it_sets_going(k: Fix) -> None:
    """Each call has tasks of its own, and a thread's work; of a call that is answered none of it happens."""

    @libperf.trace
    async def summarise(book: str) -> None:
        await asyncio.gather(*[call(k, "page", 0.2 + 0.1 * number) for number in range(3)])
        await asyncio.get_running_loop().run_in_executor(None, str.upper, book)
        work(0.3 * k("summarise's own"))

    summarise = once(k, "summarise", summarise)
    for book in ("Emma", "Ulysses", "Emma", "Emma"):
        await summarise(book)
    await call(k, "answer", 0.2)


@scenario("ask", "answer", top="tool", category="repeated")
async def after_an_error(k: Fix) -> None:
    """The first call fails and is not kept; the second is, and answers the other four."""
    calls = 0

    @libperf.trace
    async def tool(question: str) -> None:
        nonlocal calls
        calls += 1
        await call(k, "ask", 0.5)
        if calls == 1:
            raise ConnectionError("503")

    tool = once(k, "tool", tool)
    for _ in range(6):
        with libperf.span("step"), contextlib.suppress(ConnectionError):
            await tool("?")
    await call(k, "answer", 0.5)


@scenario("answer", top="lookup")
async def never_the_same(k: Fix) -> None:
    """Eight questions, no two of them alike: there is nothing to cache."""

    @libperf.trace
    async def lookup(city: int) -> None:
        await asyncio.sleep(0.3 * k("lookup"))

    for city in range(8):
        await lookup(city)
    await call(k, "answer", 1.0)


@scenario("answer", top="lookup")
async def never_looked_at(k: Fix) -> None:
    """Eight times the same, but nobody knows that: an open connection has no canonical form."""

    @libperf.trace
    async def lookup(connection: object) -> None:
        await asyncio.sleep(0.3 * k("lookup"))

    connection = object()
    for _ in range(8):
        await lookup(connection)
    await call(k, "answer", 1.0)
