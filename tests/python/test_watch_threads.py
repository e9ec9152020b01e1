"""Events of threads: who starts and waits for whom, executors' work, sleeps."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import time
import weakref
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor

import pytest

import libperf
from libperf._core import lib
from support_events import Events, record

EXECUTOR: int = lib.PERF_RESOURCE_EXECUTOR
WAITS = ("WAIT_FOR", "WAIT", "WAIT_EXECUTOR", "WAITED", "AWAIT", "SLEEP", "SLEPT")


def main_of(events: Events) -> int:
    return next(e.key for e in events.of("THREAD") if e.kind == "main")


def test_a_thread_and_who_waits_for_it(name: str) -> None:
    """SPAWN, THREAD with the starter's span, END; join() is about it. The handshake of start() is no wait."""

    def work() -> None:
        with condition:
            ready.release()
            condition.wait()

    def program() -> None:
        thread = threading.Thread(target=work)
        with libperf.span(name):
            thread.start()
        ready.acquire()
        with condition:
            condition.notify()
        thread.join()
        thread.join()

    condition, ready = threading.Condition(), threading.Semaphore(0)
    events = record(program)
    main = events.by(main_of(events))
    thread = main.one("SPAWN").key
    start = main[main.codes().index("SPAWN") : main.codes().index("SPAN_END") + 1]
    assert [e.code for e in start] == ["SPAWN", "SPAN_END"]
    mine = events.by(thread)
    assert mine.of("THREAD", "WAIT_FOR", "WAIT", "WAITED", "END").codes() == [
        *("THREAD", "WAIT_FOR", "WAIT", "WAITED", "END")
    ]
    assert mine.one("WAIT").arg == 1
    assert (mine.one("WAITED").arg, mine.one("WAITED").more) == (0, 0)
    assert {e.span for e in mine} == {name}
    assert mine.one("WAIT_FOR").key in [e.key for e in main.of("RESOLVE")]
    assert main.of("AWAIT")[-1].key == thread


def test_waiting_in_vain() -> None:
    """A time limit that comes first is told."""

    def program() -> None:
        thread = threading.Thread(target=go.wait)
        thread.start()
        thread.join(0.001)
        threading.Event().wait(0.001)
        with pytest.raises(futures.TimeoutError):
            futures.Future().result(0.001)
        go.set()
        thread.join()

    go = threading.Event()
    events = record(program)
    waited = events.by(main_of(events)).of("WAITED")
    assert [e.arg for e in waited][:3] == [1, 1, 1]


def test_an_executors_work(name: str) -> None:
    """SUBMIT by who asks, RUN and END under the submitter's span, RESOLVE of the future; shutdown() is one wait."""

    def program() -> None:
        with ThreadPoolExecutor(2, thread_name_prefix="pool") as pool:
            with libperf.span(name):
                future = pool.submit(int)
            assert future.result() == 0
            assert future.result() == 0

    events = record(program)
    executor = events.resource("pool")
    assert (events.one("RESOURCE").more & 0xFF, events.one("RESOURCE").more >> 8) == (EXECUTOR, 2)
    submit = events.one("SUBMIT")
    assert (submit.span, submit.more) == (name, executor)
    work = events.by(submit.key)
    assert (work.codes(), {e.kind for e in work}, {e.span for e in work}) == (
        ["RUN", "RESOLVE", "END"],
        {"work"},
        {name},
    )
    main = events.by(main_of(events))
    assert main.of("AWAIT", "WAIT_FOR")[-1].key == work.one("RESOLVE").key
    assert main.of("WAIT_EXECUTOR", "WAITED").codes()[-2:] == ["WAIT_EXECUTOR", "WAITED"]
    assert main.one("WAIT_EXECUTOR").key == executor
    assert not main.of("SPAWN")
    assert main.of("WAIT").codes().count("WAIT") <= 1


def test_executors_names() -> None:
    """The loop's own executor by the name that asyncio gives it, a nameless one by its line."""

    async def main() -> None:
        await asyncio.to_thread(int)
        with ThreadPoolExecutor(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, int)

    events = record(lambda: asyncio.run(main()))
    line = main.__code__.co_firstlineno + 2
    assert [e.text for e in events.of("RESOURCE")] == ["asyncio", f"test_watch_threads.py:{line}"]


def test_an_executors_answer_wakes_its_loop() -> None:
    """The work's thread schedules the callback that resolves the loop's future."""

    go = threading.Event()

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.001, go.set)
        await asyncio.to_thread(go.wait)

    events = record(lambda: asyncio.run(main()))
    work = events.of("SUBMIT")[0].key
    callback = events.by(work).one("SPAWN").key
    awaited = events.by(callback).one("RESOLVE").key
    assert awaited in [e.key for e in events.by(events.of("HOST")[0].key).of("SUSPEND")]


def test_waiting_for_several() -> None:
    """wait() says all it waits for and how many of these must be done."""

    def program() -> None:
        with ThreadPoolExecutor(2) as pool:
            some = [pool.submit(go.wait), pool.submit(int)]
            done, not_done = futures.wait(some, return_when=futures.FIRST_COMPLETED)
            assert (len(done), len(not_done)) == (1, 1)
            assert futures.wait(some, timeout=0.001).not_done == not_done
            go.set()
            assert not futures.wait(some).not_done

    go = threading.Event()
    events = record(program)
    main = events.by(main_of(events)).of("WAIT_FOR", "WAIT", "WAITED")
    assert main.codes()[:12] == ["WAIT_FOR", "WAIT_FOR", "WAIT", "WAITED"] * 3
    assert [e.arg for e in main.of("WAIT")][:3] == [1, 2, 2]
    assert [(e.arg, e.more) for e in main.of("WAITED")][:3] == [(0, 1), (1, 1), (0, 0)]


def test_as_completed() -> None:
    """Each step waits for one of those that are left; closing it early leaves nothing behind."""

    def program() -> None:
        with ThreadPoolExecutor(2) as pool:
            slow, quick = pool.submit(go.wait), pool.submit(int)
            steps = futures.as_completed([slow, quick])
            assert next(steps) is quick
            go.set()
            assert next(steps) is slow
            with pytest.raises(StopIteration):
                next(steps)
            futures.as_completed([slow]).close()

    go = threading.Event()
    events = record(program)
    main = events.by(main_of(events)).of("WAIT_FOR", "WAIT", "WAITED", "AWAIT")
    quick = next(e.key for e in events.of("RESOLVE") if events.of("SUBMIT")[1].key == e.actor)
    assert {e.arg for e in main.of("WAIT")} <= {1}
    assert main[0].key == quick or main.codes()[:4] == ["WAIT_FOR", "WAIT_FOR", "WAIT", "WAITED"]


def test_sleeping() -> None:
    """SLEEP with what was asked for; time.sleep stays a builtin that is no method, and complains as ever."""

    def program() -> None:
        class Naps:
            nap = time.sleep

        Naps().nap(0.001)
        for wrong in (-1, "1"):
            with pytest.raises((TypeError, ValueError)):
                time.sleep(wrong)  # type: ignore[arg-type]

    events = record(program)
    assert events.of("SLEEP", "SLEPT").codes() == ["SLEEP", "SLEPT"] * 3
    assert [e.more for e in events.of("SLEEP")] == [1_000_000, 0, 0]


def test_conditions_wake_in_order() -> None:
    """notify() resolves what the longest waiting thread waits for."""

    def wait() -> None:
        with condition:
            ready.release()
            condition.wait()

    def program() -> None:
        threads = [threading.Thread(target=wait) for _ in range(2)]
        for thread in threads:
            thread.start()
            ready.acquire()
        with condition:
            condition.notify()
        with condition:
            condition.notify_all()
        for thread in threads:
            thread.join()

    condition, ready = threading.Condition(), threading.Semaphore(0)
    events = record(program)
    threads = [e.key for e in events.of("SPAWN")]
    keys = [events.by(thread).one("WAIT_FOR").key for thread in threads]
    assert [e.key for e in events.of("RESOLVE") if e.key in keys] == keys


def test_errors_of_work_hold_nothing() -> None:
    """The frames that libperf adds make no circle of an exception and its future."""

    class Heavy(Exception):
        pass

    def fail() -> None:
        raise Heavy

    def program() -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(fail)
            alive.append(weakref.ref(future))
            try:
                future.result()
            except Heavy:
                del future  # this frame is in the traceback too

    alive: list[weakref.ref[futures.Future[None]]] = []
    gc.disable()
    try:
        record(program)
        assert alive[0]() is None
    finally:
        gc.enable()


def test_sleep_is_pickled_by_its_name() -> None:
    """A process pool is given time.sleep as it would be without us."""
    with libperf.Profiler():
        watched = time.sleep
        assert pickle.loads(pickle.dumps(watched)) is watched
    assert pickle.loads(pickle.dumps(time.sleep)) is time.sleep is not watched
