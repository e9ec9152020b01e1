"""libperf.Lock, Semaphore, BoundedSemaphore and Queue: asyncio's own, with a name."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable

import pytest

import libperf

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_they_are_asyncios() -> None:
    """Subclasses, made by the same arguments, that work the same without a profiler."""

    async def main() -> None:
        for lock in (libperf.Lock(), libperf.Lock("a"), libperf.Lock(name="a")):
            assert isinstance(lock, asyncio.Lock)
            async with lock:
                assert lock.locked()
        for cls, base in (
            (libperf.Semaphore, asyncio.Semaphore),
            (libperf.BoundedSemaphore, asyncio.BoundedSemaphore),
        ):
            for semaphore in (cls(), cls(1, "a"), cls(value=1, name="a")):
                assert isinstance(semaphore, base)
                async with semaphore:
                    assert semaphore.locked()
        with pytest.raises(ValueError):
            libperf.BoundedSemaphore(1).release()
        with pytest.raises(ValueError):
            libperf.Semaphore(-1)
        for items in (libperf.Queue[int](1), libperf.Queue[int](1, "a"), libperf.Queue[int](maxsize=1, name="a")):
            assert isinstance(items, asyncio.Queue)
            await items.put(1)
            assert items.full()
            assert await items.get() == 1
        assert libperf.Queue().maxsize == 0

    asyncio.run(main())


def test_they_cost_nothing_until_they_are_used(run: Run) -> None:
    """`import libperf` imports no asyncio; asking for one does."""
    code = "import sys, libperf; print('asyncio' in sys.modules); libperf.Lock; print('asyncio' in sys.modules)"
    assert run(code).stdout == "False\nTrue\n"
