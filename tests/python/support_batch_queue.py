"""What the tests of the extension share: a queue with a clock that stands still, and a pump made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from libperf._batcher import Batch, BatchFuture, Queue
from libperf._core import ffi, lib
from libperf.batcher.errors import BatcherClosed, BatchError, DeadlineExceeded, ItemShed, QueueFull

ERRORS = (BatchError, DeadlineExceeded, QueueFull, ItemShed, BatcherClosed)
LIMIT = 30.0  # seconds: whoever hangs fails
inside: ContextVar[Batch | None] = ContextVar("inside", default=None)


def double(data: list[Any]) -> list[Any]:
    return [item * 2 for item in data]


class Bench:
    """A queue, and what it was told to do. Keywords that are fields of perf_batch_config are that; the rest is Queue()'s."""

    def __init__(self, still: bool = False, **settings: Any) -> None:
        config = ffi.new("perf_batch_config *")
        lib.perf_batch_config_init(config)
        for name in [name for name in settings if hasattr(config, name)]:
            setattr(config, name, settings.pop(name))
        self.now_ns = 0
        self.woken: list[Any] = []  # for which loops
        self.inlined = 0
        self.function: Callable[[list[Any]], Any] = double
        self.pumping = False
        if still:
            settings["clock"] = lambda: self.now_ns
        self.queue = Queue(
            int(ffi.cast("uintptr_t", config)),
            **{"wake": self.wake, "inside": inside, "inline": self.inline, "errors": ERRORS, **settings},
        )
        self.submit = self.queue.submit

    def wake(self, loop: Any) -> None:
        self.woken.append(loop)
        if self.pumping:
            loop.call_soon(self.pump)

    def inline(self) -> None:
        self.inlined += 1
        self.pump()

    def go(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def pump(self) -> int:
        """Process all that can be taken now; returns how many batches."""
        count = 0
        while (batch := self.queue.take()) is not None:
            self.process(batch)
            count += 1
        return count

    def process(self, batch: Batch) -> None:
        token = inside.set(batch)
        try:
            results = self.function(batch.data)
        except Exception as error:
            self.queue.fail(batch, error)
        else:
            self.queue.finish(batch, results)
        finally:
            inside.reset(token)

    def take(self) -> Batch:
        batch = self.queue.take()
        assert batch is not None
        return batch

    def settled(self) -> None:
        """Each item that was submitted is accounted for, once."""
        s = self.queue.stats()
        ends = ("finished", "cancelled", "expired", "infeasible", "shed", "closed")
        assert s["submitted"] == sum(s[name] for name in (*ends, "blocked", "queued", "running"))


def pumped(**settings: Any) -> Bench:
    """A queue that is pumped in whatever loop submits."""
    bench = Bench(**settings)
    bench.pumping = True
    return bench


def data_of(batch: Batch | None) -> list[Any]:
    assert batch is not None
    return list(batch.data)


async def awaited(future: BatchFuture[Any]) -> Any:
    return await future


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(main(), LIMIT)

    return asyncio.run(limited())


async def turns(count: int = 3) -> None:
    """Let the loop run what is ready, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)
