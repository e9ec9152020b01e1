"""Many threads and event loops at once, with poison and cancelled callers: each item comes to exactly one end."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import libperf
from support_batcher import LIMIT, accounts, both_kinds, limit

THREADS, LOOPS, ITEMS, TASKS = 3, 3, 150, 8


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads change places in the middle of things
    try:
        with limit(60):
            yield
    finally:
        sys.setswitchinterval(interval)


class Ends:
    """How each item ended, counted by whoever had submitted it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.twice: list[int] = []
        self.seen: set[int] = set()
        self.lock = threading.Lock()

    def of(self, item: int, kind: str) -> None:
        with self.lock:
            if item in self.seen:
                self.twice.append(item)
            self.seen.add(item)
            self.counts[kind] += 1


def is_poison(item: int) -> bool:
    return item % 100 == 13


def fn(items: list[int]) -> list[int]:
    if any(map(is_poison, items)):
        raise ValueError("poison")
    return [-item for item in items]


def in_thread(processor: libperf.BatchProcessor[int, int], first: int, ends: Ends) -> None:
    chance = random.Random(first)
    for item in range(first, first + ITEMS):
        try:
            future = processor.submit(item, chance.randrange(4), tenant=chance.choice([None, "a", "b"]))
            if chance.random() < 0.05 and future.cancel():
                ends.of(item, "cancelled")
                continue
            assert future.result(LIMIT) == -item
            ends.of(item, "result")
        except libperf.BatchError as error:
            ends.of(item, "poison" if is_poison(item) else "with poison")
            assert isinstance(error.__cause__, ValueError)


def in_loop(processor: libperf.BatchProcessor[int, int], first: int, ends: Ends) -> None:
    async def client(mine: range) -> None:
        chance = random.Random(mine.start)
        for item in mine:
            try:
                if chance.random() < 0.05:
                    task = asyncio.ensure_future(_await(processor.submit(item)))
                    await asyncio.sleep(0)
                    task.cancel()
                    ends.of(item, "result" if await task == -item else "wrong")
                else:
                    assert await processor.submit(item, chance.randrange(4)) == -item
                    ends.of(item, "result")
            except asyncio.CancelledError:
                ends.of(item, "cancelled")
            except libperf.BatchError:
                ends.of(item, "poison" if is_poison(item) else "with poison")

    async def main() -> None:
        each = ITEMS // TASKS
        async with asyncio.TaskGroup() as group:
            for i in range(TASKS):
                group.create_task(client(range(first + i * each, first + (i + 1) * each)))

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    "settings",
    [
        {"isolate": "singles", "concurrency": 2},
        {"isolate": "bisect", "max_queue": 6, "max_batch_size": 4},
        {"concurrency": "auto", "min_batch_size": 3, "max_wait_time": 0.001},
    ],
    ids=["singles", "small queue", "auto"],
)
def test_each_item_comes_to_exactly_one_end(kind: str, settings: dict[str, Any]) -> None:
    """Threads and loops, 1 % poison, 5 % cancelled: nothing is lost, answered twice, or given to somebody else."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(both_kinds(fn)[kind], **settings)
    ends = Ends()
    failures: list[BaseException] = []

    def guarded(work: Any, first: int) -> None:
        try:
            work(processor, first, ends)
        except BaseException as error:
            failures.append(error)

    work = [in_thread] * THREADS + [in_loop] * LOOPS
    threads = [threading.Thread(target=guarded, args=(each, i * 1000)) for i, each in enumerate(work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT * 2)
        assert not thread.is_alive()
    assert not failures and not ends.twice
    assert sum(ends.counts.values()) == THREADS * ITEMS + LOOPS * TASKS * (ITEMS // TASKS)
    assert ends.counts["result"] > 0 and ends.counts["cancelled"] > 0 and ends.counts["poison"] > 0
    if "isolate" in settings:
        assert ends.counts["with poison"] == 0, ends.counts
    assert processor.close()
    accounts(processor)
    stats = processor.get_stats()
    assert stats["submitted"] == sum(ends.counts.values()) and stats["orphaned"] == 0


async def _await(awaitable: Any) -> Any:
    return await awaitable
