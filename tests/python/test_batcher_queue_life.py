"""Queue: when it is full, out of its own batches, and at its end. Time stands still; batches are made by hand."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from libperf._batcher import BatchFuture
from libperf._core import lib
from libperf.batcher.errors import BatcherClosed, BatchError, DeadlineExceeded, ItemShed, QueueFull
from support_batch_queue import LIMIT, Bench, inside, run, turns

NAN = float("nan")

# ---- full ----


def test_a_full_queue_refuses_where_that_is_asked_for() -> None:
    bench = Bench(max_queued=2, on_full=lib.PERF_BATCH_FULL_REJECT)
    futures = [bench.submit(i) for i in range(2)]
    with pytest.raises(QueueFull) as raised:
        bench.submit(3)
    assert type(raised.value) is QueueFull and raised.value.retry_after is None
    assert bench.queue.stats()["rejected"] == 1
    bench.pump()
    assert [future.result() for future in futures] == [0, 2]
    bench.settled()


def test_refused_ones_are_told_when_to_come_again() -> None:
    bench = Bench(still=True, max_queued=2, max_items=2, on_full=lib.PERF_BATCH_FULL_REJECT)
    for _ in range(20):  # it learns what a batch takes
        bench.submit(1)
        batch = bench.take()
        bench.go(0.1)
        bench.queue.finish(batch, [1])
    bench.submit(1)
    bench.submit(2)
    with pytest.raises(QueueFull) as raised:
        bench.submit(3)
    assert 0 < (raised.value.retry_after or 0) <= 0.2


def test_who_is_shed_knows_it() -> None:
    bench = Bench(max_queued=2, on_full=lib.PERF_BATCH_FULL_SHED_OLDEST)
    futures = [bench.submit(i) for i in range(3)]
    assert isinstance(futures[0].exception(0), ItemShed)  # at once, by the submit() that took its place
    assert bench.take().futures == futures[1:]
    bench.settled()


def test_in_a_loop_an_item_waits_outside_and_submit_does_not() -> None:
    async def main() -> None:
        bench = Bench(max_queued=2, max_items=2)
        futures = [bench.submit(i) for i in range(5)]
        assert bench.queue.stats()["blocked"] == 3
        assert bench.take().futures == futures[:2]
        await turns()
        assert bench.queue.stats()["blocked"] == 1
        assert futures[4].cancel()
        bench.settled()

    run(main)


class Submitters:
    """Threads, begun one after the other, that each submit one item into a full queue."""

    def __init__(self, bench: Bench, count: int, **times: Any) -> None:
        self.futures: dict[int, BatchFuture[Any]] = {}
        self.errors: list[BaseException] = []
        self.threads = []
        for i in range(count):
            before = bench.queue.stats()["blocked"]
            thread = threading.Thread(target=self._submit, args=(bench, i, times), daemon=True)
            thread.start()
            self.threads.append(thread)
            while bench.queue.stats()["blocked"] == before and thread.is_alive():
                threading.Event().wait(0.0002)  # until it is outside

    def _submit(self, bench: Bench, i: int, times: dict[str, Any]) -> None:
        try:
            self.futures[i] = bench.submit(i, **times)
        except BaseException as error:
            self.errors.append(error)

    def join(self, *which: int) -> None:
        for i in which or range(len(self.threads)):
            self.threads[i].join(LIMIT)
            assert not self.threads[i].is_alive()


def test_a_thread_waits_itself_until_there_is_room_first_come_first_in() -> None:
    bench = Bench(max_queued=2, max_items=2)
    bench.submit("a")
    bench.submit("b")
    outside = Submitters(bench, 3)
    assert [thread.is_alive() for thread in outside.threads] == [True] * 3
    first = bench.take()
    outside.join(0, 1)
    assert outside.threads[2].is_alive()
    assert set(outside.futures) == {0, 1}
    bench.queue.finish(first, ["x", "y"])
    assert bench.take().data == [0, 1]
    outside.join()
    assert not outside.errors
    bench.settled()


def test_who_waits_outside_waits_no_longer_than_its_times() -> None:
    bench = Bench(max_queued=1)
    bench.submit("a")
    outside = Submitters(bench, 1, timeout=0.02)
    outside.join()
    assert isinstance(outside.futures[0].exception(LIMIT), DeadlineExceeded)
    bench.settled()


def test_times_of_another_clock_are_for_whoever_turns_it() -> None:
    bench = Bench(still=True, max_queued=1)
    bench.submit("a")
    outside = Submitters(bench, 1, queue_timeout=5)
    bench.go(6)
    assert outside.threads[0].is_alive()
    assert bench.queue.expire() == 1
    outside.join()
    assert isinstance(outside.futures[0].exception(LIMIT), DeadlineExceeded)


def test_closing_lets_go_of_who_waits_outside() -> None:
    bench = Bench(max_queued=1)
    inner = bench.submit("a")
    outside = Submitters(bench, 2)
    bench.queue.close()
    assert bench.queue.discard() == 3
    outside.join()
    for future in (inner, *outside.futures.values()):
        assert isinstance(future.exception(0), BatcherClosed)
    with pytest.raises(BatcherClosed):
        bench.submit(1)
    bench.settled()


# ---- nested ----


def test_an_item_out_of_a_running_batch_is_nested() -> None:
    bench = Bench(max_queued=1)
    bench.submit("outer")
    outer = bench.take()
    token = inside.set(outer)
    futures = [bench.submit(f"inner {i}") for i in range(3)]  # full, and no slot: it neither waits nor is refused
    inside.reset(token)
    nested = bench.take()
    assert nested.outer is outer and nested.reason == lib.PERF_BATCH_REASON_NESTED and outer.outer is None
    bench.queue.finish(nested, nested.data)
    bench.pump()
    assert [future.result(0)[:5] for future in futures] == ["inner"] * 3
    bench.queue.finish(outer, ["done"])
    bench.settled()


def test_result_in_the_function_processes_nested_items_there() -> None:
    bench = Bench()

    def function(data: list[Any]) -> list[Any]:
        return [item if item < 0 else bench.submit(-item - 1).result(LIMIT) for item in data]

    bench.function = function
    future = bench.submit(6)
    bench.pump()
    assert future.result(0) == -7 and bench.inlined == 1


def test_only_an_open_batch_of_this_queue_nests() -> None:
    bench, other = Bench(), Bench()
    other.submit(1)
    for stranger in (other.take(), "no batch", None):
        token = inside.set(stranger)  # type: ignore[arg-type]
        bench.submit(1)
        batch = bench.take()
        assert batch.reason != lib.PERF_BATCH_REASON_NESTED
        assert batch.outer is (stranger if stranger != "no batch" else None)
        bench.queue.finish(batch, [1])
        inside.reset(token)
    context = copy_context()
    context.run(inside.set, batch)  # done by now
    future = context.run(bench.submit, 2)
    assert bench.take().futures == [future] and bench.inlined == 0


# ---- the end ----


def test_closed_it_still_processes_what_it_has() -> None:
    bench = Bench(still=True, min_items=5)
    future = bench.submit(1)
    assert bench.queue.take() is None
    bench.queue.close()
    bench.queue.close()
    assert bench.pump() == 1 and future.result() == 2
    with pytest.raises(BatcherClosed):
        bench.submit(1)


def test_discard_finishes_all_that_is_in_no_batch() -> None:
    bench = Bench(max_items=2)
    futures = [bench.submit(i) for i in range(5)]
    batch = bench.take()
    assert bench.queue.discard() == 3 and bench.queue.discard() == 0
    assert [isinstance(future.exception(0), BatcherClosed) for future in futures[2:]] == [True] * 3
    bench.queue.finish(batch, [1, 2])
    assert [future.result() for future in futures[:2]] == [1, 2]
    bench.settled()


@pytest.mark.parametrize("isolation", [0, 1])
def test_abandoned_batches_free_their_slots_and_speak_to_nobody(isolation: int) -> None:
    bench = Bench(concurrency=2, max_items=2, isolation=isolation)
    futures = [bench.submit(i) for i in range(6)]
    first, second = bench.take(), bench.take()
    futures[0].cancel()
    assert set(bench.queue.running()) == {first, second}
    original = BatcherClosed("closed at last")
    assert bench.queue.abandon(original) == 3
    assert bench.queue.running() == [] and first.done and second.done
    errors = [future.exception(0) for future in futures[1:4]]
    assert all(type(error) is BatcherClosed and str(error) == "closed at last" for error in errors)
    assert len({id(error) for error in (*errors, original)}) == 4
    for _ in range(2):
        bench.queue.finish(first, [1, 2])  # whoever processes it: nobody listens
        bench.queue.fail(second, ValueError())
        bench.queue.throttled(second, ValueError(), 1.0)
    third = bench.take()
    assert third.data == [4, 5]
    assert bench.queue.abandon(ValueError("other")) == 2
    error = futures[4].exception(0)
    assert isinstance(error, BatchError) and isinstance(error.__cause__, ValueError)
    bench.settled()
    with pytest.raises(TypeError, match="no exception"):
        bench.queue.abandon("text")  # type: ignore[arg-type]


def test_in_the_child_of_a_fork_everything_is_over_and_usable() -> None:
    bench = Bench(max_items=2)
    seen: list[Any] = []
    futures = [bench.submit(i) for i in range(4)]
    for future in futures:
        future.add_done_callback(seen.append)
    batch = bench.take()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            bench.queue.forget()
            assert [type(future.exception(0)) for future in futures] == [BatcherClosed] * 4 and not seen
            bench.queue.finish(batch, [1, 2])
            assert not futures[0].cancel() and bench.queue.running() == []
            again = bench.submit(5)
            assert bench.pump() == 1 and again.result(0) == 10
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    bench.queue.finish(batch, [1, 2])
    bench.pump()
    assert seen == futures


def test_a_fork_within_a_loop_has_no_running_loop() -> None:
    async def main() -> int:
        bench = Bench()
        future = bench.submit(1)
        assert future.get_loop() is asyncio.get_running_loop()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                future.get_loop()
            except RuntimeError:
                code = 0
            finally:
                os._exit(code)
        return os.waitpid(child, 0)[1]  # noqa: ASYNC222

    assert asyncio.run(main()) == 0


def test_a_queue_outlives_its_owner_as_long_as_somebody_waits() -> None:
    bench = Bench()
    future = bench.submit(1)
    queue = bench.queue
    del bench
    gc.collect()
    batch = queue.take()
    del queue
    gc.collect()
    assert batch is not None
    batch.queue.finish(batch, ["a"])
    assert future.result() == "a"


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "raise SystemExit", "gc.collect()"])
def test_a_process_ends_while_items_wait_run_and_are_awaited(end: str) -> None:
    """Threads wait in result() and outside of a full queue, a batch is open, a loop was left in the middle."""
    program = f"""
import asyncio, gc, sys, threading
sys.path.insert(0, sys.argv[1])
from support_batch_queue import Bench, inside
bench = Bench(max_queued=6, max_items=2)
async def leave():
    task = asyncio.create_task(wait(bench.submit("in a task")))
    await asyncio.sleep(0)
    tasks.append(task)
async def wait(future):
    return await future
tasks = []
loop = asyncio.new_event_loop()
loop.run_until_complete(leave())
futures = [bench.submit(i) for i in range(4)]
batch = bench.take()
inside.set(batch)
ready = threading.Barrier(5)
def block(work):
    ready.wait()
    work()
works = [futures[0].result, futures[3].result, lambda: futures[2].result(1e-4), lambda: [bench.submit(9) for _ in range(9)]]
for work in works:
    threading.Thread(target=block, args=(work,), daemon=True).start()
ready.wait()
bench.cycle = bench, futures, batch
print("over", flush=True)
{end}
"""
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", program, here], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
