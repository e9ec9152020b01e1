"""What profiling costs: @libperf.profile beside cProfile, yappi and pyinstrument, and the CPU sampler; and whether the
sampler is right.

Overhead is the time that a profiler adds to a program, as a share of the program's own. Three programs: `calls` is made
of small functions that call builtins, too; `asyncio` of tasks that take turns; `json` of long calls in C. All profilers
take turns on each of them, round by round, in one process; each is switched on before a round and off after it. What a
profiler finds out once only, as which functions are called where, it does in some small runs that do not count. What
the sampler costs says sampler_cost.py; here it is one of several, by the CPU time of the process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from measure import Row, positive, write

import libperf
from libperf.profiler import sampler
from libperf.reader import Reader
from libperf.samples import read_samples

# ---- programs ----


def word_length(word: str) -> int:
    return len(word.strip())


def score_of(line: str) -> int:
    return sum([word_length(word) for word in line.split(" ")])


def calls(rounds: int) -> int:
    total = 0
    for number in range(rounds):
        total += score_of("the quick brown fox jumps over it")
        total -= min(total, number)
    return total


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def recursion(rounds: int) -> int:
    return sum([fibonacci(14) for _ in range(rounds)])


async def step(number: int) -> int:
    await asyncio.sleep(0)
    return word_length("x" * (number % 7))


async def one(steps: int) -> int:
    return sum([await step(number) for number in range(steps)])


def tasks(rounds: int) -> int:
    async def main() -> int:
        return sum(await asyncio.gather(*(one(10) for _ in range(rounds))))

    return asyncio.run(main())


DATA = {"rows": [{"id": number, "name": f"row {number}", "tags": ["a", "b"]} for number in range(200)]}


def parse(rounds: int) -> int:
    return sum([len(json.loads(json.dumps(DATA))["rows"]) for _ in range(rounds)])


PROGRAMS: dict[str, tuple[Callable[[int], int], int]] = {
    "calls": (calls, 4000),
    "recursion": (recursion, 20),
    "asyncio": (tasks, 60),
    "json": (parse, 40),
}

# ---- profilers ----

Profiler = Callable[[Callable[[int], int]], AbstractContextManager[Callable[[int], int]]]


@contextlib.contextmanager
def nothing(program: Callable[[int], int]) -> Iterator[Callable[[int], int]]:
    yield program


@contextlib.contextmanager
def with_cprofile(program: Callable[[int], int]) -> Iterator[Callable[[int], int]]:
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        yield program
    finally:
        profiler.disable()


@contextlib.contextmanager
def with_yappi(program: Callable[[int], int]) -> Iterator[Callable[[int], int]]:
    import yappi  # type: ignore[import-not-found, unused-ignore]

    yappi.set_clock_type("wall")
    yappi.start(builtins=False, profile_threads=False)
    try:
        yield program
    finally:
        yappi.stop()
        yappi.clear_stats()


@contextlib.contextmanager
def with_pyinstrument(program: Callable[[int], int]) -> Iterator[Callable[[int], int]]:
    from pyinstrument import Profiler as Instrument  # type: ignore[import-not-found, unused-ignore]

    with Instrument(interval=0.001):
        yield program


_profiled: dict[Any, Any] = {}


@contextlib.contextmanager
def with_libperf(program: Callable[[int], int]) -> Iterator[Callable[[int], int]]:
    """Its events are on in the code from the first round on: switched off between the rounds."""
    if sys.version_info < (3, 12):
        yield _profiled.setdefault(program, libperf.profile(program))
        return
    from libperf import _sampler
    from libperf.profiler import profiled

    libperf.profile(program)
    codes = [row[0] for row in _sampler.calls_read()]
    for code in codes:
        sys.monitoring.set_local_events(profiled._tool, code, profiled.LOCAL)
    try:
        yield program
    finally:
        for code in [row[0] for row in _sampler.calls_read()]:
            sys.monitoring.set_local_events(profiled._tool, code, 0)


@contextlib.contextmanager
def with_sampler(program: Callable[[int], int]) -> Iterator[Callable[[int], int]]:
    sampler.start(1000)
    try:
        yield program
    finally:
        sampler.stop()


PROFILERS: dict[str, Profiler] = {
    "none": nothing,
    "@libperf.profile": with_libperf,
    "libperf sampler": with_sampler,
    "cProfile": with_cprofile,
    "yappi": with_yappi,
    "pyinstrument": with_pyinstrument,
}


def available() -> dict[str, Profiler]:
    found = dict(PROFILERS)
    for name in ("yappi", "pyinstrument"):
        try:
            __import__(name)
        except ImportError:
            del found[name]
    return found


# ---- overhead ----

WARM_UP = 10  # more than profiled.OFTEN


def overheads(name: str, rounds: int) -> list[Row]:
    """Shares of the program's own time, in percent; medians of rounds in which all take turns."""
    program, size = PROGRAMS[name]
    found: dict[str, list[float]] = {each: [] for each in available()}
    for number in range(rounds + 1):  # the first warms up
        for each, profiler in available().items():
            with profiler(program) as profiled:
                for _ in range(WARM_UP):
                    profiled(1)
                before = time.process_time_ns() if each == "libperf sampler" else time.thread_time_ns()
                profiled(size)
                after = time.process_time_ns() if each == "libperf sampler" else time.thread_time_ns()
            if number:
                found[each].append(after - before)
    own = found.pop("none")
    rows = []
    for each, times in found.items():
        shares = [100 * (took - alone) / alone for took, alone in zip(times, own, strict=True)]
        rows.append(Row(f"profile/{name}/{each}", f"{name}: {each} adds", "%", shares))
    medians = {row.name.rpartition("/")[2]: statistics.median(row.samples) for row in rows}
    for row in rows:
        row.more["over_cprofile"] = round(statistics.median(row.samples) / medians["cProfile"], 3)
    return rows


# ---- shares ----


def spin(rounds: int) -> int:
    total = 0
    for number in range(rounds):
        total += number * number
    return total


def seventy() -> int:
    return spin(7000)


def twenty() -> int:
    return spin(2000)


def ten() -> int:
    return spin(1000)


def shares(rounds: int, least: int = 5000) -> list[Row]:
    """How far the sampled shares are from those of the thread's own clock, in points; the worst of three."""
    functions = (seventy, twenty, ten)
    worst = []
    with Reader() as reader:
        for _ in range(rounds):
            for _ in read_samples(reader):
                pass
            clock: Counter[str] = Counter()
            seen: Counter[str] = Counter()
            count = 0
            sampler.start(1000)
            while count < least:
                end = time.monotonic() + 0.5
                while time.monotonic() < end:
                    for function in functions:
                        before = time.thread_time_ns()
                        function()
                        clock[function.__name__] += time.thread_time_ns() - before
                reader.refresh()
                for sample in read_samples(reader):
                    count += sample.what == "cpu"
                    for frame in sample.stack:
                        if frame.function in clock:
                            seen[frame.function] += sample.weight
            sampler.stop()
            reader.refresh()
            off = [abs(seen[name] / seen.total() - clock[name] / clock.total()) for name in clock]
            worst.append(100 * max(off))
    return [Row("profile/shares", f"70/20/10, {least:,} samples: worst share is off by", "points", worst)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=15)
    parser.add_argument("--share-rounds", type=positive, default=3)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    rows = [row for name in PROGRAMS for row in overheads(name, arguments.rounds)]
    rows += shares(arguments.share_rounds)
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
