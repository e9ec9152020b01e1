"""What counting allocations costs: libperf beside tracemalloc and, where it is installed, memray.

The program makes objects of JSON and JSON of objects: nearly all it does is allocate. Forms take turns in one process:

    plain         nobody counts
    counts        libperf, without samples
    libperf       with a sample every 512 KiB, as it is by default
    in spans      the same, each round trip in a span of its own, against spans that nobody counts
    tracemalloc   with 1 and 10 frames
    memray        into a file: what Python asks of malloc, in blocks for many objects; then each object, as libperf counts

With --instructions, those of libperf's forms are counted instead (valgrind, minutes), which other work on the machine does
not change.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter_ns

from measure import Row, positive, rounds, write

import libperf
from libperf import memory

OBJECTS = 400
FEW, MANY = 2, 10  # round trips under valgrind: their difference is judged
DOCUMENT = json.dumps(
    [
        {"id": n, "name": f"user {n}", "tags": ["a", "b", str(n)], "score": n * 1.5, "text": "word " * (n % 40)}
        for n in range(OBJECTS)
    ]
)
Form = Callable[[], AbstractContextManager[object]]


def round_trip() -> None:
    json.dumps(json.loads(DOCUMENT))


def in_span() -> None:
    with libperf.span("round trip"):
        json.dumps(json.loads(DOCUMENT))


@contextlib.contextmanager
def traced(frames: int) -> Iterator[None]:
    tracemalloc.start(frames)
    try:
        yield
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def memray(objects: bool) -> Iterator[None]:
    import memray

    with (
        tempfile.TemporaryDirectory() as folder,
        memray.Tracker(Path(folder, "out.bin"), trace_python_allocators=objects),
    ):
        yield


# name -> (what it is, how it is switched on, what is run, what it is compared with)
FORMS: dict[str, tuple[str, Form, Callable[[], None], str]] = {
    "plain": ("nobody counts", contextlib.nullcontext, round_trip, "plain"),
    "counts": ("libperf, no samples", functools.partial(memory.counting, sample_bytes=0), round_trip, "plain"),
    "libperf": ("libperf, a sample every 512 KiB", memory.counting, round_trip, "plain"),
    "spans": ("spans, nobody counts", contextlib.nullcontext, in_span, "spans"),
    "libperf in spans": ("spans, libperf", memory.counting, in_span, "spans"),
    "tracemalloc(1)": ("tracemalloc, 1 frame", functools.partial(traced, 1), round_trip, "plain"),
    "tracemalloc(10)": ("tracemalloc, 10 frames", functools.partial(traced, 10), round_trip, "plain"),
    "memray": ("memray", functools.partial(memray, False), round_trip, "plain"),
    "memray(objects)": ("memray, each object", functools.partial(memray, True), round_trip, "plain"),
}


def forms() -> list[str]:
    return [name for name in FORMS if not name.startswith("memray") or importlib.util.find_spec("memray")]


def run(name: str, times: int) -> int:
    """Nanoseconds, without switching on and off."""
    _, form, work, _ = FORMS[name]
    gc.collect()
    with form():
        work()  # once before
        start = perf_counter_ns()
        for _ in range(times):
            work()
        return perf_counter_ns() - start


def time_rows(count: int, times: int) -> list[Row]:
    found = rounds({name: functools.partial(run, name, times) for name in forms()}, count)
    rows = []
    for name, samples in found.items():
        what, _, _, base = FORMS[name]
        ratios = [a / b for a, b in zip(samples, found[base], strict=True)]
        more = {"over_plain": round(statistics.median(ratios), 3)}
        us = [sample / times / 1e3 for sample in samples]
        rows.append(Row(f"memory/{name}", f"{OBJECTS} objects from and to JSON: {what}", "us", us, more))
    return rows


# ---- instructions ----


def instructions(name: str, times: int) -> int:
    """Of a whole process."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, __file__]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "LIBPERF_DIR": "off"}
    subprocess.run([*command[3:], "--one", name, "1"], env=environment, check=True)  # compiles what is to be compiled
    answer = subprocess.run(
        [*command, "--one", name, str(times)], env=environment, capture_output=True, text=True, check=False
    )
    collected = re.search(r"Collected : (\d+)", answer.stderr)
    if answer.returncode or not collected:
        raise SystemExit(f"memory_cost.py: valgrind, {name}: {answer.stderr.strip()[-2000:]}")
    return int(collected[1])


def instruction_rows() -> list[Row]:
    if not shutil.which("valgrind"):
        raise SystemExit("memory_cost.py: valgrind is not installed")
    names = ["plain", "libperf", "spans", "libperf in spans"]
    counted = {name: (instructions(name, MANY) - instructions(name, FEW)) / (MANY - FEW) for name in names}
    rows = []
    for name, each in counted.items():
        what, _, _, base = FORMS[name]
        more = {"over_plain": round(each / counted[base], 3)}
        rows.append(Row(f"memory/instructions/{name}", f"instructions a round trip: {what}", "", [each], more))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: .venv-peers/bin/python bench/peers/memory_cost.py --rounds 21 --json memory_cost.jsonl",
    )
    parser.add_argument("--rounds", type=positive, default=21, metavar="N", help="at least 15 to be quoted (21)")
    parser.add_argument("--times", type=positive, default=20, metavar="N", help="round trips of a run (20)")
    parser.add_argument("--instructions", action="store_true", help="count them, measure no time")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    parser.add_argument("--one", nargs=2, metavar=("FORM", "TIMES"), help="one form, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        run(arguments.one[0], int(arguments.one[1]))
        return
    rows = instruction_rows() if arguments.instructions else time_rows(arguments.rounds, arguments.times)
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
