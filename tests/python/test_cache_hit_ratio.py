"""TieredCache keeps what its policy says: its hits are those of the policy alone, and the adaptive one beats LRU."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import libperf
from libperf._core import ffi, lib

ENTRIES = 500
KINDS = {"adaptive": lib.PERF_POLICY_ADAPTIVE, "lru": lib.PERF_POLICY_LRU, "s3fifo": lib.PERF_POLICY_S3FIFO}
POINTS = 0.5

Play = Callable[[list[int], str], float]


def requests() -> list[int]:
    """Zipf's law over 5,000 keys, and again and again a scan of keys that nobody asks for twice."""
    chance = random.Random(11)
    popular = range(5_000)
    weights = [1 / (rank + 1) ** 0.9 for rank in popular]
    once = iter(range(1_000_000, 2_000_000))
    found: list[int] = []
    for _ in range(40):
        found += chance.choices(popular, weights, k=2_000)
        found += [next(once) for _ in range(1_000)]
    return found


REQUESTS = requests()


def mixed(key: int) -> int:
    """As the table does it (memory/change.c): the adaptive policy goes by a sample of hashes, and another sample of so
    few keys is worth a third of a point."""
    for _ in range(2):
        key = (key ^ key >> 32) * 0xD6E8FEB86659FD93 % 2**64
    return key ^ key >> 32


def policy_alone(keys: list[int], policy: str) -> float:
    """Its hit ratio in percent: every key is looked up, what is not there is inserted."""
    config, out, new = ffi.new("perf_policy_config *"), ffi.new("perf_policy **"), ffi.new("perf_policy_entry *")
    config.kind, config.max_entries, new.weight = KINDS[policy], ENTRIES, 1
    assert lib.perf_policy_create(config, out) == lib.PERF_OK
    slot_of, key_of, touched, hits = dict[int, int](), dict[int, int](), ffi.new("int32_t[1]"), 0
    for key in keys:
        if key in slot_of:
            hits += 1
            touched[0] = slot_of[key]
            lib.perf_policy_touch_many(out[0], touched, 1)
            continue
        new.hash = mixed(key)
        slot_of[key] = slot = lib.perf_policy_insert_at(out[0], new, 0)
        key_of[slot] = key
        while (slot := lib.perf_policy_victim(out[0])) >= 0:
            del slot_of[key_of[slot]]
    lib.perf_policy_destroy(out[0])
    return 100 * hits / len(keys)


# ---- the same through the cache, as programs use it ----


def get_and_set(cache: libperf.TieredCache, keys: Iterator[int]) -> int:
    hits = 0
    for key in keys:
        if cache.get(key) is None:
            cache.set(key, True)
        else:
            hits += 1
    return hits


def by_get_and_set(keys: list[int], policy: str) -> float:
    with libperf.TieredCache(ENTRIES, None, policy=policy) as cache:
        return 100 * get_and_set(cache, iter(keys)) / len(keys)


def with_times(keys: list[int], policy: str) -> float:
    with libperf.TieredCache(ENTRIES, "1GB", policy=policy, ttl=3600) as cache:
        return 100 * get_and_set(cache, iter(keys)) / len(keys)


def by_get_or_set(keys: list[int], policy: str) -> float:
    made: list[int] = []
    with libperf.TieredCache(ENTRIES, None, policy=policy) as cache:
        for key in keys:
            cache.get_or_set(key, lambda key=key: made.append(key))  # type: ignore[misc]
        assert cache.get_stats()["hits"] == len(keys) - len(made)
    return 100 - 100 * len(made) / len(keys)


def in_two_threads(keys: list[int], policy: str) -> float:
    """Each takes the next key; what they do with it happens in any order."""
    shared, hits = iter(keys), list[int]()
    with libperf.TieredCache(ENTRIES, None, policy=policy) as cache:
        threads = [threading.Thread(target=lambda: hits.append(get_and_set(cache, shared))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return 100 * sum(hits) / len(keys)


def by_two_threads(keys: list[int], policy: str) -> float:
    """Mean of three: the order of two threads is chance as well."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        return sum([in_two_threads(keys, policy) for _ in range(3)]) / 3
    finally:
        sys.setswitchinterval(interval)


@pytest.fixture(scope="module")
def alone() -> dict[str, float]:
    return {policy: policy_alone(REQUESTS, policy) for policy in KINDS}


def test_adaptive_beats_lru(alone: dict[str, float]) -> None:
    """Scans do not wash out what is popular: by much more than what chance makes."""
    assert by_get_and_set(REQUESTS, "adaptive") > by_get_and_set(REQUESTS, "lru") + 5
    assert alone["adaptive"] > alone["lru"] + 5


@pytest.mark.parametrize("policy", KINDS)
@pytest.mark.parametrize("play", [by_get_and_set, with_times, by_get_or_set, by_two_threads])
def test_hits_are_the_policys(play: Play, policy: str, alone: dict[str, float]) -> None:
    """However it is used: with times, by get_or_set(), in two threads."""
    assert play(REQUESTS, policy) == pytest.approx(alone[policy], abs=POINTS)


@pytest.mark.parametrize("play", [by_get_and_set, by_get_or_set])
def test_lru_is_exact(play: Play, alone: dict[str, float]) -> None:
    """Nothing is left to chance there, and hits are told before what comes after them."""
    assert play(REQUESTS, "lru") == pytest.approx(alone["lru"], abs=1e-9)


def test_the_table_in_python_is_exact_as_well() -> None:
    """Told the same, the table in C and the one in Python keep the very same keys."""
    from libperf import _memory
    from libperf.cache import table as python_table

    kept: list[list[Any]] = []
    for kind in (_memory, python_table):
        table: Any = kind.Table(ENTRIES, 0, lib.PERF_POLICY_LRU, 1, None, 0, 0)
        for key in REQUESTS[:20_000]:
            if table.get(key) is _memory.MISSING:
                table.set(key, True, 2**63 - 1, 0.0, 1)
        kept.append(sorted(table.keys()))
    assert kept[0] == kept[1]
    assert len(kept[0]) == ENTRIES
