"""What batching costs: libperf beside 30 lines of Python, aiodataloader, batched and async-batcher.

    closed   64 tasks, each submits its next item when it has its result; batches of 32, a function that does nothing
    threads  the same with 16 threads
    lone     one request every few milliseconds: what it waits beside a function that does nothing
    idle     nothing is submitted: CPU time

A process for each figure, in turn. With --instructions, instructions an item are counted instead (valgrind), which other
work on the machine does not change: that is the gate. Whatever is not installed is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from batch_forms import FORMS, SIZE, THREAD_FORMS, WINDOW, Submit, installed
from measure import Row, positive, rounds, write

TASKS, THREADS = 64, 16
FEW, MANY = 3_200, 12_800  # items under valgrind: their difference is judged
REFERENCES = ("30 lines, greedy", "30 lines, window")
Found = dict[str, float]


# ---- one figure, in a process of its own ----


class Empty:
    """A function that does nothing, and knows how often it was called."""

    calls = 0

    async def awaited(self, items: list[Any]) -> list[Any]:
        self.calls += 1
        return items

    def called(self, items: list[Any]) -> list[Any]:
        self.calls += 1
        return items


async def take_turns(submit: Submit, items: int) -> None:
    """Of one task."""
    for number in range(items):
        assert await submit(number) == number


def closed(name: str, items: int) -> Found:
    function = Empty()

    async def main() -> Found:
        submit = FORMS[name](function.awaited, SIZE, WINDOW)

        async def all_tasks(each: int) -> None:
            await asyncio.gather(*[take_turns(submit, each) for _ in range(TASKS)])

        await all_tasks(20)
        function.calls = 0
        gc.collect()
        gc.disable()
        cpu, start = time.process_time_ns(), time.perf_counter_ns()
        await all_tasks(items // TASKS)
        took = time.perf_counter_ns() - start
        done = items // TASKS * TASKS
        return {"ns": took / done, "cpu_ns": (time.process_time_ns() - cpu) / done, "batch": done / function.calls}

    return asyncio.run(main())


def threads(name: str, items: int) -> Found:
    function = Empty()
    submit = THREAD_FORMS[name](function.called, SIZE)

    def work(each: int) -> None:
        for number in range(each):
            assert submit(number) == number

    def all_threads(each: int) -> None:
        workers = [threading.Thread(target=work, args=(each,)) for _ in range(THREADS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    all_threads(20)
    function.calls = 0
    cpu, start = time.process_time_ns(), time.perf_counter_ns()
    all_threads(items // THREADS)
    took = time.perf_counter_ns() - start
    done = items // THREADS * THREADS
    return {"ns": took / done, "cpu_ns": (time.process_time_ns() - cpu) / done, "batch": done / function.calls}


def lone(name: str, items: int) -> Found:
    async def main() -> Found:
        submit = FORMS[name](Empty().awaited, SIZE, WINDOW)
        waits = []
        for number in range(items):
            await asyncio.sleep(0.002 + number % 7 * 0.0005)  # not in step with anybody's timer
            start = time.perf_counter_ns()
            await submit(number)
            waits.append(time.perf_counter_ns() - start)
        return {"ns": statistics.median(waits[len(waits) // 10 :])}

    return asyncio.run(main())


def idle(name: str, seconds: int) -> Found:
    async def main() -> Found:
        submit = FORMS[name](Empty().awaited, SIZE, WINDOW)
        await submit(1)
        await asyncio.sleep(0.2)
        cpu = time.process_time_ns()
        await asyncio.sleep(seconds)
        return {"percent": (time.process_time_ns() - cpu) / seconds / 1e7}

    return asyncio.run(main())


KINDS: dict[str, Callable[[str, int], Found]] = {"closed": closed, "threads": threads, "lone": lone, "idle": idle}


# ---- many ----


def command(kind: str, name: str, amount: int) -> list[str]:
    return [sys.executable, __file__, "--one", kind, name, str(amount)]


ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0", "LIBPERF_DIR": "off"}


def figure(kind: str, name: str, amount: int) -> Found:
    answer = subprocess.run(command(kind, name, amount), env=ENVIRONMENT, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"batch_cost.py: {kind}, {name}: {answer.stderr.strip()}")
    found: Found = json.loads(answer.stdout)
    return found


def instructions(kind: str, name: str, amount: int) -> int:
    """Of a whole process."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    answer = subprocess.run([*valgrind, *command(kind, name, amount)], env=ENVIRONMENT, capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", answer.stderr)
    if answer.returncode or not collected:
        raise SystemExit(f"batch_cost.py: valgrind, {name}: {answer.stderr.strip()[-2000:]}")
    return int(collected[1])


def instruction_rows(times: int) -> list[Row]:
    if not shutil.which("valgrind"):
        raise SystemExit("batch_cost.py: valgrind is not installed")
    found: dict[str, list[float]] = {}
    for name in ("no batching", *REFERENCES, "libperf"):
        few, many = FEW * times, MANY * times
        counted = instructions("closed", name, many) - instructions("closed", name, few)
        found[name] = [counted / (many - few)]
    cheapest = min(found[name][0] for name in REFERENCES)
    return [
        Row(
            f"batch/instructions/{name}",
            f"instructions an item, 64 tasks: {name}",
            "",
            samples,
            {"over_reference": round(samples[0] / cheapest, 3)},
        )
        for name, samples in found.items()
    ]


def times(samples: list[float], base: list[float]) -> float:
    """How many times `base`: the median over the rounds."""
    return round(statistics.median(a / b for a, b in zip(samples, base, strict=True)), 3)


def cpu(figures: list[Found]) -> list[float]:
    return [figure["cpu_ns"] for figure in figures]


def time_rows(arguments: argparse.Namespace) -> list[Row]:
    names = [name for name in FORMS if installed(name)]
    amounts = {"closed": arguments.items, "threads": arguments.items // 8, "lone": arguments.requests}
    cases: dict[str, Callable[[], Found]] = {}
    for kind, amount in {**amounts, "idle": arguments.idle}.items():
        for name in THREAD_FORMS if kind == "threads" else names:
            if installed(name):
                cases[f"{kind}/{name}"] = functools.partial(figure, kind, name, amount)
    found = rounds(cases, arguments.rounds)
    rows = []
    for case, figures in found.items():
        kind, _, name = case.partition("/")
        if kind == "idle":
            rows.append(Row(f"batch/{case}", f"CPU while idle: {name}", "%", [one["percent"] for one in figures]))
            continue
        samples = [one["ns"] for one in figures]
        own = [one["ns"] for one in found[f"{kind}/libperf"]]
        more: dict[str, Any] = {"over_libperf": times(samples, own)}
        if kind == "closed":
            cheaper = [min(pair) for pair in zip(*(cpu(found[f"closed/{each}"]) for each in REFERENCES), strict=True)]
            more["over_reference"] = times(cpu(figures), cheaper)  # which others on the machine change less
        if kind != "lone":
            more["cpu_ns"] = round(statistics.median(one["cpu_ns"] for one in figures))
            more["batch"] = round(statistics.median(one["batch"] for one in figures), 1)
        what = {"closed": "64 tasks, an item", "threads": "16 threads, an item", "lone": "alone, added"}[kind]
        rows.append(Row(f"batch/{case}", f"{what}: {name}", "ns", samples, more))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: .venv-peers/bin/python bench/peers/batch_cost.py --rounds 9 --json batch_cost.jsonl",
    )
    parser.add_argument("--rounds", type=positive, default=9, metavar="N", help="at least 9 to be quoted (9)")
    parser.add_argument("--items", type=positive, default=32_000, metavar="N", help="of a run (32000)")
    parser.add_argument("--requests", type=positive, default=200, metavar="N", help="alone (200)")
    parser.add_argument("--idle", type=positive, default=3, metavar="S", help="seconds (3)")
    parser.add_argument("--instructions", action="store_true", help="count them, measure no time")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    parser.add_argument("--one", nargs=3, metavar=("KIND", "NAME", "AMOUNT"), help="one figure, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        kind, name, amount = arguments.one
        print(json.dumps(KINDS[kind](name, int(amount))), flush=True)
        os._exit(0)  # some never end by themselves
    rows = instruction_rows(1) if arguments.instructions else time_rows(arguments)
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
