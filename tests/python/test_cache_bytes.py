"""The memory tier in its bytes form: its exact bound, what it keeps and what not; in C and beside the other form."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf._codec import Compressor
from libperf._core import lib
from libperf._memory import MISSING
from libperf.cache.bytes_table import BytesMemory
from libperf.cache.clock import Clock
from libperf.cache.freshness import FOREVER, Lifetime
from libperf.cache.keys import Key, make_key
from libperf.cache.memory import Life
from libperf.cache.values import Unencodable, Values
from libperf.errors import InvalidError
from support_cache import SmallTier, Still, counting

S = 1_000_000_000


def memory_of(entries: int = 10, size: int = 1 << 20, clock: Clock | None = None, **settings: Any) -> BytesMemory:
    settings = {"values": Values(), "lifetime": Lifetime(), "namespace": "n", "scope": None, **settings}
    return BytesMemory(entries, size, clock or Still(), lib.PERF_POLICY_LRU, **settings)


def put(memory: BytesMemory, key: Any, value: Any = None, **life: Any) -> None:
    memory.put(memory.entry(key, value, life.get("expires_ns", FOREVER), Life(**life)))


def cache_of(**settings: Any) -> libperf.TieredCache:
    return libperf.TieredCache(**{"form": "bytes", **settings})


def test_never_more_than_its_bytes() -> None:
    """All that C holds, at every step, of values of all sizes."""
    for size in (1 << 16, 1 << 20, 20_000_000):
        chance = random.Random(size)
        cache = cache_of(local_max_size=None, max_bytes=size)
        for number in range(3000):
            key, what = chance.randrange(2000), chance.random()
            if what < 0.85:
                cache.set(key, chance.randbytes(int(2 ** chance.uniform(0, 16))), tags=[str(key % 3)][: key % 2])
            elif what < 0.99:
                cache.delete(key)
            elif what < 0.995:
                cache.invalidate(tag=str(number % 3))
            assert cache.get_stats()["bytes"] <= size
        assert cache.get_stats()["entries"] == len(cache) > 0
        assert cache.get_stats()["evictions"] > 0 or size > 1 << 20
        before = cache.get_stats()["bytes"]
        cache.clear()
        assert len(cache) == 0
        assert cache.get_stats()["bytes"] < before


def test_never_more_than_its_entries() -> None:
    memory = memory_of()
    for number in range(100):
        put(memory, number, str(number))
        assert len(memory) == min(number + 1, 10)
    assert [memory.table.get(number) for number in range(88, 92)] == [MISSING, MISSING, "90", "91"]
    assert sorted(memory.table.keys()) == sorted(make_key("n", None, number).digest for number in range(90, 100))
    put(memory, 100)  # in place of the one that was asked for least recently
    assert [memory.table.get(number) for number in range(90, 94)] == ["90", "91", MISSING, "93"]


def test_what_is_too_large_is_not_kept() -> None:
    """Nor is what was there before."""
    cache = cache_of(max_bytes="64KiB", compression_threshold=None)
    cache.set("k", 1)
    cache.set("k", "x" * 100_000)
    assert cache.get("k") is None
    stats = cache.get_stats()
    assert (stats["rejections"], stats["unstorable"]) == (1, 0)


def test_values_that_outgrow_the_first_look() -> None:
    cache = cache_of(compression_threshold=None, max_bytes=None)
    values = [bytes([number]) * 3**number for number in range(14)]
    for number, value in enumerate(values):
        cache.set(number, value)
    for _ in range(2):
        assert [cache.get(number) for number in range(14)] == values
    assert cache.get_stats()["bytes"] > sum(map(len, values))


def test_a_hit_is_the_callers_own() -> None:
    """Whatever copy= says, and however deep he changes it; nor does what he stored reach the cache later."""
    cache = cache_of(copy="none")
    value = {"deep": [1]}
    cache.set("k", value)
    value["deep"].append(2)
    found = cache.get("k")
    found["deep"].append(3)
    assert cache.get("k") == {"deep": [1]}
    assert cache.get_or_set("k", counting("no")) == {"deep": [1]}


def test_it_compresses() -> None:
    try:
        Compressor()
    except NotImplementedError:
        pytest.skip("built without zstd")
    cache = cache_of()
    cache.set("small", 1)  # what lies around entries is there from now on
    before = cache.get_stats()["bytes"]
    cache.set("k", "x" * 50_000)
    stats = cache.get_stats()
    assert stats["compressions"] == 1 and stats["bytes"] - before < 1000
    assert cache.get("k") == "x" * 50_000


def test_times() -> None:
    """Every time of an entry comes back; at its end's very nanosecond it is no hit, and soon it is gone."""
    clock = Still()
    memory = memory_of(clock=clock, lifetime=Lifetime(stale_ttl=5, beta=1.0))
    now = clock.now_ns
    life = Life(
        now + 3 * S, now + 8 * S, now + 10 * S, 7_000_000, 123, (4, 5), make_key("n", None, "a").digest, now + S
    )
    memory.put(memory.entry("a", {"v": 1}, 0, life))
    memory.set("b", 2, 10 * S, 0.0, 1)
    entry = memory.table.find("a")
    assert entry is not None and entry.life == life
    assert entry.check_ns == now + S  # to be compared with Redis
    clock.now_ns = now + S - 1
    assert [memory.table.get(key) for key in "ab"] == [{"v": 1}, 2]
    clock.now_ns += 1
    assert [memory.table.get(key) for key in "ab"] == [MISSING, 2]
    clock.now_ns = now + 10 * S - 1
    assert memory.table.find("a") is not None and memory.table.get("b") == 2
    clock.now_ns += 1
    assert memory.table.find("a") is memory.table.find("b") is None
    clock.go(3600)
    memory.expire()
    assert len(memory) == 0 and memory.stats()["expirations"] == 2


def test_ttl() -> None:
    clock = Still()
    cache, factory = cache_of(clock=clock, ttl=10, jitter=0, beta=0), counting()
    assert [cache.get_or_set("k", factory) for _ in range(2)] == [1, 1]
    clock.go(9.9)
    assert cache.get("k") == 1
    clock.go(0.2)
    assert cache.get("k") is None
    assert cache.get_or_set("k", factory) == 2


def test_labels_and_digests() -> None:
    memory = memory_of(1000, 1 << 22)
    put(memory, "a", labels=(1, 2))
    put(memory, "b", labels=(2,))
    put(memory, "c", labels=(3,))
    put(memory, "a", labels=(3,))
    assert memory.remove_labels([1]) == 0
    memory.remove_digests([make_key("n", None, "b").digest, b"x" * 16])
    assert memory.remove_labels([3, 2]) == 2
    assert len(memory) == 0
    chance = random.Random(5)
    labels = [chance.getrandbits(64) for _ in range(40)]  # more than there are bits that tell them apart
    of = {key: tuple(chance.sample(labels, chance.randrange(5))) for key in range(1000)}
    for key, its in of.items():
        put(memory, key, key, labels=its)
    for label in labels[:20]:
        there = {key for key, its in of.items() if label in its}
        assert memory.remove_labels([label]) == len(there)
        of = {key: its for key, its in of.items() if key not in there}
        assert {key for key in range(1000) if memory.table.get(key) is not MISSING} == set(of)


def test_tags_and_scopes() -> None:
    cache = cache_of(namespace="n")
    cache.set_many({"a": 1, ("t", 1): 2, b"bytes": 3}, tags=["t", "u"])
    cache.set("a", 4, scope="tenant")
    cache.set("b", 5)
    assert cache.get_many(["a", ("t", 1), b"bytes", "b"]) == {"a": 1, ("t", 1): 2, b"bytes": 3, "b": 5}
    cache.invalidate(scope="tenant")
    assert (cache.get("a"), cache.get("a", scope="tenant")) == (1, None)
    cache.invalidate(tag="u")
    assert cache.get_many(["a", ("t", 1), b"bytes", "b"]) == {"b": 5}
    cache.set("many", 6, tags=map(str, range(40)))  # more labels than an entry has
    assert cache.get("many") is None and cache.get_stats()["unstorable"] == 1


def test_unknown_types_are_not_kept() -> None:
    """Counted, and what lay there before is gone; strict says where it is."""
    cache, factory = cache_of(), counting({"deep": [object()]})
    cache.set("k", 1)
    cache.set("k", {"deep": [object()]})
    assert cache.get("k") is None
    assert cache.get_or_set("k", factory) is not None
    assert cache.get_or_set("k", factory) is not None
    assert (factory.calls, cache.get_stats()["unstorable"]) == (2, 3)
    circle: list[Any] = []
    circle.append(circle)
    cache.set("circle", circle)
    assert "circle" not in cache
    strict = cache_of(strict=True)
    strict.set("k", 1)
    for store in (lambda: strict.set("k", {"deep": [object()]}), lambda: strict.get_or_set("x", factory)):
        with pytest.raises(Unencodable, match="deep"):
            store()
    assert "k" not in strict and "x" not in strict


def test_unknown_types_over_a_tier() -> None:
    """Counted once; and the older value of the tier is not to be had, though it is deleted behind the caller's back."""
    clock = Still()
    disk = SmallTier(clock)
    go, deleted = threading.Event(), threading.Event()

    class Slow(SmallTier):
        def delete(self, keys: Any) -> None:
            go.wait(10)
            super().delete(keys)
            deleted.set()

    slow = Slow(clock, store=disk)
    cache = cache_of(disk=slow, clock=clock)
    cache.set("k", 1)
    cache.set("k", object())
    try:
        assert cache.get("k") is None
        assert asyncio.run(cache.aget("k")) is None
        assert len(slow.entries) == 1
    finally:
        go.set()
    assert deleted.wait(10)
    assert slow.entries == {} and cache.get_stats()["unstorable"] == 1
    with pytest.raises(Unencodable):
        cache_of(disk=slow, clock=clock, strict=True).set("k", object())


def test_keys_without_a_form() -> None:
    """As where there are tiers: never kept silently."""

    class Thing:
        pass

    with pytest.raises(TypeError):
        cache_of().set((1, Thing()), 1)


def test_another_keys_entry() -> None:
    """Keys with one digest, if there were some: the whole key is compared."""
    memory = memory_of()
    put(memory, "a", 1)
    key = make_key("n", None, "a")
    memory.table._key = lambda place: Key(b"other", key.digest)  # type: ignore[method-assign]
    assert memory.table.get("b") is MISSING and memory.table.find("b") is None
    assert memory.table._values.damaged == 2


def test_promotion_from_disk(tmp_path: Path) -> None:
    """With the time that is left, its tags, and from then on without the disk."""
    with cache_of(disk=tmp_path, ttl=100) as first:
        first.set("k", {"a": [1]}, tags=["t"])
        first.set("plain", 1)
    with cache_of(disk=tmp_path, ttl=100) as cache:
        assert [cache.get("k") for _ in range(3)] == [{"a": [1]}] * 3
        stats = cache.get_stats()
        assert (stats["l1_hits"], stats["l2_hits"]) == (2, 1)
        assert cache.get("plain") == 1
        cache.invalidate(tag="t")
        assert (cache.get("k"), cache.get("plain")) == (None, 1)


@pytest.mark.parametrize("max_bytes", [1, "63KB", 2**47])
def test_sizes_that_cannot_be(max_bytes: Any) -> None:
    with pytest.raises(InvalidError, match=f"max_bytes={max_bytes!r}"):
        cache_of(max_bytes=max_bytes)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(InvalidError, match="form='text'"):
        cache_of(form="text")
    with pytest.raises(InvalidError, match="negative_ttl"):
        cache_of(negative_ttl=1)
    assert cache_of(max_bytes="64KiB").get_stats()["bytes"] <= 1 << 16


def test_a_decoder_that_comes_back() -> None:
    """To the same cache, in the middle of a hit."""

    class Pair:
        def __init__(self, left: str, right: str) -> None:
            self.both = left, right

    cache = cache_of()

    def decode(parts: Any) -> Pair:
        cache.get("other")
        return Pair(*parts)

    libperf.cache.register_type(Pair, lambda pair: list(pair.both), decode, name="test_cache_bytes.Pair")
    cache.set("other", "z" * 500)
    cache.set("k", [Pair("a" * 300, "b"), Pair("c", "d" * 300)])
    assert [pair.both for pair in cache.get("k")] == [("a" * 300, "b"), ("c", "d" * 300)]


def test_cached() -> None:
    calls = []

    @libperf.cached(form="bytes", max_bytes="1MB")
    def one(a: int, b: int = 1) -> list[int]:
        calls.append(a)
        return [a, b]

    @libperf.cached(form="bytes")
    async def two(a: int) -> dict[str, int]:
        calls.append(a)
        return {"a": a}

    assert one(1) == one(1, b=1) == [1, 1]
    one(1).append(2)
    assert one(1) == [1, 1]
    assert asyncio.run(two(2)) == asyncio.run(two(2)) == {"a": 2}
    assert calls == [1, 2]
    assert one.cache_info().hits == 3  # type: ignore[attr-defined]


def test_threads() -> None:
    """Eight of them at once: never above the bound, and never another key's value."""
    cache, wrong = cache_of(local_max_size=100, max_bytes="256KiB"), list[Any]()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(2000):
                key, what = chance.randrange(300), chance.random()
                if what < 0.6:
                    found = cache.get(key)
                    if found is not None and (found[0] != key or len(found) != 1 + key * 5):
                        wrong.append((key, found))
                elif what < 0.9:
                    cache.set(key, [key] + [0] * key * 5, tags=[str(key % 5)])
                elif what < 0.98:
                    cache.delete(key)
                elif what < 0.99:
                    cache.invalidate(tag=str(key % 5))
                elif cache.get_stats()["bytes"] > 1 << 18:
                    wrong.append("bytes")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(cache) <= 100


def test_fork_in_the_middle_of_a_hit() -> None:
    """The child has a cache of its own, whoever held the lock."""
    cache = cache_of()
    cache.set("a", 1, tags=["t"])
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with cache._flow.memory.table._lock:  # type: ignore[attr-defined]
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        found = cache.get("a")
        cache.set("b", 2)
        cache.invalidate(tag="t")
        os._exit(0 if (found, cache.get("a"), cache.get("b")) == (1, None, 2) else 1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert (cache.get("a"), cache.get("b")) == (1, None)


@pytest.mark.parametrize("seed", range(3))
def test_random_operations_against_the_other_form(seed: int) -> None:
    """With room for everything both forms say the same, to the nanosecond."""
    chance, clock = random.Random(seed), Still()
    settings: dict[str, Any] = {"clock": clock, "ttl": 50, "stale_ttl": 20, "jitter": 0, "namespace": f"n{seed}"}
    caches = [libperf.TieredCache(**settings), cache_of(**settings)]
    for number in range(2000):
        key, what, ttl = chance.randrange(30), chance.random(), chance.choice([None, 0, 5, 100])
        clock.go(chance.randrange(3))
        tag = str(key % 4)
        for cache in caches:
            if what < 0.5:
                pass
            elif what < 0.9:
                cache.set(key, [number], ttl, tags=[tag][: key % 2])
            elif what < 0.95:
                cache.delete(key)
            else:
                cache.invalidate(tag=tag)
        assert caches[0].get(key) == caches[1].get(key)
    assert [cache.get_stats()["hits"] for cache in caches] == [caches[0].get_stats()["hits"]] * 2
