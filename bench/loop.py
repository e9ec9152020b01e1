"""loop.py OPERATION COUNT: one operation of the Python package, so many times, with the loop around it.

For instructions.py, which has valgrind count what goes on inside of functools.reduce(): that is all of it, and nothing of
what comes before. The same in C is cases/loop.c.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
from speed_cost import pairs

import libperf

SIZE = 1024  # entries of a cache: none is ever evicted
KEYS = [f"user:{number}" for number in range(SIZE)]
BATCH = 32
WARM = 2 * SIZE  # times before it counts

Run = Callable[[int], object]


def value_of(key: str) -> str:
    return key


def traced(form: str) -> Run:
    return pairs()[form][0]


def cached_hit() -> Run:
    function = libperf.cached(max_size=2 * SIZE)(value_of)

    def run(count: int) -> None:
        for number in range(count):
            function(KEYS[number % SIZE])

    return run


def cache_get() -> Run:
    cache = libperf.TieredCache(2 * SIZE, None)
    for key in KEYS:
        cache.set(key, key)

    def run(count: int) -> None:
        for number in range(count):
            cache.get(KEYS[number % SIZE])

    return run


async def doubled(items: list[int]) -> list[int]:
    return [2 * item for item in items]


def submit() -> Run:
    """Until the results are there: batches are full, and made on the event loop, so that no other thread takes part."""

    async def main(count: int) -> None:
        async with libperf.BatchProcessor(doubled, max_batch_size=BATCH) as processor:
            for first in range(0, count, BATCH):
                for future in [processor.submit(item) for item in range(first, first + BATCH)]:
                    await future

    return lambda count: asyncio.run(main(count))


OPERATIONS: dict[str, Callable[[], Run]] = {
    "trace/call": functools.partial(traced, "function"),
    "trace/leaf": functools.partial(traced, "leaf"),
    "trace/resume": functools.partial(traced, "resume"),
    "span": functools.partial(traced, "span"),
    "cached/hit": cached_hit,
    "TieredCache.get": cache_get,
    "submit": submit,
}


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in OPERATIONS:
        print("usage: loop.py OPERATION COUNT, where OPERATION is", *OPERATIONS, sep="\n  ", file=sys.stderr)
        return 2
    run = OPERATIONS[sys.argv[1]]()
    gc.disable()
    with libperf.span("root"):
        run(WARM)
        functools.reduce(lambda first, second: run(int(sys.argv[2])), [1, 2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
