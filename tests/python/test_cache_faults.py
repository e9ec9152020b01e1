"""Factories that raise, are cancelled, come back, fork; keys and values that nobody should have."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest

import libperf
from support_cache import SmallTier, Still, counting


def test_raising_factories_are_not_cached() -> None:
    cache = libperf.TieredCache()
    for error in (OSError("a"), KeyError("b"), RecursionError(), KeyboardInterrupt(), SystemExit(3)):

        def fail(error: BaseException = error) -> Any:
            raise error

        with pytest.raises(type(error)):
            cache.get_or_set("k", fail)
    assert cache.get_or_set("k", lambda: 1) == 1
    assert len(cache._flow.flights) == 0


def test_an_exception_is_let_go_of() -> None:
    """Neither the cache nor a flight keeps the frames it came through."""

    class Big:
        pass

    cache, seen = libperf.TieredCache(), []

    def fail() -> Any:
        big = Big()
        seen.append(weakref.ref(big))
        raise OSError

    with pytest.raises(OSError):
        cache.get_or_set("k", fail)
    gc.collect()
    assert seen[0]() is None


def test_a_cancelled_computing() -> None:
    """Somebody else who waits takes over; what the first one had begun is not kept."""
    cache = libperf.TieredCache()

    async def main() -> None:
        calls = []

        async def factory() -> int:
            calls.append(1)
            await asyncio.sleep(0 if len(calls) > 1 else 60)
            return len(calls)

        tasks = [asyncio.ensure_future(cache.aget_or_set("k", factory)) for _ in range(3)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        assert await asyncio.gather(*tasks[1:]) == [2, 2]
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]

    asyncio.run(main())
    assert cache.get("k") == 2


def test_a_timeout_around_a_call() -> None:
    cache = libperf.TieredCache()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cache.aget_or_set("k", lambda: asyncio.sleep(60)), 0.01)
        assert await cache.aget_or_set("k", lambda: asyncio.sleep(0, "value")) == "value"

    asyncio.run(main())


def test_factories_that_use_the_cache() -> None:
    """Of other keys, of the same key, and clear it."""
    cache = libperf.TieredCache(disk=SmallTier(Still()))
    assert cache.get_or_set("a", lambda: cache.get_or_set("b", lambda: cache.get_or_set("a", lambda: 1))) == 1
    assert cache.get_or_set("c", lambda: (cache.clear(), 2)[1]) == 2
    assert cache.get("c") is None


def test_a_factory_that_forks() -> None:
    """The child finds nobody to wait for, and goes on computing; so does the parent."""
    cache = libperf.TieredCache()
    begun, gate = threading.Event(), threading.Event()

    def other() -> str:
        begun.set()
        gate.wait(10)
        return "other's"

    thread = threading.Thread(target=cache.get_or_set, args=("other", other))
    thread.start()
    begun.wait(10)

    def factory() -> int:
        child = os.fork()
        if child == 0:
            ok = cache.get_or_set("other", lambda: "own") == "own" and cache.get_or_set("k", lambda: 7) == 7
            os._exit(0 if ok else 1)
        return os.waitpid(child, 0)[1]

    assert cache.get_or_set("k", factory) == 0
    gate.set()
    thread.join()
    assert (cache.get("k"), cache.get("other")) == (0, "other's")


def test_a_refresh_in_a_child(tmp_path: Path) -> None:
    """The background threads have stayed in the parent; the child starts its own."""
    clock = Still()
    cache, factory = libperf.TieredCache(ttl=1, stale_ttl=100, beta=0, jitter=0, clock=clock), counting()

    def renewed() -> bool:
        clock.go(2)
        before = factory.calls
        assert cache.get_or_set("k", factory) == before
        for _ in range(5000):
            if factory.calls == before + 1 and not cache._flow.flights.under_way:
                return cache.get("k") == before + 1
            threading.Event().wait(0.001)
        return False

    cache.get_or_set("k", factory)
    assert renewed()
    child = os.fork()
    if child == 0:
        os._exit(0 if renewed() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert renewed()


def test_a_value_that_cannot_be_copied() -> None:
    """Then callers get an error from the copy, not each other's object."""

    class Stubborn:
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no copies")

    cache = libperf.TieredCache(copy="deep")
    with pytest.raises(TypeError, match="no copies"):
        cache.set("k", Stubborn())
    assert cache.get("k") is None


def test_recursive_keys_and_deep_ones() -> None:
    """An error, and neither a crash nor a loop."""
    cache = libperf.TieredCache()
    key: list[Any] = []
    key.append(key)
    with pytest.raises((TypeError, RecursionError)):
        cache.get(key)
    deep: Any = ()
    for _ in range(100_000):
        deep = (deep,)
    with pytest.raises((TypeError, RecursionError)):
        cache.get(deep)


def test_a_key_that_changes_later() -> None:
    """What counts is what it was."""
    cache, key = libperf.TieredCache(), [1]
    cache.set(key, "one")
    key.append(2)
    assert cache.get(key) is None
    assert cache.get([1]) == "one"


def test_a_mutable_value_that_is_changed_after_set(tmp_path: Path) -> None:
    """Disk and memory have what it was when it was set."""
    with libperf.TieredCache(disk=tmp_path / "cache") as cache:
        value = {"a": 1}
        cache.set("k", value)
        value["a"] = 2
        cache.flush()
        assert cache.get("k") == {"a": 1}
        cache._flow.memory.clear()
        assert cache.get("k") == {"a": 1}


def test_nothing_is_awaited_too_late() -> None:
    """No warning about coroutines that were never awaited, in none of the ways to give a factory."""
    cache = libperf.TieredCache()

    async def factory() -> int:
        return 1

    async def main() -> None:
        await cache.aget_or_set("a", factory)
        await cache.aget_or_set("a", factory)
        await asyncio.gather(*(cache.aget_or_set("b", factory) for _ in range(3)))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        with pytest.raises(ValueError):
            cache.get_or_set("c", factory)
        gc.collect()


def test_many_threads_many_keys() -> None:
    """Sixteen threads that set, get, compute, delete and clear: every value is its key's."""
    cache = libperf.TieredCache(50, None, ttl=0.01)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        try:
            for number in range(1500):
                key = (number * seed) % 97
                match (number + seed) % 5:
                    case 0:
                        cache.set(key, key)
                    case 1:
                        cache.delete(key)
                    case 2 if number % 100 == 0:
                        cache.clear()
                    case 3:
                        found = cache.get(key, key)
                        if found != key:
                            wrong.append((key, found))
                    case _:
                        found = cache.get_or_set(key, lambda key=key: key, tags=[f"tag {key % 3}"])
                        if found != key:
                            wrong.append((key, found))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(cache) <= 50
    assert len(cache._flow.flights) == 0
