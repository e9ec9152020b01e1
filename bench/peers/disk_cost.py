"""What a cached value on disk costs from Python, side by side in one process: libperf's disk tier, diskcache, py-lmdb.

The values are texts of the size of an LLM's answers, the same for all. libperf reads and writes entries: keys made and
values encoded beforehand, as the cache does it once for all tiers; py-lmdb the same bytes, with a transaction for each
call; diskcache its own form of the same text, by the same key. A get of libperf checks the entry's checksum, key, times
and labels; a put of libperf and of py-lmdb (sync=False) is not synced, as diskcache's is not. Each round fills its own
folder anew. The last rows wait until what was put is in the database.
"""

from __future__ import annotations

import argparse
import gc
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns, time_ns
from typing import Any

import diskcache
import lmdb
from measure import Row, positive, rounds, write

from libperf.cache.disk import DiskTier
from libperf.cache.keys import make_key
from libperf.cache.values import Values

COUNT = 1000


def texts() -> list[str]:
    """1.7 kB in the mean, like the bodies of chat completions."""
    draw = random.Random(5)
    return ["".join(draw.choices("etaoin shrdlu", k=int(draw.lognormvariate(7.2, 0.7)))) for _ in range(COUNT)]


def timed(call: Callable[..., object], rows: list[tuple[Any, ...]]) -> float:
    """Nanoseconds for each call."""
    gc.collect()
    gc.disable()
    try:
        begin = perf_counter_ns()
        for row in rows:
            call(*row)
        return (perf_counter_ns() - begin) / len(rows)
    finally:
        gc.enable()


class Ours:
    def __init__(self, folder: Path, bodies: list[str]) -> None:
        self.tier, values, now = DiskTier(folder / "ours"), Values(None), time_ns() // 1_000_000
        self.keys = [make_key("bench", None, f"key {n}") for n in range(COUNT)]
        self.entries = [
            values.pack(body, key, labels=(1,), created_ms=now) for key, body in zip(self.keys, bodies, strict=True)
        ]

    def run(self) -> dict[str, float]:
        found: dict[str, float] = {}
        rows = list(zip(self.keys, self.entries, strict=True))
        begin = perf_counter_ns()
        found["put"] = timed(self.tier.put, rows)
        self.tier.flush()
        found["written"] = (perf_counter_ns() - begin) / COUNT
        found["get"] = timed(self.tier.get, [(key,) for key in self.keys])
        assert self.tier.get(self.keys[7]) == self.entries[7]
        found["miss"] = timed(self.tier.get, [(make_key("bench", None, n),) for n in range(COUNT)])
        return found

    def close(self) -> None:
        self.tier.close()


class Raw:
    """py-lmdb with the same keys and entries."""

    def __init__(self, folder: Path, ours: Ours) -> None:
        self.env = lmdb.open(str(folder / "lmdb"), map_size=1 << 30, sync=False)
        self.ours = ours

    def run(self) -> dict[str, float]:
        env, found = self.env, {}

        def put(key: bytes, value: bytes) -> None:
            with env.begin(write=True) as txn:
                txn.put(key, value)

        def get(key: bytes) -> bytes | None:
            with env.begin() as txn:
                value: bytes | None = txn.get(key)
                return value

        keys = [key.digest for key in self.ours.keys]
        found["put"] = found["written"] = timed(put, list(zip(keys, self.ours.entries, strict=True)))
        found["get"] = timed(get, [(key,) for key in keys])
        found["miss"] = timed(get, [(key[::-1],) for key in keys])
        return found

    def close(self) -> None:
        self.env.close()


class DiskCache:
    def __init__(self, folder: Path, bodies: list[str]) -> None:
        self.cache, self.bodies = diskcache.Cache(str(folder / "diskcache")), bodies

    def run(self) -> dict[str, float]:
        keys, found = [f"key {n}" for n in range(COUNT)], {}
        found["put"] = found["written"] = timed(self.cache.set, list(zip(keys, self.bodies, strict=True)))
        found["get"] = timed(self.cache.get, [(key,) for key in keys])
        found["miss"] = timed(self.cache.get, [(f"miss {n}",) for n in range(COUNT)])
        return found

    def close(self) -> None:
        self.cache.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=9)
    parser.add_argument("--folder", help="on the file system to be measured; default: the temporary one")
    parser.add_argument("--json", help='a file for a line of JSON for each row; "-": standard output')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bodies = texts()
        ours = Ours(Path(folder), bodies)
        stores: dict[str, Any] = {
            "libperf": ours,
            "py-lmdb": Raw(Path(folder), ours),
            "diskcache": DiskCache(Path(folder), bodies),
        }
        measured = rounds({name: store.run for name, store in stores.items()}, options.rounds)
        for store in stores.values():
            store.close()
    rows = []
    for what in ("get", "miss", "put", "written"):
        base = [round_[what] for round_ in measured["libperf"]]
        for name, samples in measured.items():
            own = [round_[what] for round_ in samples]
            row = Row(f"disk/{what}/{name}", f"{what}, {name}", "ns", own)
            ratios = sorted(theirs / mine for theirs, mine in zip(own, base, strict=True))
            row.more["over_libperf"] = round(ratios[len(ratios) // 2], 2)
            rows.append(row)
    write(rows, options.json)


if __name__ == "__main__":
    main()
