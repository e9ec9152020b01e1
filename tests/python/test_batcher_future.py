"""BatchFuture: a future for tasks of any event loop and for threads. The batches are taken and finished by hand."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
import sys
import threading
import traceback
from collections.abc import Generator
from typing import Any

import pytest

from libperf._batcher import Batch, BatchFuture, Queue
from libperf.batcher.errors import BatchError
from support_batch_queue import LIMIT, Bench, awaited, pumped, run, turns

# ---- in a loop ----


def test_a_task_awaits_its_result() -> None:
    async def main() -> None:
        bench = pumped()
        assert await bench.submit(21) == 42
        assert await bench.submit("ab") == "abab"
        done = bench.submit(1)
        assert await done == 2
        assert await done == 2  # again, at once

    run(main)


def test_none_and_false_and_tuples_are_results_like_any_other() -> None:
    """Those are what a protocol of StopIteration trips over."""

    async def main() -> None:
        bench = pumped()
        bench.function = lambda data: data
        for value in (None, False, (), (1, 2), StopIteration, [None]):
            assert await bench.submit(value) is value

    run(main)


def test_gather_wait_wait_for_shield_and_timeout_take_it_as_it_is() -> None:
    async def main() -> None:
        bench = pumped()
        assert await asyncio.gather(*(bench.submit(i) for i in range(5))) == [0, 2, 4, 6, 8]
        assert await asyncio.wait_for(bench.submit(1), LIMIT) == 2
        assert await asyncio.shield(bench.submit(2)) == 4
        async with asyncio.timeout(LIMIT):
            assert await bench.submit(3) == 6
        done, pending = await asyncio.wait([bench.submit(4), bench.submit(5)])  # type: ignore[type-var]
        assert {future.result() for future in done} == {8, 10} and not pending
        assert [await each for each in asyncio.as_completed([bench.submit(6)])] == [12]
        assert asyncio.isfuture(bench.submit(7)) and not asyncio.iscoroutine(bench.submit(8))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(awaited(bench.submit(9)))
        assert task.result() == 18

    run(main)


def test_the_python_task_understands_it_too() -> None:
    """asyncio's C code takes short cuts; its twin in Python, and other loops' tasks, do not."""

    async def main() -> None:
        bench = pumped()
        loop = asyncio.get_running_loop()
        task = asyncio.tasks._PyTask(awaited(bench.submit(4)), loop=loop)  # type: ignore[attr-defined]
        assert await task == 8
        late = Bench()
        task = asyncio.tasks._PyTask(awaited(late.submit(4)), loop=loop)  # type: ignore[attr-defined]
        await turns()
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert late.queue.stats()["cancelled"] == 1

    run(main)


def test_it_is_an_iterator_of_one_step() -> None:
    future = Bench().submit(1)
    steps = iter(future)
    assert not future._asyncio_future_blocking
    assert steps.send(None) is future
    assert future._asyncio_future_blocking
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        next(steps)
    with pytest.raises(KeyError):
        steps.throw(KeyError("thrown"))
    future.__await__().close()

    def old_style() -> Generator[Any, None, Any]:
        return (yield from future)

    future._asyncio_future_blocking = False
    generator = old_style()
    assert next(generator) is future
    with pytest.raises(LookupError):
        generator.throw(LookupError())
    with pytest.raises(AttributeError):
        del future._asyncio_future_blocking


def test_a_result_stops_the_iteration() -> None:
    bench = Bench()
    future = bench.submit((1, 2))
    bench.function = list
    bench.pump()
    with pytest.raises(StopIteration) as stopped:
        future.__await__().send(None)
    assert stopped.value.value == (1, 2)
    with pytest.raises(StopIteration) as stopped:
        next(iter(future))
    assert stopped.value.value == (1, 2)


# ---- cancelling ----


def test_cancelling_a_task_takes_its_item_and_no_other_out_of_the_queue() -> None:
    async def main() -> None:
        bench = Bench()
        tasks = [asyncio.create_task(awaited(bench.submit(i))) for i in range(5)]
        await turns()
        assert tasks[2].cancel("not needed")
        with pytest.raises(asyncio.CancelledError):
            await tasks[2]
        batch = bench.take()
        assert batch.data == [0, 1, 3, 4]
        bench.queue.finish(batch, [10, 11, 13, 14])
        tasks.pop(2)
        assert await asyncio.gather(*tasks) == [10, 11, 13, 14]
        bench.settled()

    run(main)


def test_cancelling_in_a_running_batch_discards_that_result_alone() -> None:
    async def main() -> None:
        bench = Bench()
        futures = [bench.submit(i) for i in range(3)]
        batch = bench.take()
        assert futures[1].running() and futures[1].cancel()
        assert not futures[1].running() and futures[1].cancelled() and not futures[1].cancel()
        bench.queue.finish(batch, ["a", "b", "c"])
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert results[::2] == ["a", "c"] and isinstance(results[1], asyncio.CancelledError)
        bench.settled()

    run(main)


def test_a_cancelled_future_says_so_with_its_message() -> None:
    async def main() -> None:
        bench = Bench()
        plain, said = bench.submit(1), bench.submit(2)
        assert plain.cancel() and said.cancel(msg="by hand")
        for future, args in ((plain, ()), (said, ("by hand",))):
            for ask in (future.result, future.exception):
                with pytest.raises(asyncio.CancelledError) as raised:
                    ask()
                assert raised.value.args == args
            with pytest.raises(asyncio.CancelledError):
                await future
        both: Any = await asyncio.gather(plain, said, return_exceptions=True)
        assert isinstance(both[0], asyncio.CancelledError) and both[1].args == ("by hand",)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.gather(said)
        with pytest.raises(TypeError, match="msg"):
            plain.cancel(1, 2)  # type: ignore[call-arg]

    run(main)


def test_wait_for_and_timeout_cancel_the_item() -> None:
    async def main() -> None:
        bench = Bench()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bench.submit(1), 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await bench.submit(2)
        shielded = bench.submit(3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(shielded), 0.001)
        assert bench.queue.stats()["cancelled"] == 2
        assert bench.take().futures == [shielded]

    run(main)


def test_callbacks_of_a_cancelled_one_come_by_call_soon() -> None:
    async def main() -> None:
        bench = Bench()
        seen: list[Any] = []
        future = bench.submit(1)
        future.add_done_callback(seen.append)
        future.cancel()
        assert seen == []
        await turns(1)
        assert seen == [future]

    run(main)


# ---- callbacks ----


def test_callbacks_are_called_in_order_with_their_context() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def main() -> None:
        bench = Bench()
        future = bench.submit(1)
        seen: list[tuple[str, int]] = []
        variable.set(1)
        other = contextvars.copy_context()
        other.run(variable.set, 7)
        future.add_done_callback(lambda f: seen.append(("first", variable.get())))
        variable.set(2)
        future.add_done_callback(lambda f: seen.append(("second", variable.get())))
        future.add_done_callback(lambda f: seen.append(("third", variable.get())), context=other)
        variable.set(3)
        bench.pump()
        assert seen == []  # not within finish(): by the loop
        await turns(1)
        assert seen == [("first", 1), ("second", 2), ("third", 7)]
        future.add_done_callback(lambda f: seen.append(("late", f.result())))
        assert len(seen) == 3
        await turns(1)
        assert seen[3:] == [("late", 2)]

    run(main)


def test_without_a_loop_the_finishing_thread_calls() -> None:
    bench = Bench()
    future = bench.submit(1)
    seen: list[Any] = []
    future.add_done_callback(lambda f: seen.append(threading.get_ident()))
    thread = threading.Thread(target=bench.pump)
    thread.start()
    thread.join(LIMIT)
    assert seen == [thread.ident]
    future.add_done_callback(lambda f: seen.append(f.result()))
    assert seen[1:] == [2]  # it is done: at once, here


def test_a_callback_that_raises_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    raised: list[Any] = []
    old, sys.unraisablehook = sys.unraisablehook, raised.append
    try:
        bench = Bench()
        futures = [bench.submit(i) for i in range(2)]
        seen: list[Any] = []
        futures[0].add_done_callback(lambda f: 1 / 0)
        futures[0].add_done_callback(seen.append)
        futures[1].add_done_callback(seen.append)
        bench.pump()
    finally:
        sys.unraisablehook = old
    assert [report.exc_type for report in raised] == [ZeroDivisionError]
    assert seen == futures


def test_callbacks_can_be_taken_back_all_that_are_equal() -> None:
    class Equal:
        def __init__(self, name: str, seen: list[str]) -> None:
            self.name, self.seen = name, seen

        def __call__(self, future: object) -> None:
            self.seen.append(self.name)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal) and other.name == self.name

        __hash__ = None  # type: ignore[assignment]

    bench = Bench()
    seen: list[str] = []
    future = bench.submit(1)
    for name in "abacab":
        future.add_done_callback(Equal(name, seen))
    assert future.remove_done_callback(Equal("a", seen)) == 3
    assert future.remove_done_callback(Equal("a", seen)) == 0
    future.add_done_callback(Equal("d", seen))
    bench.pump()
    assert "".join(seen) == "bcbd"
    assert future.remove_done_callback(Equal("b", seen)) == 0


def test_a_callbacks_equality_may_do_anything() -> None:
    """It adds and removes others while the list is searched, and raises."""
    bench = Bench()
    future = bench.submit(1)
    seen: list[Any] = []

    class Odd:
        def __call__(self, future: object) -> None:
            seen.append("odd")

        def __eq__(self, other: object) -> bool:
            if other == "raise":
                raise RuntimeError
            if not added:
                added.append(True)
                future.add_done_callback(seen.append)
                future.remove_done_callback(print)
            return False

    added: list[bool] = []
    for _ in range(3):
        future.add_done_callback(Odd())
    assert future.remove_done_callback(lambda f: None) == 0
    with pytest.raises(RuntimeError):
        future.remove_done_callback("raise")  # type: ignore[arg-type]
    bench.pump()
    assert seen == ["odd", "odd", "odd", future]


def test_what_is_no_context_is_refused() -> None:
    future = Bench().submit(1)
    with pytest.raises(TypeError, match="must be a Context"):
        future.add_done_callback(print, context={})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        future.add_done_callback()  # type: ignore[call-arg]


# ---- exceptions ----


def failing(bench: Bench, error: BaseException) -> None:
    def fail(data: list[Any]) -> Any:
        raise error

    bench.function = fail
    bench.pump()


def test_each_item_has_an_exception_of_its_own() -> None:
    bench = Bench()
    futures = [bench.submit(i) for i in range(3)]
    original = ValueError("broken")
    failing(bench, original)
    errors = [future.exception() for future in futures]
    for index, error in enumerate(errors):
        assert isinstance(error, BatchError) and error.__cause__ is original
        assert (error.index, error.size) == (index, 3)
        assert "ValueError: broken" in str(error)
        assert futures[index].exception() is error
    assert len({id(error) for error in errors}) == 3


def test_raising_it_again_and_again_does_not_make_its_traceback_longer() -> None:
    async def main() -> None:
        bench = Bench()
        future = bench.submit(1)
        failing(bench, ValueError())
        lengths: set[int] = set()
        for _ in range(30):
            try:
                await future
            except BatchError as error:
                lengths.add(len(traceback.extract_tb(error.__traceback__)))
            try:
                future.result()
            except BatchError as error:
                lengths.add(len(traceback.extract_tb(error.__traceback__)))
        assert lengths == {1}
        failure = future.exception()
        assert failure is not None and failure.__traceback__ is None

    run(main)


def test_the_cause_keeps_the_functions_traceback() -> None:
    bench = Bench()
    future = bench.submit(1)
    original = ValueError()
    failing(bench, original)
    with pytest.raises(BatchError) as raised:
        future.result()
    assert raised.value.__cause__ is original
    names = [frame.name for frame in traceback.extract_tb(original.__traceback__)]
    assert names[-1] == "fail"


# ---- what it is ----


def test_it_tells_about_its_batch() -> None:
    bench = Bench(still=True)
    futures = [bench.submit(i) for i in range(2)]
    first = futures[0]
    assert (first.data, first.wait_time, first.batch_id, first.batch_size) == (0, None, None, None)
    assert not first.running() and not first.done() and repr(first) == "<BatchFuture pending>"
    bench.go(0.25)
    batch = bench.take()
    assert first.running() and not first.done() and repr(first) == f"<BatchFuture running in batch {batch.id}>"
    assert first.wait_time == pytest.approx(0.25)
    assert (first.batch_id, first.batch_size) == (batch.id, 2)
    bench.queue.finish(batch, ["a", KeyError("b")])
    assert not first.running() and first.done() and repr(first) == "<BatchFuture finished>"
    assert "failed: BatchError" in repr(futures[1])
    assert (first.batch_id, first.batch_size) == (batch.id, 2)
    gone = bench.submit(3)
    gone.cancel()
    assert repr(gone) == "<BatchFuture cancelled>"


def test_it_is_made_by_queues_alone() -> None:
    future = Bench().submit(1)
    for kind in (BatchFuture, Batch):
        with pytest.raises(TypeError):
            kind()
    for base in (BatchFuture, Batch, Queue):
        with pytest.raises(TypeError):
            type("Sub", (base,), {})
    for name in ("data", "wait_time", "batch_id", "batch_size", "result"):
        with pytest.raises(AttributeError):
            setattr(future, name, 1)
    with pytest.raises(AttributeError):
        future.other = 1  # type: ignore[attr-defined]
    assert str(BatchFuture[int]) == "libperf._batcher.BatchFuture[int]"


def test_it_is_neither_pickled_nor_copied() -> None:
    bench = Bench()
    future = bench.submit(1)
    for thing in (future, bench.take(), bench.queue):
        for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="pickle"):
                refuse(thing)


def test_the_profilers_id_lies_in_it() -> None:
    """Or the profiler would keep each one alive, to know it again."""
    future = Bench().submit(1)
    assert future._libperf_id == 0  # type: ignore[attr-defined]
    object.__setattr__(future, "_libperf_id", 2**63)
    assert object.__getattribute__(future, "_libperf_id") == 2**63
