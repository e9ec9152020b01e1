"""What a cache counts is what happened, here and in the segment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf import Kind
from libperf.cache.sizes import parse_bytes
from libperf.errors import InvalidError
from support_cache import SmallTier, Still, counting


def test_rates_and_counts(tmp_path: Path) -> None:
    with libperf.TieredCache(2, None, disk=tmp_path / "cache") as cache:
        for key in "abcab":
            cache.get_or_set(key, lambda key=key: key)
        stats = cache.get_stats()
        assert stats["l1_hits"] + stats["l2_hits"] + stats["misses"] == 5
        assert stats["misses"] == 3
        assert stats["overall_hit_rate"] == pytest.approx(2 / 5)
        assert stats["evictions"] >= 1
        assert stats["flights"] == 5 - stats["l1_hits"]
        assert stats["disk_get_p50"] > 0
        assert cache.cache_info() == (2, 3, 2, 2)


def test_before_anything_happened() -> None:
    stats = libperf.TieredCache().get_stats()
    assert {stats[f"{level}_hit_rate"] for level in ("l1", "l2", "l3", "overall")} == {0.0}


def test_series_in_the_segment(seen: Any, name: str) -> None:
    """Counters, gauges and timings by the names that reports know."""
    cache = libperf.TieredCache(10, "1MB", disk=SmallTier(Still()), name=name, ttl=60)
    for key in ("a", "b", "a", "a"):
        cache.get_or_set(key, counting())
    for number in range(100):
        cache.get("a", number)
    cache.get_stats()

    def count(what: str) -> int:
        return int(seen.totals(f"cache.{name}.{what}", Kind.COUNTER).value)

    assert (count("memory.hits"), count("memory.misses"), count("disk.misses"), count("flights")) == (102, 2, 2, 2)
    assert seen.totals(f"cache.{name}.memory.entries", Kind.GAUGE).gauge == 2
    assert seen.totals(f"cache.{name}.memory.bytes", Kind.GAUGE).gauge > 100
    assert seen.totals(f"cache.{name}.disk.get", Kind.TIMING).count == 2


def test_hits_are_in_the_segment_without_being_asked_for(seen: Any, name: str) -> None:
    """In batches; the last ones when the cache is closed."""
    cached = libperf.cached(name=name)(len)
    for _ in range(200):
        cached("abc")
    assert 120 < seen.totals(f"cache.{name}.memory.hits", Kind.COUNTER).value <= 199
    cached.cache.close()
    assert seen.totals(f"cache.{name}.memory.hits", Kind.COUNTER).value == 199


def test_counts_under_threads() -> None:
    """Nothing gets lost."""
    import threading

    cache = libperf.TieredCache()
    cache.set("k", 1)

    def work() -> None:
        for _ in range(2000):
            cache.get("k")
            cache.get("none")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = cache.get_stats()
    assert (stats["l1_hits"], stats["l1_misses"]) == (8000, 8000)


@pytest.mark.parametrize(
    ("text", "size"), [(7, 7), ("7", 7), ("64MB", 64_000_000), ("1 GiB", 2**30), ("1.5kb", 1500), ("2 b", 2)]
)
def test_sizes(text: Any, size: int) -> None:
    assert parse_bytes(text, "max_bytes") == size


@pytest.mark.parametrize("text", [0, -1, True, 1.5, "", "MB", "-1MB", "1 parrot", "0.5B", None])
def test_sizes_that_are_none(text: Any) -> None:
    with pytest.raises(InvalidError, match="max_bytes"):
        parse_bytes(text, "max_bytes")
