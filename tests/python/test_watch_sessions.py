"""The profiling mode as a whole: what start() changes, stop() puts back, whenever it comes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib._bootstrap  # type: ignore[import-not-found]
import logging
import queue
import selectors
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
import libperf.langchain
from libperf import context, tracing
from libperf.errors import StartedError
from libperf.reader import Reader
from libperf.watch.patch import Patches
from support_events import Events, _raw, read, record, recorded

Run = Callable[..., subprocess.CompletedProcess[str]]

MODULES = [
    asyncio,
    *(sys.modules[f"asyncio.{name}"] for name in ("base_events", "events", "futures", "locks", "queues", "taskgroups")),
    sys.modules["asyncio.tasks"],
    concurrent.futures,
    sys.modules["concurrent.futures._base"],
    sys.modules["concurrent.futures.thread"],
    context,
    importlib._bootstrap,
    libperf.langchain,
    queue,
    selectors,
    ssl,
    threading,
    time,
    tracing,
]


def everything() -> dict[tuple[str, ...], int]:
    """The identity of every attribute of these modules and of their classes."""
    found = {}
    for module in MODULES:
        for name, value in vars(module).items():
            found[module.__name__, name] = id(value)
            if isinstance(value, type):
                found |= {(value.__module__, value.__qualname__, key): id(of) for key, of in vars(value).items()}
            for number, cell in enumerate(getattr(value, "__closure__", None) or ()):
                found[module.__name__, name, f"cell {number}"] = id(cell.cell_contents)
    return {key: value for key, value in found.items() if "__abstractmethods__" not in key and "_abc_impl" not in key}


def test_everything_is_put_back() -> None:
    """The same objects as before lie in every module and class; while it was on, some fifty others did."""
    asyncio.run(asyncio.sleep(0))  # which makes asyncio's policy
    before = everything()
    with libperf.Profiler():
        during = everything()
        asyncio.run(asyncio.sleep(0))
    assert everything() == before
    changed = {key for key in before if during[key] != before[key]}
    assert len(changed) > 50
    assert {("time", "sleep"), ("asyncio.futures", "Future"), ("threading", "Thread", "start")} <= changed


def test_one_at_a_time() -> None:
    """A second start() is an error that says what to do; stop() twice is none; one can be started again."""
    profiler = libperf.Profiler()
    assert not profiler.running
    with profiler:
        assert profiler.running
        with pytest.raises(StartedError, match="stop"):
            libperf.Profiler().start()
        with pytest.raises(StartedError, match="stop"):
            profiler.start()
        assert profiler.running
        libperf.Profiler().stop()
        assert profiler.running
    assert not profiler.running
    first = profiler.session
    profiler.stop()
    with profiler:
        assert profiler.session > first > 0


def test_nothing_is_written_when_it_is_off() -> None:
    """Before and after, also by what was made meanwhile."""
    reader = Reader()
    for _ in _raw(reader):
        pass
    asyncio.run(asyncio.sleep(0))
    with libperf.Profiler():
        loop = asyncio.new_event_loop()
        future, lock = loop.create_future(), asyncio.Lock()
        condition = asyncio.Condition()
        loop.call_later(0.001, future.set_result, 1)
        handle = loop.call_soon(int)
    read(reader)

    async def main() -> None:
        async with lock, condition:
            await future

    loop.run_until_complete(main())
    loop.close()
    asyncio.run(asyncio.sleep(0))
    assert "Handle" in repr(handle)
    assert read(reader) == []
    reader.close()


def test_start_inside_of_a_running_loop() -> None:
    """Tasks, futures and timers from before work on beside new ones, and are seen from their next wake-up on."""
    events = Events()

    async def old(delays: tuple[float, ...]) -> None:
        for delay in delays:
            await asyncio.sleep(delay)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        order: list[int] = []
        timers = [loop.call_later(delay, order.append, round(1000 * delay)) for delay in (0.003, 0.001, 0.004, 9)]
        tasks = [asyncio.create_task(old((0.001, 0.001))) for _ in range(3)]
        await asyncio.sleep(0)
        with recorded() as found:
            for number in (8, 6, 5, 7):  # asyncio compares them with the old ones
                loop.call_later(0.001 * number, order.append, number)
            timers.pop().cancel()
            await asyncio.gather(*tasks, asyncio.sleep(0.01))
            await asyncio.to_thread(int)
        events.extend(found)
        assert order == [1, 3, 4, 5, 6, 7, 8]
        await asyncio.sleep(0.001)

    asyncio.run(main())
    ended = [e for e in events.of("END") if e.kind == "task"]
    assert len({e.actor for e in ended}) == 4
    assert len({e.more for e in events.of("RUN") if e.kind == "task"}) == 1
    assert events.of("HOST")[0].more == events.of("RUN")[0].more
    assert len([e for e in events.of("RUN") if e.kind == "timer" and e.key in {t.key for t in events.of("TIMER")}]) >= 4


def test_stop_inside_of_a_running_loop() -> None:
    """What is on its way arrives; the next session begins anew."""

    async def main() -> None:
        profiler = libperf.Profiler().start()
        tasks = [asyncio.create_task(asyncio.sleep(0.001 * number)) for number in range(5)]
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.002))
            await asyncio.sleep(0.001)
            profiler.stop()
        asyncio.get_running_loop().call_later(0.0005, int)
        await asyncio.gather(*tasks)
        profiler.start()
        await asyncio.sleep(0)
        profiler.stop()

    asyncio.run(main())


def test_actors_do_not_end_in_another_session() -> None:
    """A callback that stops and starts writes no END of what the new session has not seen begin."""

    async def main() -> None:
        def restart() -> None:
            profiler.stop()
            profiler.start()

        asyncio.get_running_loop().call_soon(restart)
        await asyncio.sleep(0)

    reader = Reader()
    for _ in _raw(reader):
        pass
    with libperf.Profiler() as profiler:
        asyncio.run(main())
    events = read(reader)
    second = events[next(i for i, e in enumerate(events) if e.code == "THREAD" and i) :]
    assert second[1].code == "HOST"
    assert second[2].code == "RUN"
    reader.close()


def test_the_main_thread_is_there_first() -> None:
    """Before any code of the program: the actor at the bottom, of whichever thread starts it."""
    events = record(lambda: None)
    assert [(e.code, e.kind, e.block) for e in events[:1]] == [("THREAD", "main", events[0].block)]

    def start() -> None:
        found.extend(record(lambda: None))

    found: list[Any] = []
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert [(e.code, e.kind) for e in found[:1]] == [("THREAD", "thread")]


def test_a_child_goes_on_recording(run: Run) -> None:
    """Into a segment of its own, which knows its actor and its resources; nothing hangs."""
    code = """
import asyncio, os, sys, libperf
from libperf.reader import Reader
from support_events import read
async def main():
    async with lock: await asyncio.sleep(0.001)
with libperf.Profiler() as profiler:
    lock = libperf.Lock("mine")
    asyncio.run(main())
    pid = os.fork()
    asyncio.run(main())
events = read(Reader())
assert events[0].code == "THREAD" and events[0].kind == "main", events[0]
assert len(events.of("THREAD")) == 1
assert len(events.of("ACQUIRED")) == (2 if pid else 1)
assert [e.text for e in events.of("RESOURCE")][:1] == ["mine"]
if pid:
    if os.fork() == 0:  # records nothing: has no segment
        os._exit(libperf.segment_path() is not None)
    sys.exit(any(os.wait()[1] for _ in range(2)))
"""
    quiet = "ignore::DeprecationWarning"  # from 3.12 on: of a fork beside threads
    done = run(code, PYTHONPATH=str(Path(__file__).parent), PYTHONWARNINGS=quiet)
    assert (done.returncode, done.stderr) == (0, "")


def test_by_environment(run: Run) -> None:
    """LIBPERF_PROFILE=1 starts it at import; 0 and nothing do not."""
    code = "import libperf, time; print(time.sleep.__doc__ is None)"
    for value, watched in (("1", True), ("0", False), ("", False)):
        assert run(code, LIBPERF_PROFILE=value).stdout == f"{watched}\n"


def test_a_program_without_asyncio(run: Run) -> None:
    """Nothing is imported that the program does not need; what it imports later is patched then, and put back."""
    code = """
import sys
before = set(sys.modules)
import libperf
lean = {"asyncio", "queue", "concurrent.futures", "inspect", "ssl", "langchain_core"} - before
profiler = libperf.Profiler().start()
assert not lean & set(sys.modules), lean & set(sys.modules)
import asyncio, queue, ssl
assert asyncio.futures.Future is not asyncio.Future
assert "watch" in queue.Queue.get.__code__.co_filename
assert "watch" in ssl.create_default_context.__code__.co_filename
profiler.stop()
assert asyncio.futures.Future is asyncio.Future
assert "watch" not in queue.Queue.get.__code__.co_filename + ssl.create_default_context.__code__.co_filename
import concurrent.futures.thread
assert "watch" not in concurrent.futures.thread._WorkItem.run.__code__.co_filename
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_function_that_is_not_as_we_know_it(caplog: pytest.LogCaptureFixture) -> None:
    """One warning, no error; the function stays."""

    class Queue:
        def get(self, wait: bool = True) -> None: ...

    original, patches = Queue.get, Patches()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            patches.wrap(Queue, "get", "self, block, timeout", lambda original: None)
            patches.wrap(Queue, "put", "self, item", lambda original: None)
    assert Queue.get is original
    assert [r.getMessage().partition(" ")[0] for r in caplog.records] == ["Queue.get(self,", "Queue.put(None)"]


def test_what_others_replaced_meanwhile_is_left_alone() -> None:
    """Putting back what was there before ours would undo theirs."""

    class Thing:
        number = 1

    patches = Patches()
    patches.set(Thing, "number", 2)
    patches.set(Thing, "other", 2)
    Thing.number = 3
    patches.undo()
    assert (Thing.number, hasattr(Thing, "other")) == (3, False)


def test_an_inherited_attribute_is_not_left_in_the_subclass() -> None:
    """It is deleted, not set to what was inherited."""

    class Base:
        def method(self) -> None: ...

    class Derived(Base): ...

    patches = Patches()
    patches.wrap(Derived, "method", "self", lambda original: lambda self: None)
    assert "method" in vars(Derived)
    patches.undo()
    assert "method" not in vars(Derived)
