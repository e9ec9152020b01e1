"""What caches wait for: tiers that answer slowly are findings, flights are the doing of whoever leads them."""

from __future__ import annotations

import asyncio

import libperf
from libperf.cache import waits

from .fix import Fix, call, scenario


@scenario("answer", top="cache users: redis")
async def slow_tier(k: Fix) -> None:
    """Ten questions to Redis, one after the other, each with a round trip of 50 ms."""
    for _ in range(10):
        with libperf.span("ask"), waits.tier("users", "redis"):
            await asyncio.sleep(0.05 * k("cache users: redis"))
    await call(k, "answer", 0.2)


@scenario("cache users: flight", "read", "answer", top="compute")
async def one_flight(k: Fix) -> None:
    """Four tasks want the same; three wait for the first. They wait two seconds each, and it is all the first one's."""
    landed: asyncio.Future[None] | None = None

    async def get() -> None:
        nonlocal landed
        if landed is not None:
            with waits.flight("users"):
                await landed
            return
        landed = asyncio.get_running_loop().create_future()
        await call(k, "read", 0.5)
        await call(k, "compute", 1.5)
        landed.set_result(None)

    await asyncio.gather(*[get() for _ in range(4)])
    await call(k, "answer", 0.5)


@scenario("cache books: flight", "parse", "answer", top="read")
async def cached_function(k: Fix) -> None:
    """A real one: of five tasks two compute, the others wait for these; nobody waits for the second question."""

    @libperf.cached(name="books")
    async def look_up(book: str) -> str:
        await call(k, "read", 1.0)
        await call(k, "parse", 0.4)
        return book

    for _ in range(2):
        await asyncio.gather(*[look_up(book) for book in ("Emma", "Emma", "Emma", "Ulysses", "Ulysses")])
    await call(k, "answer", 0.5)
