"""What 64 concurrent gets from Redis cost a program: libperf's tier beside redis-py, with and without its C parser.

CPU seconds of this process (all threads), not of the server, divided by gets; every get is checked. Values are entries
of 1.7 kB, the mean of real LLM responses. libperf's gets check the entry, its key, expiry and labels; redis-py's are bare.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/python"))

from measure import Row, positive, rounds, write

from libperf.cache.redis import RedisTier
from support_redis import RedisServer, entry_of, key_of

GETS = 64
VALUE = bytes(range(256)) * 7
LABEL = 7


def cpu_us_per_get(run: Callable[[], int]) -> Callable[[], float]:
    """Microseconds of CPU time a get; `run` makes some and says how many."""

    def measure() -> float:
        start = time.process_time_ns()
        gets = run()
        return (time.process_time_ns() - start) / gets / 1000

    return measure


def gathered(get: Callable[[int], Any], loop: asyncio.AbstractEventLoop, times: int) -> Callable[[], int]:
    """64 gets at once in an event loop, so many times."""

    async def run() -> int:
        for _ in range(times):
            found = await asyncio.gather(*[get(number) for number in range(GETS)])
            assert all(len(value) >= len(VALUE) for value in found)
        return GETS * times

    return lambda: loop.run_until_complete(run())


def threaded(get: Callable[[int], Any], times: int) -> Callable[[], int]:
    """64 threads that each get so many times."""

    def work(number: int) -> None:
        for _ in range(times):
            assert len(get(number)) >= len(VALUE)

    def run() -> int:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(GETS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return GETS * times

    return run


def parsers() -> dict[str, str]:
    """redis-py's parsers that are there: module names by what they are called here."""
    found = {"redis-py": "_RESP2Parser"}
    try:
        importlib.import_module("hiredis")
    except ImportError:
        print("redis_cost.py: hiredis is left out (see bench/peers/requirements.txt)", file=sys.stderr)
        return found
    return found | {"redis-py + hiredis": "_HiredisParser"}


def peers(server: RedisServer, loop: asyncio.AbstractEventLoop, times: int) -> dict[str, Callable[[], int]]:
    redis = importlib.import_module("redis")
    internal, ainternal = importlib.import_module("redis._parsers"), importlib.import_module("redis.asyncio")
    names = [b"peer:%d" % number for number in range(GETS)]
    cases: dict[str, Callable[[], int]] = {}
    for what, parser in parsers().items():
        options: dict[str, Any] = {"path": str(server.path), "max_connections": 2 * GETS}
        pool = redis.ConnectionPool(
            connection_class=redis.UnixDomainSocketConnection, parser_class=getattr(internal, parser), **options
        )
        sync = redis.Redis(connection_pool=pool)
        for name in names:
            sync.set(name, VALUE)
        async_pool = ainternal.ConnectionPool(
            connection_class=ainternal.UnixDomainSocketConnection,
            parser_class=getattr(internal, "_Async" + parser.removeprefix("_")),
            **options,
        )
        client = ainternal.Redis(connection_pool=async_pool)
        cases[f"{what}, 64 tasks"] = gathered(lambda number, get=client.get: get(names[number]), loop, times)
        cases[f"{what}, 64 threads"] = threaded(lambda number, get=sync.get: get(names[number]), times)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=15, metavar="N", help="at least 15 to be quoted (15)")
    parser.add_argument(
        "--times", type=positive, default=100, metavar="N", help="gets of each task or thread a round (100)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    arguments = parser.parse_args()
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, RedisServer(Path(folder)) as server:
        tier = RedisTier(server.url, timeout=5.0)
        keys = [key_of(f"own:{number}") for number in range(GETS)]
        for key in keys:
            tier.put(key, entry_of(key, VALUE, labels=[LABEL]))
        tier.flush()
        cases = {
            "libperf, 64 tasks": gathered(lambda number: tier.aget(keys[number]), loop, arguments.times),
            "libperf, 64 threads": threaded(lambda number: tier.get(keys[number]), arguments.times),
            **peers(server, loop, arguments.times),
        }
        found = rounds({name: cpu_us_per_get(case) for name, case in cases.items()}, arguments.rounds)
        tier.close()
    rows = [Row("redis/" + name.replace(", 64 ", "/"), name, "us", samples) for name, samples in found.items()]
    for row in rows:
        own = found["libperf, " + row.what.partition(", ")[2]]
        row.more["over_libperf"] = round(statistics.median(a / b for a, b in zip(row.samples, own, strict=True)), 2)
    write(rows, arguments.json)
    loop.close()


if __name__ == "__main__":
    main()
