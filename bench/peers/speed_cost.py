"""What the accelerator takes out of tracing: each form of a traced call, with it and without it (LIBPERF_SPEED=0).

The bare form's time in the same process is taken off. A process for each figure, in turn, so that other work on the
machine hits all alike. With --instructions, instructions are counted instead (valgrind), which other work does not change:
that is the gate. It needs an interpreter with its symbols, as pyenv builds one.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from time import perf_counter_ns
from typing import Any

from measure import Row, positive, rounds, write

CALLS = 20_000  # of a timing
COUNTED = 5_000  # under valgrind
TIMINGS = 7  # of a process; the least is its figure
FORMS = {
    "function": "a call",
    "leaf": "a call, leaf=True",
    "coroutine": "a coroutine, awaited",
    "resume": "a resume of a coroutine",
    "item": "an item of a generator",
    "async item": "an item of an async generator",
    "span": "with libperf.span()",
    "attributes": "with libperf.span(), two attributes",
}
WAYS = {"": "1", ", in Python": "0"}  # LIBPERF_SPEED


# ---- one figure, in a process of its own ----


def function() -> None:
    pass


async def coroutine() -> None:
    pass


class Turn:
    """What an event loop would see."""

    def __await__(self) -> Generator[None, None, None]:
        yield


TURN = Turn()


async def turns(count: int) -> None:
    for _ in range(count):
        await TURN


def items(count: int) -> Generator[None, None, None]:
    for _ in range(count):
        yield


async def async_items(count: int) -> AsyncGenerator[None, None]:
    for _ in range(count):
        yield


def call(traced: Callable[[], Any], count: int) -> None:
    for _ in range(count):
        traced()


def drive(running: Any) -> None:
    try:
        while True:
            running.send(None)
    except StopIteration:
        pass


async def await_each(traced: Callable[[], Any], count: int) -> None:
    for _ in range(count):
        await traced()


async def consume(traced: Callable[[int], Any], count: int) -> None:
    async for _ in traced(count):
        pass


def with_span(count: int, **attributes: object) -> None:
    import libperf

    for _ in range(count):
        with libperf.span("x", **attributes):
            pass


def pairs() -> dict[str, tuple[Callable[[int], object], Callable[[int], object]]]:
    """Each form: traced, and bare."""
    import libperf

    trace, leaf = libperf.trace, libperf.trace(leaf=True)
    calls: tuple[Any, ...] = (trace(function), leaf(function), trace(coroutine))
    runs: tuple[Any, ...] = (trace(turns), trace(items), trace(async_items))

    def nothing(count: int) -> None:
        for _ in range(count):
            pass

    def exhaust(generator: Any) -> None:
        for _ in generator:
            pass

    return {
        "function": (lambda n: call(calls[0], n), lambda n: call(function, n)),
        "leaf": (lambda n: call(calls[1], n), lambda n: call(function, n)),
        "coroutine": (lambda n: drive(await_each(calls[2], n)), lambda n: drive(await_each(coroutine, n))),
        "resume": (lambda n: drive(runs[0](n)), lambda n: drive(turns(n))),
        "item": (lambda n: exhaust(runs[1](n)), lambda n: exhaust(items(n))),
        "async item": (lambda n: drive(consume(runs[2], n)), lambda n: drive(consume(async_items, n))),
        "span": (with_span, nothing),
        "attributes": (lambda n: with_span(n, number=1, text="abc"), nothing),
    }


def one_figure(form: str) -> float:
    """ns that tracing adds."""
    import libperf

    traced, bare = pairs()[form]
    times: dict[bool, list[int]] = {True: [], False: []}
    gc.disable()
    with libperf.span("root"):
        for _ in range(TIMINGS + 1):  # the first warms up
            for is_traced, run in ((True, traced), (False, bare)):
                start = perf_counter_ns()
                run(CALLS)
                times[is_traced].append(perf_counter_ns() - start)
    return (min(times[True][1:]) - min(times[False][1:])) / CALLS


def run_counted(form: str, which: str) -> None:
    """What valgrind counts is what goes on inside of functools.reduce()."""
    import libperf

    run = pairs()[form][which == "bare"]
    gc.disable()
    with libperf.span("root"):
        run(100)
        functools.reduce(lambda first, second: run(COUNTED), [1, 2])


# ---- many ----


def environment(way: str) -> dict[str, str]:
    return {**os.environ, "LIBPERF_DIR": "off", "LIBPERF_SPEED": WAYS[way], "PYTHONHASHSEED": "0"}


def figure(form: str, way: str) -> float:
    command = [sys.executable, __file__, "--one", form]
    answer = subprocess.run(command, env=environment(way), capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"speed_cost.py: {form}: {answer.stderr.strip()}")
    return float(json.loads(answer.stdout))


def instructions(form: str, way: str) -> float:
    counted = []
    for which in ("traced", "bare"):
        tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"]
        command = ["valgrind", *tool, "--toggle-collect=functools_reduce", sys.executable, __file__]
        answer = subprocess.run(
            [*command, "--count", form, which], env=environment(way), capture_output=True, text=True
        )
        collected = re.search(r"Collected : (\d+)", answer.stderr)
        if answer.returncode or not collected or not int(collected[1]):
            raise SystemExit(f"speed_cost.py: nothing could be counted (an interpreter without symbols?): {form}")
        counted.append(int(collected[1]))
    return (counted[0] - counted[1]) / COUNTED


def rows_of(found: dict[str, list[float]], prefix: str, unit: str) -> list[Row]:
    rows = []
    for form, what in FORMS.items():
        for way in WAYS:
            row = Row(f"{prefix}/{form}{way}", f"{what}{way}: {unit or 'instructions'} added", unit, found[form + way])
            if way:
                ratios = [slow / fast for slow, fast in zip(found[form + way], found[form], strict=True)]
                row.more["over_libperf"] = round(statistics.median(ratios), 2)
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: .venv/bin/python bench/peers/speed_cost.py --rounds 15 --json speed_cost.jsonl",
    )
    parser.add_argument("--rounds", type=positive, default=9, metavar="N", help="at least 9 to be quoted (9)")
    parser.add_argument("--instructions", action="store_true", help="count them, measure no time")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    parser.add_argument("--one", metavar="FORM", help="one figure, in this process")
    parser.add_argument("--count", nargs=2, metavar=("FORM", "WHICH"), help="what valgrind is to count")
    arguments = parser.parse_args()
    if arguments.one:
        print(one_figure(arguments.one))
        return
    if arguments.count:
        run_counted(*arguments.count)
        return
    names = [(form, way) for form in FORMS for way in WAYS]
    if arguments.instructions:
        if not shutil.which("valgrind"):
            raise SystemExit("speed_cost.py: valgrind is not installed")
        found = {form + way: [instructions(form, way)] for form, way in names}
        write(rows_of(found, "speed/instructions", ""), arguments.json)
        return
    cases = {form + way: functools.partial(figure, form, way) for form, way in names}
    write(rows_of(rounds(cases, arguments.rounds), "speed", "ns"), arguments.json)


if __name__ == "__main__":
    main()
