"""Who hangs: what goes wrong around batches, tried on libperf and on the libraries that are installed.

Each probe runs in a process of its own with a time limit, under `python -O` where it says so. A caller that has neither
result nor exception when all others have theirs, and a second more, hangs. Exit status 1: libperf failed one.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from batch_forms import FORMS, THREAD_FORMS, installed
from measure import environment, positive

PATIENCE = 1.0  # seconds
LIMIT = 20.0
Make = Callable[[Any], Callable[[Any], Awaitable[Any]]]


class Found(NamedTuple):
    good: bool
    says: str


# ---- what became of the callers ----


class Given(NamedTuple):
    """An exception that came as a result, and was not raised."""

    error: BaseException


async def outcomes(tasks: Sequence[asyncio.Future[Any]]) -> list[Any]:
    """Of each: its result, its exception, or Ellipsis when it hangs."""
    await asyncio.wait(tasks, timeout=PATIENCE)
    found: list[Any] = []
    for task in tasks:
        if not task.done():
            found.append(...)
        elif task.cancelled():
            found.append(asyncio.CancelledError())
        elif error := task.exception():
            found.append(error)
        else:
            result = task.result()
            found.append(Given(result) if isinstance(result, BaseException) else result)
    return found


async def tried(submit: Callable[[Any], Awaitable[Any]], items: Sequence[Any]) -> list[Any]:
    return await outcomes([asyncio.ensure_future(submit(item)) for item in items])


def hanging(found: list[Any]) -> str:
    hang = sum(each is ... for each in found)
    return f"{hang} of {len(found)} hang" if hang else ""


def names(found: list[Any]) -> str:
    return ", ".join(sorted({type(each).__name__ for each in found if isinstance(each, BaseException)}))


def each_failed(found: list[Any]) -> Found:
    """Every caller has an exception."""
    if hang := hanging(found):
        return Found(False, hang)
    wrong = sum(not isinstance(each, BaseException) for each in found)
    return Found(not wrong, f"{wrong} of {len(found)} got a result" if wrong else f"all fail: {names(found)}")


# ---- the probes ----


async def cancel(make: Make) -> Found:
    """one of five callers is cancelled"""

    async def slow(items: list[int]) -> list[int]:
        await asyncio.sleep(0.05)
        return items

    submit = make(slow)
    tasks = [asyncio.ensure_future(submit(number)) for number in range(5)]
    await asyncio.sleep(0.03)
    tasks[1].cancel()
    found = await outcomes(tasks)
    later = await tried(submit, [99])
    others = found[:1] + found[2:]
    if hang := hanging(others + later):
        return Found(False, hang)
    good = others + later == [0, 2, 3, 4, 99]
    return Found(good, "only that one" if good else f"others too: {names(others + later)}")


async def cancelled_function(make: Make) -> Found:
    """the function raises CancelledError"""

    async def function(items: list[int]) -> list[int]:
        raise asyncio.CancelledError

    return each_failed(await tried(make(function), range(4)))


async def base_exception(make: Make) -> Found:
    """the function raises a BaseException"""

    class Stop(BaseException):
        pass

    async def function(items: list[int]) -> list[int]:
        raise Stop

    return each_failed(await tried(make(function), range(4)))


async def too_few(make: Make) -> Found:
    """one result is missing"""

    async def function(items: list[int]) -> list[int]:
        return items[:-1]

    return each_failed(await tried(make(function), range(4)))


async def too_many(make: Make) -> Found:
    """one result too many"""

    async def function(items: list[int]) -> list[int]:
        return [*items, 0]

    return each_failed(await tried(make(function), range(4)))


async def nothing(make: Make) -> Found:
    """the function returns None"""

    async def function(items: list[int]) -> Any:
        return None

    return each_failed(await tried(make(function), range(4)))


async def own_exceptions(make: Make) -> Found:
    """the function raises: has each caller an exception of its own"""

    async def function(items: list[int]) -> list[int]:
        raise ValueError("poison")

    found = await tried(make(function), range(4))
    failed = each_failed(found)
    if not failed.good:
        return failed
    own = len({id(each) for each in found}) == len(found)
    return Found(own, "yes" if own else "no, all share one")


async def poison(make: Make) -> Found:
    """one poison item among six (libperf: isolate="bisect")"""

    async def function(items: list[int]) -> list[int]:
        if 3 in items:
            raise ValueError("poison")
        return items

    found = await tried(make(function), range(6))
    if hang := hanging(found):
        return Found(False, hang)
    failed = [each for each in found if isinstance(each, BaseException)]
    return Found(len(failed) == 1, f"{len(failed)} of 6 fail")


async def value(make: Make) -> Found:
    """one result is an exception instance"""

    async def function(items: list[int]) -> list[Any]:
        return [ValueError("bad") if item == 3 else item for item in items]

    found = await tried(make(function), range(6))
    if hang := hanging(found):
        return Found(False, hang)
    failed = [index for index, each in enumerate(found) if isinstance(each, BaseException)]
    return Found(failed == [3], f"{len(failed)} of 6 raised" if failed else "given as a result")


async def reentrant(make: Make) -> Found:
    """the function submits to its own batcher"""
    own: list[Callable[[Any], Awaitable[Any]]] = []

    async def function(items: list[int]) -> list[int]:
        if items[0] >= 0:
            return await asyncio.gather(*[asyncio.ensure_future(own[0](-1 - item)) for item in items])
        return items

    own.append(make(function))
    found = await tried(own[0], [1])
    if hang := hanging(found):
        return Found(False, hang)
    return Found(True, "works" if found == [-2] else f"raises {names(found)}")


async def trickle(make: Make) -> Found:
    """a window of 100 ms, an item every 85 ms: when the first goes"""
    seen: list[float] = []

    async def function(items: list[int]) -> list[int]:
        seen.append(time.perf_counter())
        return items

    submit = make(function)
    await submit(0)
    seen.clear()
    tasks = []
    start = time.perf_counter()
    for number in range(3):
        tasks.append(asyncio.ensure_future(submit(number)))
        await asyncio.sleep(0.085)
    found = await outcomes(tasks)
    if hang := hanging(found):
        return Found(False, hang)
    first = 1000 * (seen[0] - start)
    return Found(first < 140, f"{first:.0f} ms")


ASYNC: dict[str, Callable[[Make], Awaitable[Found]]] = {
    probe.__name__: probe
    for probe in (
        cancel,
        cancelled_function,
        base_exception,
        too_few,
        too_many,
        nothing,
        own_exceptions,
        poison,
        value,
        reentrant,
        trickle,
    )
}
SMALL, WIDE = (8, 0.01), (100, 0.1)  # size of a batch, seconds of the window


def in_loop(probe: str, name: str) -> Found:
    make = functools.partial(_make, name, *(WIDE if probe == "trickle" else SMALL), isolate=probe == "poison")

    async def main() -> Found:
        # what a function raises past its callers is its batcher's own affair
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        return await ASYNC[probe](make)

    return asyncio.run(main())


def _make(name: str, size: int, seconds: float, function: Any, *, isolate: bool = False) -> Any:
    if name == "libperf" and isolate:  # asked for: the function is called again
        import libperf

        return libperf.BatchProcessor(function, max_batch_size=size, max_wait_time=seconds, isolate="bisect").submit
    return FORMS[name](function, size, seconds)


def two_loops(name: str) -> Found:
    """asyncio.run() a second time"""

    async def function(items: list[int]) -> list[int]:
        return items

    made: list[Any] = []

    async def first() -> list[Any]:
        made.append(FORMS[name](function, *SMALL))
        return await tried(made[0], [1])

    async def second() -> list[Any]:
        try:
            return await tried(made[0], [2])
        except RuntimeError as error:  # some raise where others return what is awaited
            return [error]

    found = [*asyncio.run(first()), *asyncio.run(second())]
    if hang := hanging(found):
        return Found(False, hang)
    return Found(found == [1, 2], "works" if found == [1, 2] else f"raises {names(found)}")


def shutdown(name: str) -> Found:
    """closed while eight threads wait"""
    gate = threading.Event()

    def function(items: list[int]) -> list[int]:
        gate.wait(0.3)
        return items

    if name == "libperf":
        import libperf

        processor: Any = libperf.BatchProcessor(function, max_batch_size=2)
        call, stop = (lambda item: processor.submit(item).result()), processor.close
    else:
        from importlib import import_module

        processor = import_module("batched").BatchProcessor(function, 2, 5.0)
        call, stop = processor, processor.shutdown
    found: list[Any] = [...] * 8

    def work(number: int) -> None:
        try:
            found[number] = call(number)
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    stop()
    end = time.monotonic() + 3 * PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if hang := hanging(found):
        return Found(False, hang)
    failed = [each for each in found if isinstance(each, BaseException)]
    return Found(True, f"{len(failed)} of 8 raise {names(failed)}" if failed else "all are answered")


class Probe(NamedTuple):
    name: str
    what: str
    run: Callable[[str], Found]
    peers: Sequence[str]
    optimised: bool = False  # under python -O, which leaves out assertions


PEERS = ("libperf", "batched", "async-batcher", "aiodataloader")


def probes() -> list[Probe]:
    found = [Probe(name, str(probe.__doc__), functools.partial(in_loop, name), PEERS) for name, probe in ASYNC.items()]
    found += [
        Probe(f"{probe.name} -O", f"{probe.what}, python -O", probe.run, PEERS, True)
        for probe in found
        if probe.name in ("too_few", "too_many", "nothing")
    ]
    # a DataLoader belongs to one loop by design: it is made for each request
    found.append(Probe("two_loops", str(two_loops.__doc__), two_loops, PEERS))
    found.append(Probe("shutdown", str(shutdown.__doc__), shutdown, [name for name in PEERS if name in THREAD_FORMS]))
    return found


def verdict(probe: Probe, name: str) -> Found:
    """What the probe found in a process of its own."""
    flags = ["-O"] if probe.optimised else []
    command = [sys.executable, *flags, "-W", "ignore", __file__, "--one", probe.name, name]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env={**os.environ, "LIBPERF_DIR": "off"}
        )
    except subprocess.TimeoutExpired:
        return Found(False, "hangs for good")
    try:
        return Found(*json.loads(answer.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        last = (answer.stderr.strip().splitlines() or [f"status {answer.returncode}"])[-1]
        return Found(False, f"breaks: {last[:80]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=positive, default=2, metavar="N", help="processes at a time (2)")
    parser.add_argument("--only", metavar="NAME", help="one library")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per probe")
    parser.add_argument("--one", nargs=2, metavar=("PROBE", "NAME"), help="one probe, in this process")
    arguments = parser.parse_args()
    all_probes = probes()
    if arguments.one:
        name, library = arguments.one
        found = next(probe for probe in all_probes if probe.name == name).run(library)
        print(json.dumps(found), flush=True)
        os._exit(0)  # whoever hangs would hold up the end
    libraries = [name for name in PEERS if installed(name) and arguments.only in (None, name)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        running = {
            (probe.name, name): pool.submit(verdict, probe, name)
            for probe in all_probes
            for name in libraries
            if name in probe.peers
        }
    lines: list[dict[str, Any]] = []
    for probe in all_probes:
        rows = {name: running[probe.name, name].result() for name in libraries if (probe.name, name) in running}
        lines.append({"name": f"batch/faults/{probe.name}", "what": probe.what, "verdicts": rows})
        print(probe.what)
        for name, found in rows.items():
            print(f"    {name:16} {'ok  ' if found.good else 'BAD '} {found.says}")
    wrong = {
        name: sum(not line["verdicts"][name].good for line in lines if name in line["verdicts"]) for name in libraries
    }
    lines.append({"name": "batch/faults", "wrong": wrong})
    print(f"wrong: {', '.join(f'{name} {count}' for name, count in wrong.items())}")
    if arguments.json:
        where = environment()
        Path(arguments.json).write_text("".join(json.dumps(line | where) + "\n" for line in lines))
    return 1 if wrong.get("libperf") else 0


if __name__ == "__main__":
    sys.exit(main())
