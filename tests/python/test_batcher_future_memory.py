"""What BatchFuture, Batch and Queue leave behind: nothing. The batches are taken and finished by hand."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from libperf._batcher import BatchFuture
from support_batch_queue import Bench, awaited, double, turns

# ---- memory ----


def test_a_future_that_is_done_is_gone_without_the_collector() -> None:
    bench = Bench()
    gc.disable()
    try:
        future = bench.submit("text")
        gone = weakref.ref(future)
        bench.pump()
        assert future.result() == "texttext"
        del future
        assert gone() is None
        future = bench.submit("cancelled")
        gone = weakref.ref(future)
        future.cancel()
        del future
        assert gone() is None
    finally:
        gc.enable()


def test_the_queue_keeps_what_nobody_else_does() -> None:
    bench = Bench()
    seen: list[Any] = []
    bench.submit(1).add_done_callback(lambda future: seen.append(future.result()))
    gc.collect()
    bench.pump()
    assert seen == [2]


def test_cycles_are_collected_queued_running_or_done() -> None:
    class Thing:
        pass

    def make(state: str) -> list[weakref.ref[Any]]:
        bench = Bench()
        thing = Thing()
        future = bench.submit(thing)
        thing.future, thing.bench = future, bench  # type: ignore[attr-defined]
        future.add_done_callback(lambda _: thing)
        future.add_done_callback(lambda _: thing)
        if state != "queued":
            thing.batch = bench.take()  # type: ignore[attr-defined]
        if state == "done":
            bench.queue.finish(thing.batch, [(thing,)])  # type: ignore[attr-defined]
        if state == "failed":
            bench.queue.fail(thing.batch, ValueError(thing))  # type: ignore[attr-defined]
        return [weakref.ref(each) for each in (thing, future, bench.queue, bench)]

    for state in ("queued", "running", "done", "failed"):
        refs = make(state)
        gc.collect()
        gc.collect()  # what a finaliser has finished
        assert [ref() for ref in refs] == [None] * 4, state


def blocks(work: Callable[[], object]) -> list[int]:
    """How many blocks of memory each of some stretches of equal work leaves behind."""
    grown = []
    for _ in range(12):  # asyncio itself leaves ever less behind
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(50):
            work()
        gc.collect()
        grown.append(sys.getallocatedblocks() - before)
    return grown


def test_nothing_is_left_behind() -> None:
    """After results, failures, cancels, timeouts, merged items, lost batches, callbacks, tenants and waiting threads."""
    bench = Bench(same=lambda item: item, isolation=1, max_items=8)

    def fail(data: list[Any]) -> Any:
        if 3 in data:
            raise ValueError("3 is poison")
        return {i: item for i, item in enumerate(data) if item != 1}

    async def main() -> None:
        futures = [bench.submit(i % 5, tenant=i % 3) for i in range(20)]
        for future in futures[:3]:
            future.add_done_callback(str)
            future.add_done_callback(repr)
            future.remove_done_callback(str)
        futures[4].cancel("msg")
        tasks = [asyncio.create_task(awaited(future)) for future in futures]
        await turns()
        tasks[6].cancel()
        bench.function = fail
        bench.pump()
        await asyncio.gather(*tasks, return_exceptions=True)
        bench.submit("lost")
        bench.take()  # and let go of
        bench.submit("late", timeout=0)
        bench.queue.expire()

    def work() -> None:
        runner.run(main())
        bench.woken.clear()  # loops
        future = bench.submit(8)
        for bad in (lambda: future.result(0), lambda: future.result(-1), lambda: bench.submit(1, 7)):
            with pytest.raises((ValueError, TimeoutError)):
                bad()
        bench.pump()
        other = Bench()
        other.submit(1)
        other.submit(2)

    with asyncio.Runner() as runner:  # new loops leave a little behind themselves
        work()
        assert min(blocks(work)) < 50  # less than one for each run


def test_a_future_fits_into_pymallocs_largest_block() -> None:
    assert sys.getsizeof(Bench().submit(1)) <= 512


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a wake() and callbacks find no memory
def test_whatever_allocation_fails_no_item_is_lost() -> None:
    """Each allocation of submit(), take() and finish() in turn: an exception, or a result that says so; then all goes on."""
    testcapi = pytest.importorskip("_testcapi")

    def sweep(work: Callable[[], object], most: int = 300) -> int:
        """Until it needs so few that none fails; returns how many failed."""
        failed = 0
        for nth in range(1, most):
            testcapi.set_nomemory(nth, nth + 1)
            try:
                work()
            except (MemoryError, SystemError):  # Python 3.11 forgets what it was where a `raise` finds no memory
                failed += 1
            finally:
                testcapi.remove_mem_hooks()
        return failed

    def poison(data: list[Any]) -> Any:
        raise ValueError

    for isolation in (0, 1):
        bench = Bench(still=True, same=str, isolation=isolation, max_items=4, max_queued=10**6, weigher=len)
        kept: list[BatchFuture[Any]] = []

        def submit(bench: Bench = bench, kept: list[BatchFuture[Any]] = kept) -> None:
            kept.append(bench.submit("a text of its own " + str(len(kept) % 7), timeout=1e6, tenant=len(kept) % 3))

        def take(bench: Bench = bench) -> None:
            bench.go(100)  # it has given items back as if they had been refused: the rate of calls falls
            bench.queue.take()

        def late(bench: Bench = bench) -> None:
            bench.submit("late", timeout=0)
            bench.go(1)
            bench.queue.expire()

        def pump(bench: Bench = bench) -> None:
            bench.go(100)
            while (batch := bench.queue.take()) is not None:
                try:
                    results = bench.function(batch.data)
                except ValueError as error:
                    bench.queue.fail(batch, error)
                else:
                    bench.queue.finish(batch, results)
                finally:
                    del batch  # the error, and with it this frame, is the cause of what items failed before

        def call(kept: list[BatchFuture[Any]] = kept) -> None:
            kept[-1].add_done_callback(repr)

        assert sweep(submit) > 2
        assert sweep(take, 60) > 2
        assert sweep(late, 60) > 1
        for results in ([1], [1, 2, 3, 4], {0: 1}, None, [ValueError()] * 4):
            for _ in range(20):
                submit()
            bench.function = lambda data, results=results: results  # type: ignore[misc]
            sweep(pump, 60)
        for _ in range(40):
            submit()
        sweep(call, 10)
        bench.function = poison
        sweep(pump, 100)
        bench.function = double
        gc.collect()
        pump()
        assert bench.queue.running() == []
        assert all(future.done() for future in kept)
        bench.settled()
