"""Deadlocks are found by name, and nothing beside one is called reliable."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.analysis.deadlocks import Deadlock
from support_analysis import analysed, call, saturated


def found_in(program: Callable[[], object]) -> list[Deadlock]:
    """The deadlocks of something that takes real time."""
    with libperf.Profiler() as profiler:
        program()
    with profiler.analyze() as analysis:
        assert analysis.reliable is False or not analysis.deadlocks
        return analysis.deadlocks


def in_a_circle(*names: str, limit: float = 5.0) -> Callable[[], Any]:
    """Task n takes lock n, and a second later lock n + 1; after `limit` seconds everybody gives up."""

    async def program() -> None:
        locks = [libperf.Lock(name) for name in names]

        async def take(number: int) -> None:
            async with locks[number]:
                await asyncio.sleep(1)
                async with locks[(number + 1) % len(locks)]:
                    await call("never", 1)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await asyncio.gather(*map(take, range(len(locks))))

    return program


@pytest.mark.parametrize("names", [("orders",), ("accounts", "orders"), ("a", "b", "c", "d")])
def test_tasks_that_wait_for_each_other(names: tuple[str, ...]) -> None:
    """A circle of waits of any length, from the last request to the first that is given up."""
    analysis = analysed(in_a_circle(*names))
    assert analysis.deadlocks == [Deadlock(names, 4.0)]
    assert analysis.self_replay_error == 0  # it is as it was, and yet
    assert not analysis.reliable
    assert not analysis.what_if({}).reliable
    assert analysis.to_dict()["deadlocks"] == [{"locks": list(names), "waited_s": 4.0}]


def test_the_same_locks_again() -> None:
    """One finding for the same circle, with the sum of its waits; another one for other locks."""

    async def program() -> None:
        await in_a_circle("a", "b", limit=2)()
        await in_a_circle("a", "b", limit=4)()
        await in_a_circle("x", "y", limit=9)()

    assert analysed(program).deadlocks == [Deadlock(("x", "y"), 8.0), Deadlock(("a", "b"), 4.0)]


def test_to_the_end(start: Callable[..., Any], segments: Callable[[], list[Path]]) -> None:
    """Where nobody gives up the recording ends in it, here by SIGKILL."""
    program = """
import asyncio, libperf
async def main():
    locks, asked = [libperf.Lock("a"), libperf.Lock("b")], []
    async def take(one, other):
        async with one:
            await asyncio.sleep(0)
            asked.append(other)
            async with other: pass
    async def watch():
        while len(asked) < 2: await asyncio.sleep(0)
        print("ready", flush=True)
    await asyncio.gather(take(*locks), take(*reversed(locks)), watch())
asyncio.run(main())
"""
    process = start(program, LIBPERF_PROFILE="1")
    assert process.poll() is None
    process.kill()
    process.wait()
    with libperf.Analysis(segments()[0]) as analysis:
        assert [each.locks for each in analysis.deadlocks] == [("a", "b")]
        assert not analysis.reliable


def test_threads_that_wait_for_each_other() -> None:
    """Locks of threads are called by their lines."""

    def program() -> None:
        first, second = threading.Lock(), threading.Lock()
        both = threading.Barrier(2, timeout=30)

        def take(one: threading.Lock, other: threading.Lock) -> None:
            with one:
                both.wait()
                assert not other.acquire(timeout=0.1)
                both.wait()

        threads = [threading.Thread(target=take, args=locks) for locks in ((first, second), (second, first))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    (found,) = found_in(program)
    line = program.__code__.co_firstlineno + 1
    assert [name.rpartition("/")[2] for name in found.locks] == [f"test_deadlocks.py:{line}"] * 2
    assert 0.01 < found.seconds < 30


# ---- what is none ----


async def in_the_same_order() -> None:
    """Both take the first lock first."""
    first, second = libperf.Lock("first"), libperf.Lock("second")

    async def take() -> None:
        async with first:
            await asyncio.sleep(1)
            async with second:
                await asyncio.sleep(1)

    await asyncio.gather(take(), take())


async def a_signal() -> None:
    """A lock that its own holder waits for, until somebody else gives it back."""
    signal = libperf.Lock("signal")
    await signal.acquire()
    asyncio.get_running_loop().call_later(1, signal.release)
    await signal.acquire()


async def with_a_place_left() -> None:
    """Who waits for a semaphore of two that it has one of itself is helped by the other one's holder."""
    places = libperf.Semaphore(2, name="places")
    lock = libperf.Lock("lock")

    async def holder() -> None:
        async with places:
            await asyncio.sleep(2)

    async def one() -> None:
        async with places, lock:
            await asyncio.sleep(1)
            async with places:
                pass

    async def other() -> None:
        async with lock:
            pass

    await asyncio.gather(holder(), one(), other())


async def given_up_by_another() -> None:
    """A wait that is cancelled is no circle when its lock's holder waits for no lock."""
    lock = libperf.Lock("lock")

    async def hold() -> None:
        async with lock:
            await asyncio.sleep(5)

    async def want() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1), lock:
                pass

    await asyncio.gather(hold(), want(), want())


@pytest.mark.parametrize("program", [saturated, in_the_same_order, a_signal, with_a_place_left, given_up_by_another])
def test_what_is_no_deadlock(program: Any) -> None:
    """Waiting for a lock is none, and so is a circle that somebody outside of it resolves."""
    analysis = analysed(program)
    assert analysis.deadlocks == []
    assert analysis.reliable


def test_a_lock_that_is_only_tried_is_no_deadlock() -> None:
    """Whoever does not wait gives back what it has."""

    def program() -> None:
        lock = threading.Lock()
        with lock:
            assert not lock.acquire(blocking=False)

    assert found_in(program) == []


def test_other_times_of_profiling_are_not_looked_at() -> None:
    """What an earlier Profiler saw is not this one's."""
    earlier = analysed(in_a_circle("a", "b"))
    later = analysed(in_the_same_order)
    assert (len(earlier.deadlocks), later.deadlocks) == (1, [])
