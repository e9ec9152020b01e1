"""TieredCache as its users see it, on real tiers: a folder of LMDB, a redis-server."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.cache.disk import DiskTier
from libperf.errors import ClosedError, InvalidError
from support_cache import SmallTier, Still, counting
from support_redis import RedisServer, until


@pytest.fixture(params=["memory", "disk", "redis", "both", "bytes", "bytes over disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[libperf.TieredCache]:
    tiers: dict[str, Any] = {}
    server = None
    if request.param in ("disk", "both", "bytes over disk"):
        tiers["disk"] = tmp_path / "cache"
    if request.param in ("redis", "both"):
        server = RedisServer(tmp_path)
        tiers["redis"] = server.url
    with libperf.TieredCache(**tiers, form="bytes" if "bytes" in request.param else "object") as cache:
        yield cache
    if server is not None:
        server.kill()


VALUES = [None, False, 0, 1.5, "text", b"bytes", [1, [2]], {"a": (1, None)}, {1, 2}, "x" * 100_000]


def test_what_is_set_is_there(cache: libperf.TieredCache) -> None:
    for number, value in enumerate(VALUES):
        cache.set(number, value)
    assert [cache.get(number, "none") for number in range(len(VALUES))] == VALUES
    assert cache.get("other") is None and cache.get("other", 7) == 7
    assert 0 in cache and cache.contains(1) and "other" not in cache
    cache.delete(0)
    cache.delete("other")
    assert 0 not in cache
    assert cache.get_many([1, "other", 2]) == {1: False, 2: 0}
    cache.set_many({"a": 1, ("t", 1): 2}, 60, tags=["t"])
    cache.set_many([("b", 3)])
    cache.invalidate(tag="t")
    assert cache.get_many(["a", ("t", 1), "b"]) == {"b": 3}
    cache.set("c", 4, scope="tenant")
    assert (cache.get("c"), cache.get("c", scope="tenant")) == (None, 4)
    cache.invalidate(scope="tenant")
    assert cache.get("c", scope="tenant") is None
    assert cache.get_or_set("d", lambda: [5]) == cache.get("d") == [5]
    cache.clear()
    assert cache.get_many(["b", "d"]) == {}
    cache.set("d", 6)
    assert cache.get("d") == 6


def test_the_same_in_tasks(cache: libperf.TieredCache) -> None:
    async def main() -> None:
        for number, value in enumerate(VALUES):
            await cache.aset(number, value)
        assert [await cache.aget(number, "none") for number in range(len(VALUES))] == VALUES
        assert await cache.aget("other", 7) == 7
        assert await cache.acontains(1) and not await cache.acontains("other")
        await cache.adelete(0)
        assert not await cache.acontains(0)
        assert await cache.aget_many([1, "other", 2]) == {1: False, 2: 0}
        await cache.aset_many({"a": 1, ("t", 1): 2}, 60, tags=["t"])
        await cache.ainvalidate(tag="t")
        assert await cache.aget_many(["a", ("t", 1)]) == {}
        await cache.aset("c", 4, scope="tenant")
        await cache.ainvalidate(scope="tenant")
        assert await cache.aget("c", scope="tenant") is None
        assert await cache.aget_or_set("d", lambda: [5]) == [5]

        async def six() -> int:
            return 6

        assert await cache.aget_or_set("e", six) == 6
        assert await cache.aget_or_set("f", lambda: six()) == 6
        await cache.aset("f", 7, 0)
        assert await cache.aget("f") is None
        await cache.aclear()
        assert await cache.aget_many(["d", "e"]) == {}
        await cache.aflush(5)

    asyncio.run(main())


def test_another_cache_on_the_same_tiers(tmp_path: Path) -> None:
    """It finds what was flushed, and hears of what changes."""
    server = RedisServer(tmp_path)
    try:
        for settings in ({"disk": tmp_path / "cache"}, {"redis": server.url}):
            one, two = libperf.TieredCache(**settings), libperf.TieredCache(**settings)  # type: ignore[arg-type]
            one.set("k", {"a": 1}, tags=["t"])
            one.flush()
            assert two.get("k") == {"a": 1}
            assert libperf.TieredCache(**settings, namespace="other").get("k") is None  # type: ignore[arg-type]
            one.invalidate(tag="t")
            until(lambda two=two: two.get("k") is None)
            one.close()
            two.close()
    finally:
        server.kill()


def test_redis_dies_stops_and_comes_back(tmp_path: Path) -> None:
    """No call raises, and none takes longer than a few timeouts."""
    server = RedisServer(tmp_path)
    try:
        cache, factory = libperf.TieredCache(redis=server.url, memory_ttl=0), counting()
        assert cache.get_or_set("k", factory) == 1
        cache.flush()
        assert cache.get_or_set("k", factory) == 1
        server.signal(signal.SIGSTOP)
        assert cache.get_or_set("k", factory) == 2
        server.signal(signal.SIGCONT)
        server.kill()
        assert cache.get_or_set("k", factory) == 3
        assert asyncio.run(cache.aget_or_set("k", factory)) == 4
        cache.set("k", 5)
        cache.invalidate(tag="t")
        cache.delete("x")
        server.start()
        until(lambda: cache.set("k", "back") or cache.get("k") == "back")
        cache.close()
    finally:
        server.kill()


# ---- arguments ----


def test_nonsense_is_named() -> None:
    for settings, words in (
        ({"local_max_size": 0}, "local_max_size=0"),
        ({"local_max_size": "many"}, "'many'"),
        ({"max_bytes": "64 parrots"}, "64 parrots"),
        ({"max_bytes": 0}, "max_bytes=0"),
        ({"ttl": -1}, "ttl=-1"),
        ({"ttl": float("nan")}, "nan"),
        ({"policy": "best"}, "'adaptive'"),
        ({"namespace": 3}, "namespace=3"),
        ({"patience": "long"}, "patience='long'"),
    ):
        with pytest.raises(InvalidError, match=words):
            libperf.TieredCache(**settings)  # type: ignore[arg-type]
    cache = libperf.TieredCache()
    for wrong in (
        lambda: cache.set("k", 1, -1),
        lambda: cache.set("k", 1, "soon"),  # type: ignore[arg-type]
        lambda: cache.get_or_set("k", int, ttl=True),
        lambda: cache.set("k", 1, tags="tag"),
        lambda: cache.invalidate(),
        lambda: cache.invalidate(tag="a", scope="b"),
        lambda: cache.invalidate(tag=3),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidError):
            wrong()  # type: ignore[no-untyped-call]
    with pytest.raises(TypeError, match="object"):
        cache.get(object())
    assert len(cache) == 0 and bool(cache)


def test_an_async_factory_in_a_sync_call() -> None:
    """The error says what to call; no coroutine is left behind that nobody awaits."""
    cache = libperf.TieredCache()

    async def factory() -> int:
        return 1

    with pytest.raises(InvalidError, match="aget_or_set"):
        cache.get_or_set("k", factory)
    assert cache.get("k") is None


def test_a_ttl_of_nought(tmp_path: Path) -> None:
    """Nothing is kept, and what was there is gone; in every tier."""
    cache = libperf.TieredCache(disk=tmp_path / "cache")
    cache.set("k", 1)
    cache.set("k", 2, 0)
    assert cache.get("k") is None
    assert [cache.get_or_set("k", lambda: 3, 0), cache.get("k")] == [3, None]
    cache.close()


def test_sizes() -> None:
    """Both bounds hold whenever one looks."""
    cache = libperf.TieredCache(None, "100KB")
    for number in range(1000):
        cache.set(number, "x" * number)
        assert cache.get_stats()["bytes"] <= 100_000
    assert 50 < len(cache) < 400
    cache.set("giant", "x" * 200_000)
    assert cache.get("giant") is None
    assert cache.get_or_set("giant", lambda: "x" * 200_000) == "x" * 200_000
    assert cache.cache_info().maxsize is None


def test_closing(tmp_path: Path) -> None:
    """What was set is on disk; tiers that were given stay open."""
    cache = libperf.TieredCache(disk=tmp_path / "cache")
    cache.set("k", 1)
    cache.close()
    cache.close()
    for use in (lambda: cache.get("k"), lambda: cache.set("k", 1), lambda: cache.get_or_set("k", int)):
        with pytest.raises(ClosedError, match="closed"):
            use()
    tier = SmallTier(Still())
    with libperf.TieredCache(disk=tier) as lent:
        lent.set("k", 1)
    assert tier.closed == 0
    with libperf.TieredCache(disk=DiskTier(tmp_path / "cache")) as again:
        assert again.get("k") == 1

    async def main() -> None:
        async with libperf.TieredCache(disk=tmp_path / "cache") as other:
            assert await other.aget("k") == 1

    asyncio.run(main())


def test_a_folder_that_cannot_be_opened(tmp_path: Path) -> None:
    """That is an error when the cache is made, not a cache that never hits."""
    (tmp_path / "file").write_text("")
    with pytest.raises(libperf.PerfError):
        libperf.TieredCache(disk=tmp_path / "file")


def test_huge_keys(tmp_path: Path) -> None:
    """They are hashed beyond some length, and still are different keys."""
    with libperf.TieredCache(disk=tmp_path / "cache") as cache:
        keys = ["k" * 10**6 + str(number) for number in range(3)]
        cache.set_many({key: number for number, key in enumerate(keys)})
        cache.flush()
        cache._flow.memory.clear()
        assert [cache.get(key) for key in keys] == [0, 1, 2]


# ---- a million operations ----


@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_thousand_operations_against_a_dict(seed: int) -> None:
    """Ten times: a cache never has what it should not have, and has all of it while it fits."""
    chance, clock = random.Random(seed), Still()
    keys: list[Any] = [*range(150), *map(str, range(150)), *((n, str(n)) for n in range(50)), 1.5, None, True, b"b"]
    cache = libperf.TieredCache(seed * 40 + 1 if seed % 2 else 1000, None, clock=clock, ttl=50, jitter=0, beta=0)
    roomy = seed % 2 == 0
    model: dict[Any, tuple[int, int]] = {}
    get, set_, delete = cache.get, cache.set, cache.delete
    for number in range(100_000):
        key = chance.choice(keys)
        place = (type(key), key)
        what = chance.random()
        if what < 0.6:
            there = model.get(place)
            alive = there is not None and clock.now_ns < there[1]
            found = get(key)
            assert found == (there[0] if alive and there else None) or (not roomy and found is None)
        elif what < 0.9:
            set_(key, number)
            model[place] = number, clock.now_ns + 50 * 10**9
        elif what < 0.95:
            delete(key)
            model.pop(place, None)
        elif what < 0.999:
            clock.now_ns += 10**9
        elif what < 0.9995:
            cache.clear()
            model.clear()
        else:
            assert len(cache) <= seed * 40 + 1 or roomy
