"""What a cached call costs, side by side in one process: libperf, functools.lru_cache, cachetools, cachebox, moka-py, theine.

Every form wraps the same function of one str, or is a cache of the same size; keys are drawn once, with Zipf's law, and
are the same for all. The loop's own cost is in every figure, so ratios are moderate; the garbage collector is off while the
clock runs. Whatever is not installed is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import importlib
import random
import statistics
import threading
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from measure import Row, positive, rounds, write

import libperf
from libperf.cache.clock import Clock
from libperf.cache.freshness import FOREVER
from libperf.cache.memory import Memory

SIZE = 1000
LOOKS = 100_000
CHANGES = 20_000


def value_of(key: str) -> str:
    return key


async def avalue_of(key: str) -> str:
    return key


def optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def decorators() -> dict[str, Callable[[str], Any]]:
    forms: dict[str, Callable[[str], Any]] = {
        "lru_cache": functools.lru_cache(maxsize=SIZE)(value_of),
        "libperf": libperf.cached(max_size=SIZE)(value_of),
        "libperf ttl": libperf.cached(max_size=SIZE, ttl=3600)(value_of),
    }
    if cachetools := optional("cachetools"):
        ttl = cachetools.TTLCache(SIZE, 3600)
        forms["cachetools ttl+lock"] = cachetools.cached(ttl, lock=threading.Lock())(value_of)
        forms["cachetools lru+lock"] = cachetools.cached(cachetools.LRUCache(SIZE), lock=threading.Lock())(value_of)
    if cachebox := optional("cachebox"):
        forms["cachebox"] = cachebox.cached(cachebox.LRUCache(SIZE))(value_of)
    if moka := optional("moka_py"):
        forms["moka-py"] = moka.cached(maxsize=SIZE)(value_of)
        forms["moka-py ttl"] = moka.cached(maxsize=SIZE, ttl=3600)(value_of)
    return forms


def setters() -> dict[str, Callable[[str, str], object]]:
    """Sets into a full cache: each evicts."""
    plain, timed = libperf.TieredCache(SIZE, None), libperf.TieredCache(SIZE, None, ttl=3600)
    table = Memory(SIZE, 0, Clock()).table
    forms: dict[str, Callable[[str, str], object]] = {
        "libperf": plain.set,
        "libperf ttl": timed.set,
        "libperf table": lambda key, value: table.set(key, value, FOREVER, 0.0, 1),
    }
    if cachetools := optional("cachetools"):
        forms["cachetools lru"] = cachetools.LRUCache(SIZE).__setitem__
        forms["cachetools ttl"] = cachetools.TTLCache(SIZE, 3600).__setitem__
    if cachebox := optional("cachebox"):
        forms["cachebox"] = cachebox.LRUCache(SIZE).__setitem__
    if moka := optional("moka_py"):
        forms["moka-py"] = moka.Moka(SIZE).set
    if theine := optional("theine"):
        forms["theine"] = theine.Cache(SIZE).set
    return forms


def getters() -> dict[str, Callable[[str], object]]:
    plain, timed = libperf.TieredCache(SIZE, None), libperf.TieredCache(SIZE, None, ttl=3600)
    caches: dict[str, Any] = {"libperf": plain, "libperf ttl": timed}
    forms: dict[str, Callable[[str], object]] = {name: cache.get for name, cache in caches.items()}
    if cachetools := optional("cachetools"):
        lru, ttl = cachetools.LRUCache(SIZE), cachetools.TTLCache(SIZE, 3600)
        forms |= {"cachetools lru": lru.__getitem__, "cachetools ttl": ttl.__getitem__}
        caches |= {"cachetools lru": lru, "cachetools ttl": ttl}
    if cachebox := optional("cachebox"):
        caches["cachebox"] = cachebox.LRUCache(SIZE)
        forms["cachebox"] = caches["cachebox"].get
    if moka := optional("moka_py"):
        caches["moka-py"] = moka.Moka(SIZE)
        forms["moka-py"] = caches["moka-py"].get
    for number in range(SIZE):
        for cache in caches.values():
            put = getattr(cache, "set", None) or cache.__setitem__
            put(f"user:{number}", "value")
    return forms


def each(call: Callable[[str], object], keys: list[str]) -> float:
    start = perf_counter_ns()
    for key in keys:
        call(key)
    return (perf_counter_ns() - start) / len(keys)


def each_set(call: Callable[[str, str], object], keys: list[str]) -> float:
    start = perf_counter_ns()
    for key in keys:
        call(key, key)
    return (perf_counter_ns() - start) / len(keys)


def awaiting(function: Any, keys: list[str]) -> float:
    async def run() -> float:
        start = perf_counter_ns()
        for key in keys:
            await function(key)
        return (perf_counter_ns() - start) / len(keys)

    return asyncio.run(run())


def times(samples: list[float], base: list[float]) -> float:
    """How many times `base`: the median over the rounds."""
    return round(statistics.median(a / b for a, b in zip(samples, base, strict=True)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: .venv-peers/bin/python bench/peers/cache_cost.py --rounds 15 --json cache_cost.jsonl",
    )
    parser.add_argument("--rounds", type=positive, default=11, metavar="N", help="at least 7 to be quoted (11)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    arguments = parser.parse_args()

    chance = random.Random(1)
    names = [f"user:{number}" for number in range(SIZE)]
    looks = chance.choices(names, [1 / (number + 1) for number in range(SIZE)], k=LOOKS)
    fresh = iter(range(10**9))
    acached = libperf.cached(max_size=SIZE)(avalue_of)
    cases: dict[str, Callable[[], float]] = {}
    for name, call in decorators().items():
        each(call, names)
        cases[f"hit/{name}"] = functools.partial(each, call, looks)
    for name, call in getters().items():
        cases[f"get/{name}"] = functools.partial(each, call, looks)
    for name, put in setters().items():
        cases[f"set/{name}"] = lambda put=put: each_set(put, [f"k{next(fresh)}" for _ in range(CHANGES)])
    misses = {name: form for name, form in decorators().items()}
    for name, call in misses.items():
        cases[f"miss/{name}"] = lambda call=call: each(call, [f"k{next(fresh)}" for _ in range(CHANGES)])
    awaiting(acached, names)
    cases["await/bare"] = functools.partial(awaiting, avalue_of, looks)
    cases["await/libperf"] = functools.partial(awaiting, acached, looks)
    gc.collect()
    gc.disable()
    found = rounds(cases, arguments.rounds)
    rows = []
    for name, samples in found.items():
        kind = name.partition("/")[0]
        base = found.get(f"{kind}/lru_cache") or found.get(f"{kind}/cachetools lru") or found[f"{kind}/bare"]
        own = found[
            f"{kind}/libperf{' ttl' if ' ttl' in name else ''}"
        ]  # one with times is compared with one with times
        more = {"ratio": times(samples, base), "over_libperf": times(samples, own)}
        rows.append(Row(f"cached/{name}", name, "ns", samples, more))
    write(rows, arguments.json)
    if arguments.json != "-":
        print("\nratios to lru_cache, cachetools' LRU, a bare await: medians over the rounds")
        for row in rows:
            print(f"{row.what:28}{row.more['ratio']:8.2f}")


if __name__ == "__main__":
    main()
