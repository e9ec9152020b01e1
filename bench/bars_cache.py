"""The cache's promises; see bars.py."""

from __future__ import annotations

from collections.abc import Callable

from bars import Bar, median, ratio, scaling
from parts import Line, Lines


def over_libperf(line: Line) -> float:
    """How many times libperf's time it takes, round by round."""
    return float(line["over_libperf"])


def also(name: str, words: str, number: Callable[[Line], float] = over_libperf) -> Callable[[Lines], str]:
    """A note: the same of another line."""
    return lambda lines: f"; {number(lines[name]):.1f}x {words}" if name in lines else ""


def ns(name: str, words: str = "") -> Callable[[Lines], str]:
    return lambda lines: f"; {words}{median(lines[name]):.0f} ns" if name in lines else ""


def other_shares(lines: Lines) -> str:
    shares = [f"{name} {lines[f'hit-ratio/{name}']['share']:.3f}" for name in ("lru", "s3fifo")]
    return f"; {', '.join(shares)}; {lines['hit-ratio/adaptive']['traces']} traces"


MEMORY = [
    Bar(
        "C: get from the cache in memory, a million entries",
        "<= 60 ns",
        "cache/adaptive/get",
        lambda line: float(line["median_ns"]),
        lambda x: x <= 60,
        "{:.0f} ns",
        lambda lines: f"; {ratio(lines['cache/adaptive/get']):.2f}x one mutex and a list",
        "a key that is not among the few thousand most wanted waits for memory twice, for its bucket and its bytes: 86 to "
        "158 ns each on this machine; huge pages brought 124 ns in a trial",
    ),
    Bar("C: two threads get", ">= 1.6x", "cache/adaptive/get/t2", scaling, lambda x: x >= 1.6, "{:.2f}x"),
    Bar(
        "C: two threads, nine gets to a set",
        ">= 1.6x",
        "cache/adaptive/9_gets_1_set/t2",
        scaling,
        lambda x: x >= 1.6,
        "{:.2f}x",
    ),
    Bar(
        "an entry of the cache in memory takes beside key and value",
        "<= 64 bytes",
        "cache/entry/adaptive",
        median,
        lambda x: x <= 64,
        "{:.1f} bytes",
        obstacle="of this the policy's slots are 28 and more, sizes that jemalloc has between 12 and 16",
    ),
    Bar(
        "resident memory after entries of changing sizes, against what the cache holds",
        "<= 1.15x",
        "cache/rss/arena/worst",
        lambda line: median(line) / 100,
        lambda x: x <= 1.15,
        "{:.3f}x",
        lambda lines: f"; {median(lines['cache/rss/libc/worst']) / 100:.3f}x with libc's malloc",
    ),
]

CALLS = [
    Bar(
        "@libperf.cached, a hit, against functools.lru_cache",
        "<= 1.5x",
        "cached/hit/libperf",
        ratio,
        lambda x: x <= 1.5,
        "{:.2f}x",
        ns("cached/hit/libperf"),
    ),
    Bar(
        "cachetools.cached with a lock, a hit, against @libperf.cached",
        ">= 4x",
        "cached/hit/cachetools lru+lock",
        over_libperf,
        lambda x: x >= 4,
        "{:.1f}x",
        also("cached/hit/cachetools ttl+lock", "where both have a time to live"),
    ),
    Bar(
        "cachebox.cached, a hit, against @libperf.cached",
        "> 1x",
        "cached/hit/cachebox",
        over_libperf,
        lambda x: x > 1,
        "{:.2f}x",
    ),
    Bar(
        "TieredCache.get(), a hit, against cachebox.LRUCache.get()",
        "<= 1.2x",
        "cached/get/cachebox",
        lambda line: 1 / over_libperf(line),
        lambda x: x <= 1.2,
        "{:.2f}x",
        ns("cached/get/libperf"),
    ),
    Bar(
        "moka_py.cached, a hit, against @libperf.cached",
        "> 1x",
        "cached/hit/moka-py",
        over_libperf,
        lambda x: x > 1,
        "{:.2f}x",
        also("cached/hit/moka-py ttl", "where both have a time to live"),
    ),
    Bar(
        "cachetools.LRUCache, a set that evicts, against TieredCache.set()",
        ">= 8x",
        "cached/set/cachetools lru",
        over_libperf,
        lambda x: x >= 8,
        "{:.1f}x",
        also("cached/set/cachetools ttl", "where both have a time to live"),
        "100 ns are the policy, which chooses better than LRU; the rest is one object for each entry and Python's dict",
    ),
]

TIERS = [
    Bar(
        "disk: diskcache's get, against libperf's",
        ">= 8x",
        "disk/get/diskcache",
        over_libperf,
        lambda x: x >= 8,
        "{:.1f}x",
        ns("disk/get/libperf", "libperf's "),
        "a checksum over the entry, its whole key, times and labels are checked, and it is taken apart, none of which diskcache does",
    ),
    Bar(
        "disk: diskcache's put, against libperf's",
        ">= 8x",
        "disk/put/diskcache",
        over_libperf,
        lambda x: x >= 8,
        "{:.1f}x",
        also("disk/written/diskcache", "until it is in the database"),
    ),
    Bar(
        "Redis, CPU of 64 gets at once: redis-py's tasks, against libperf's",
        ">= 3x",
        "redis/redis-py/tasks",
        over_libperf,
        lambda x: x >= 3,
        "{:.1f}x",
        also("redis/redis-py + hiredis/tasks", "with its parser in C"),
    ),
    Bar(
        "Redis, CPU of 64 gets at once: redis-py's threads, against libperf's",
        ">= 3x",
        "redis/redis-py/threads",
        over_libperf,
        lambda x: x >= 3,
        "{:.1f}x",
        also("redis/redis-py + hiredis/threads", "with its parser in C"),
    ),
    Bar(
        "LLM responses, dictionary trained on half of them: median of five splits",
        ">= 5x smaller",
        "compression",
        median,
        lambda x: x >= 5,
        "{:.2f}x",
    ),
    Bar(
        "LLM responses, dictionary trained on half of them: worst of five splits",
        ">= 5x smaller",
        "compression",
        lambda line: float(line["min"]),
        lambda x: x >= 5,
        "{:.2f}x",
        obstacle="the split in the file's order; half of all bytes are recorded streams full of random texts",
    ),
]

HIT_RATIO = [
    Bar(
        "hits on real traces: mean share of what is possible (Belady)",
        ">= .78",
        "hit-ratio/adaptive",
        lambda line: float(line["share"]),
        lambda x: x >= 0.78,
        "{:.3f}",
        other_shares,
    ),
    Bar(
        "hits on real traces: worst cell against LRU",
        ">= -5 points",
        "hit-ratio/adaptive",
        lambda line: 100 * float(line["worst"]),
        lambda x: x >= -5,
        "{:+.1f} points",
        lambda lines: f" {lines['hit-ratio/adaptive']['where']}".rstrip(),
    ),
    Bar(
        "hits through TieredCache, mean over the cells, apart from those of the policy alone",
        "<= 0.5 points",
        "hit-ratio/through",
        median,
        lambda x: x <= 0.5,
        "{:.2f} points",
        lambda lines: f"; {lines['hit-ratio/through']['cells']} cells, {lines['hit-ratio/through']['where']}",
    ),
]

CACHE_BARS = [*MEMORY, *CALLS, *TIERS, *HIT_RATIO]
