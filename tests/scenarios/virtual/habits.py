"""How operations behave: they hold up the loop, fail, are slow the first time or now and then, keep what they get."""

from __future__ import annotations

import asyncio
import time

import libperf
from libperf.testing import work

from .fix import Fix, call, scenario


@scenario("fetch", top="parse", category="loop-bound")
async def blocking_call(k: Fix) -> None:
    """A coroutine that calls something which blocks: six tasks, one after the other."""

    async def page() -> None:
        await call(k, "fetch", 0.2)
        with libperf.span("parse"):
            time.sleep(0.3 * k("parse"))  # noqa: ASYNC251 - that is the mistake

    await asyncio.gather(*[page() for _ in range(6)])


@scenario("fetch", "store", top="tokenize", category="loop-bound")
async def work_on_the_loop(k: Fix) -> None:
    """CPU work in coroutines: answers that have come wait until the loop has time for them."""

    async def page() -> None:
        await call(k, "fetch", 0.1)
        with libperf.span("tokenize"):
            work(0.2 * k("tokenize"))
        await call(k, "store", 0.05)

    await asyncio.gather(*[page() for _ in range(5)])


@scenario("prepare", top="flaky", category="retry")
async def retry(k: Fix) -> None:
    """Three failures and a success; what is waited between them is the failing operation's, too."""
    with libperf.span("agent"):
        await call(k, "prepare", 1.0)
        for attempt in range(4):
            try:
                with libperf.span("flaky"):
                    await asyncio.sleep(0.5 * k("flaky"))
                    if attempt < 3:
                        raise ConnectionError("503")
            except ConnectionError:
                await asyncio.sleep(0.2 * 2**attempt * k("flaky"))


@scenario("lookup", top="search", category="slow-tail")
async def slow_tail(k: Fix) -> None:
    """Half of the requests spend most of their time in lookup; but two in a hundred are slow, and those in search."""
    for number in range(100):
        with libperf.span("request", kind="request"):
            await call(k, "lookup", 0.05)
            await call(k, "search", 3.0 if number in (40, 80) else 0.02)


@scenario("search", top="embed", category="first-use")
async def first_use(k: Fix) -> None:
    """The first call loads a model; the other nine take no time to speak of."""
    for number in range(10):
        await call(k, "search", 0.15)
        await call(k, "embed", 0.1 if number else 2.0)


@scenario("answer", top="remember", category="memory-growth")
async def memory_growth(k: Fix) -> None:
    """Each step keeps two megabytes, and nothing is ever let go."""
    kept = []
    for number in range(32):
        with libperf.span("remember"):
            kept.append(number.to_bytes(1, "little") * 2**21)
            await asyncio.sleep(0.05 * k("remember"))
        await call(k, "answer", 0.02)
