"""Batchers side by side, behind one interface: libperf, those of PyPI that are installed, and two short references.

Each form takes a function of lists and returns what submits one item; the references are what one writes who needs no
more than this: without them a core in C would be compared with slow libraries alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from importlib import import_module
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
AsyncFunction = Callable[[list[T]], Awaitable[list[R]]]
Function = Callable[[list[Any]], list[Any]]
Submit = Callable[[Any], Awaitable[Any]]
SIZE = 32
WINDOW = 0.005


# ---- references ----


class Greedy(Generic[T, R]):
    """One batch at a time; what comes meanwhile is the next one."""

    def __init__(self, function: AsyncFunction[T, R], size: int) -> None:
        self.function, self.size = function, size
        self.waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self.task: asyncio.Task[None] | None = None

    def submit(self, item: T) -> asyncio.Future[R]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self.waiting.append((item, future))
        if self.task is None:
            self.task = loop.create_task(self.run())
        return future

    async def run(self) -> None:
        try:
            while self.waiting:
                batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), self.size))]
                await answer(self.function, batch)
        finally:
            self.task = None


class Window(Generic[T, R]):
    """A batch goes when it is full, or so many seconds after its first item; any number at a time."""

    def __init__(self, function: AsyncFunction[T, R], size: int, seconds: float) -> None:
        self.function, self.size, self.seconds = function, size, seconds
        self.waiting: list[tuple[T, asyncio.Future[R]]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    def submit(self, item: T) -> asyncio.Future[R]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self.waiting.append((item, future))
        if len(self.waiting) >= self.size:
            self.go(loop)
        elif self.timer is None:
            self.timer = loop.call_later(self.seconds, self.go, loop)
        return future

    def go(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self.waiting = self.waiting, []
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        task = loop.create_task(answer(self.function, batch))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def answer(function: AsyncFunction[T, R], batch: list[tuple[T, asyncio.Future[R]]]) -> None:
    try:
        results = await function([item for item, _ in batch])
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
    except Exception as error:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)


class Threaded:
    """For callers that are threads: a queue, and a thread that empties it."""

    def __init__(self, function: Function, size: int) -> None:
        self.function, self.size = function, size
        self.waiting: queue.SimpleQueue[tuple[Any, Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self.run, daemon=True).start()

    def submit(self, item: Any) -> Any:
        future: Future[Any] = Future()
        self.waiting.put((item, future))
        return future.result()

    def run(self) -> None:
        while True:
            batch = [self.waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < self.size:
                    batch.append(self.waiting.get_nowait())
            try:
                results = self.function([item for item, _ in batch])
                for (_, future), result in zip(batch, results, strict=True):
                    future.set_result(result)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)


# ---- all of them ----


def _libperf(function: Any, size: int, seconds: float) -> Submit:
    import libperf

    return libperf.BatchProcessor(function, max_batch_size=size, max_wait_time=seconds).submit


def _batched(function: Any, size: int, seconds: float) -> Submit:
    module = import_module("batched.aio")
    processor: Submit = module.AsyncBatchProcessor(function, batch_size=size, timeout_ms=1000 * seconds)
    return processor


def _async_batcher(function: Any, size: int, seconds: float) -> Submit:
    base = import_module("async_batcher.batcher").AsyncBatcher

    class Batcher(base):  # type: ignore[misc, valid-type]
        async def process_batch(self, batch: list[Any]) -> Any:
            return await function(batch)

    submit: Submit = Batcher(max_batch_size=size, max_queue_time=seconds).process
    return submit


def _aiodataloader(function: Any, size: int, seconds: float) -> Submit:
    submit: Submit = import_module("aiodataloader").DataLoader(function, max_batch_size=size, cache=False).load
    return submit


def _none(function: Any, size: int, seconds: float) -> Submit:
    async def alone(item: Any) -> Any:
        return (await function([item]))[0]

    return alone


FORMS: dict[str, Callable[[Any, int, float], Submit]] = {
    "libperf": _libperf,
    "30 lines, greedy": lambda function, size, seconds: Greedy(function, size).submit,
    "30 lines, window": lambda function, size, seconds: Window(function, size, seconds).submit,
    "aiodataloader": _aiodataloader,
    "batched": _batched,
    "async-batcher": _async_batcher,
    "no batching": _none,
}
MODULES = {
    "libperf": "libperf",
    "aiodataloader": "aiodataloader",
    "batched": "batched.aio",
    "async-batcher": "async_batcher",
}


def installed(name: str) -> bool:
    """Also loads it, so that its version is known."""
    try:
        import_module(MODULES.get(name, "asyncio"))
    except ImportError:
        return False
    return True


def _threads_libperf(function: Function, size: int) -> Callable[[Any], Any]:
    import libperf

    processor: Any = libperf.BatchProcessor(function, max_batch_size=size)
    return lambda item: processor.submit(item).result()


def _threads_batched(function: Function, size: int) -> Callable[[Any], Any]:
    call: Callable[[Any], Any] = import_module("batched").BatchProcessor(function, size, 1000 * WINDOW)
    return call


THREAD_FORMS: dict[str, Callable[[Function, int], Callable[[Any], Any]]] = {
    "libperf": _threads_libperf,
    "30 lines": lambda function, size: Threaded(function, size).submit,
    "batched": _threads_batched,
}
