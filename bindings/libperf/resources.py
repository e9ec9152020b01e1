"""asyncio's semaphores, locks and queues with a name for reports; otherwise they are asyncio's own."""

import asyncio
from typing import TypeVar

__all__ = ["BoundedSemaphore", "Lock", "Queue", "Semaphore"]

T = TypeVar("T")


class Lock(asyncio.Lock):
    """`asyncio.Lock` with a name."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self._libperf_name = name


class Semaphore(asyncio.Semaphore):
    """`asyncio.Semaphore` with a name."""

    def __init__(self, value: int = 1, name: str | None = None) -> None:
        super().__init__(value)
        self._libperf_name = name
        self._libperf_capacity = value


class BoundedSemaphore(asyncio.BoundedSemaphore):
    """`asyncio.BoundedSemaphore` with a name."""

    def __init__(self, value: int = 1, name: str | None = None) -> None:
        super().__init__(value)
        self._libperf_name = name


class Queue(asyncio.Queue[T]):
    """`asyncio.Queue` with a name."""

    def __init__(self, maxsize: int = 0, name: str | None = None) -> None:
        super().__init__(maxsize)
        self._libperf_name = name
