"""Real traces through TieredCache, as programs use it, beside the policies alone as perf-hit-ratio plays them.

    .venv/bin/python bench/hit_ratio/through_python.py FOLDER                  # traces of at most 150,000 requests
    .venv/bin/python bench/hit_ratio/through_python.py FOLDER --only lirs_ps --json through.jsonl

Three forms: get_or_set() and what its factory is called for; get() and set() with a time to live; the same in two threads
that take turns as they like. Cells of fewer than 64 entries are left out. A figure is how many points of the hit ratio a
form is apart from the policy alone; the promise is about the mean over the cells.

LRU leaves nothing to chance. The adaptive policy goes by a sample of the keys' hashes, which are others here, and by a
seed, which every cache draws; on a short trace that makes some points. So the policy alone is played with other hashes
as well: what it is apart from itself no form can be blamed for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peers.measure import Row, positive, write

import libperf
from libperf._core import ffi, lib

SMALLEST = 64
POLICIES = {"adaptive": lib.PERF_POLICY_ADAPTIVE, "lru": lib.PERF_POLICY_LRU}
SALT = 0x9E3779B97F4A7C15


def read(path: Path) -> list[int]:
    numbers = array("I")
    numbers.frombytes(subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


# ---- forms: how many of the requests were misses ----


def get_or_set(cache: libperf.TieredCache, keys: list[int]) -> int:
    made = 0

    def factory() -> bool:
        nonlocal made
        made += 1
        return True

    for key in keys:
        cache.get_or_set(key, factory)
    return made


def get_and_set(cache: libperf.TieredCache, keys: Iterator[int]) -> int:
    misses = 0
    for key in keys:
        if cache.get(key) is None:
            cache.set(key, True)
            misses += 1
    return misses


def two_threads(cache: libperf.TieredCache, keys: list[int]) -> int:
    """Both take the next key of one iterator: the order is the trace's, but for what the threads do between."""
    shared, misses = iter(keys), list[int]()
    threads = [threading.Thread(target=lambda: misses.append(get_and_set(cache, shared))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(misses)


Play = Callable[[str, int, list[int]], int]


def through(play: Callable[[libperf.TieredCache, list[int]], int], ttl: float | None = None) -> Play:
    def run(policy: str, entries: int, keys: list[int]) -> int:
        with libperf.TieredCache(entries, None, ttl=ttl, policy=policy) as cache:
            return play(cache, keys)

    return run


def policy_alone(policy: str, entries: int, keys: list[int]) -> int:
    """What perf-hit-ratio does, with other hashes."""
    config, out, entry = ffi.new("perf_policy_config *"), ffi.new("perf_policy **"), ffi.new("perf_policy_entry *")
    config.kind, config.max_entries, entry.weight = POLICIES[policy], entries, 1
    assert lib.perf_policy_create(config, out) == 0
    slot_of, key_of, slots, misses = dict[int, int](), dict[int, int](), ffi.new("int32_t[1]"), 0
    for key in keys:
        if key in slot_of:
            slots[0] = slot_of[key]
            lib.perf_policy_touch_many(out[0], slots, 1)
            continue
        misses += 1
        entry.hash = lib.perf_hash((key ^ SALT).to_bytes(8, "little"), 8)
        slot_of[key] = slot = lib.perf_policy_insert_at(out[0], entry, 0)
        key_of[slot] = key
        while (slot := lib.perf_policy_victim(out[0])) >= 0:
            del slot_of[key_of[slot]]
    lib.perf_policy_destroy(out[0])
    return misses


FORMS: dict[str, Play] = {
    "get_or_set()": through(get_or_set),
    "get() and set(), ttl=3600": through(lambda cache, keys: get_and_set(cache, iter(keys)), 3600.0),
    "two threads": through(two_threads),
}
CONTROL = "the policy alone, other hashes"


# ---- the policies alone ----


Cell = dict[str, Any]  # a line of perf-hit-ratio's: trace, entries, hits by policy


def alone(program: Path, folder: Path, names: list[str]) -> list[Cell]:
    """A line for each trace and size."""
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([program, folder, "--json", file.name, *names], stdout=subprocess.DEVNULL, check=True)
        lines = [json.loads(line) for line in Path(file.name).read_text().splitlines()]
    return [line for line in lines if line.get("trace") in names and line.get("entries", 0) >= SMALLEST]


def compare(policy: str, form: str, play: Play, cells: list[Cell], traces: dict[str, list[int]]) -> Row:
    apart: dict[str, float] = {}
    for cell in cells:
        keys = traces[cell["trace"]]
        hits = 1 - play(policy, cell["entries"], keys) / len(keys)
        apart[f"{cell['trace']} @{cell['entries']}"] = 100 * (hits - cell[policy])
    where = max(apart, key=lambda name: abs(apart[name]))
    more = {"policy": policy, "form": form, "cells": len(cells), "worst": round(apart[where], 3), "where": where}
    more["mean"] = round(statistics.mean(apart.values()), 3)
    return Row(f"hit-ratio/{policy}/{form}", f"{policy}, {form}", "points", list(apart.values()), more)


def rows(cells: list[Cell], traces: dict[str, list[int]]) -> list[Row]:
    """One for each policy and form, and one for the form whose mean is farthest off."""
    found = [compare(policy, form, play, cells, traces) for policy in POLICIES for form, play in FORMS.items()]
    most = max(found, key=lambda row: abs(row.more["mean"]))
    off = Row("hit-ratio/through", f"farthest off: {most.what}", "points", [abs(most.more["mean"])])
    off.more = {"cells": len(cells), "where": most.what}
    control = [compare(policy, CONTROL, policy_alone, cells, traces) for policy in POLICIES]
    return [*found, *control, off]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of NAME.u32.zst")
    parser.add_argument("--only", action="append", metavar="NAME", help="may be given more than once")
    parser.add_argument("--most", type=positive, default=150_000, metavar="N", help="requests of a trace (150000)")
    parser.add_argument("--build", type=Path, default=Path("build/release"), metavar="DIR", help="CMake's folder")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON for each; - is standard output")
    arguments = parser.parse_args()
    files = sorted(file for file in arguments.folder.glob("*.u32.zst") if not file.name.endswith(".size.u32.zst"))
    names = {file: file.name.removesuffix(".u32.zst") for file in files}
    wanted = {name: read(file) for file, name in names.items() if not arguments.only or name in arguments.only}
    traces = {name: keys for name, keys in wanted.items() if len(keys) <= arguments.most}
    cells = alone(arguments.build / "bench" / "perf-hit-ratio", arguments.folder, list(traces)) if traces else []
    if not cells:
        print(f"through_python.py: no such trace in {arguments.folder}", file=sys.stderr)
        return 1
    write(rows(cells, traces), arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
