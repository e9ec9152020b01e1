"""What caches write as counters, gauges and timings is rows of the report."""

from __future__ import annotations

import json
from typing import Any

import pytest

import libperf
from libperf.reporting.cache_table import cache_rows
from libperf.reporting.caches import Cache, Tier, find_caches, is_of_cache
from libperf.reporting.table import render_text

NAMES = ["hits", "misses", "evictions", "errors"]


def write(cache: str) -> None:
    """As a cache does."""
    for number, name in enumerate(NAMES):
        libperf.Counter(f"cache.{cache}.memory.{name}").add(10 + number)
    libperf.Gauge(f"cache.{cache}.memory.bytes").set(3 << 20)
    libperf.Gauge(f"cache.{cache}.memory.entries").set(1234)
    libperf.Counter(f"cache.{cache}.redis.hits").add(3)
    libperf.Counter(f"cache.{cache}.redis.misses").add(1)
    for _ in range(4):
        libperf.Timing(f"cache.{cache}.redis.get").record(0.002)
    for number, name in enumerate(("computed", "flights", "waited", "stale", "refreshes")):
        libperf.Counter(f"cache.{cache}.{name}").add(100 + number)


def cache_of(report: Any, name: str) -> dict[str, Any]:
    (found,) = [each for each in report["caches"] if each["name"] == name]
    return dict(found)


def test_a_cache_in_the_report(name: str) -> None:
    """Each series is where it belongs, and stays what it was."""
    write(name)
    data = libperf.snapshot()
    found = cache_of(data, name)
    memory, redis = found.pop("tiers")
    assert found == {"name": name, "computed": 100, "flights": 101, "waited": 102, "stale": 103, "refreshes": 104}
    assert memory == {
        "tier": "memory",
        "hits": 10,
        "misses": 11,
        "hit_rate": 10 / 21,
        "evictions": 12,
        "errors": 13,
        "entries": 1234,
        "bytes": 3 << 20,
        "p50_s": None,
        "p95_s": None,
        "p99_s": None,
    }
    assert (redis["hits"], redis["hit_rate"], redis["entries"], redis["bytes"]) == (3, 0.75, None, None)
    assert [redis[f"p{q}_s"] for q in (50, 95, 99)] == pytest.approx([0.002] * 3, rel=0.004)
    assert data["counters"][f"cache.{name}.memory.hits"] == 10
    assert data["gauges"][f"cache.{name}.memory.bytes"] == 3 << 20
    assert any(row["name"] == f"cache.{name}.redis.get" for row in data["timings"])
    json.dumps(data)


def test_a_cache_in_the_table() -> None:
    """One row a tier, in the order they are asked; nothing is there twice."""
    write("a cache with blanks. and dots")
    text = render_text(libperf.report(), 200)
    rows = [line.split() for line in text.splitlines() if "a cache with blanks. and dots" in line]
    (memory,) = [row for row in rows if "memory" in row]
    (redis,) = [row for row in rows if "redis" in row]
    assert rows.index(memory) < rows.index(redis)
    after = memory[memory.index("memory") + 1 :]
    assert after == ["10", "11", "48", "%", "–", "–", "–", "1,234", "3.00", "MiB", "12", "13"]
    assert redis[redis.index("redis") + 1 :][:6] == ["3", "1", "75", "%", "2.00", "ms"]
    assert "cache.a cache with" not in text
    assert "100 computed, 102 waited for another's, 103 stale answers, 104 refreshed early" in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_the_table_fits(width: int) -> None:
    """Columns go before the line is too long; hits, misses and errors stay."""
    from rich.console import Console

    tier = Tier("memory", 10**9, 10**9, 10**6, 7, 10**6, 5 << 30, 0.001, 0.002, 0.003)
    console = Console(width=width, color_system=None, file=None)
    with console.capture() as capture:
        for part in cache_rows([Cache("users", tiers=[tier])], width):
            console.print(part)
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    assert ("1,000,000,000" in text and "hit rate" in text) or width < 60
    assert ("P99" in text, "P50" in text) == (width >= 80, width >= 100)


@pytest.mark.parametrize(
    ("series", "is_one"),
    [
        ("cache.users.memory.hits", True),
        ("cache.a.b c.disk.get", True),
        ("cache.memory.redis.bytes", True),
        ("cache.users.flights", True),
        ("cache.users.redis.flights", True),  # of a cache called "users.redis"
        ("cache.line\nbreak.redis.hits", True),
        ("cache..memory.hits", False),
        ("cache.users.tape.hits", False),
        ("cache.users.memory.misfits", False),
        ("caches.users.memory.hits", False),
        ("my cache.users.memory.hits", False),
        ("cache.flights", False),
        ("cache.users.memory.hits.more", False),
    ],
)
def test_whose_series_it_is(series: str, is_one: bool) -> None:
    assert is_of_cache(series) is is_one
    assert bool(find_caches({series: 1}, {}, [])) is is_one or series.endswith(("get", "bytes"))


def test_what_a_gauge_may_hold() -> None:
    """Anything a float can be."""
    for value in (float("nan"), float("inf"), -1e300, 2.7):
        (found,) = find_caches({}, {"cache.a.disk.bytes": value}, [])
        assert isinstance(found.tiers[0].bytes, int)


def test_other_series_stay_in_the_list() -> None:
    """What looks alike and is none of ours is a metric."""
    libperf.Counter("cache.old.tape.hits").add(5)
    libperf.Timing("cache.old.tape.get").record(1)
    text = render_text(libperf.report(), 200)
    assert "metric cache.old.tape.hits = 5" in text
    assert "timing cache.old.tape.get" in text


def test_without_caches_nothing_is_said() -> None:
    assert list(cache_rows([], 100)) == []
    assert list(cache_rows([Cache("users")], 100)) == []
    assert Tier("memory").hit_rate is None
