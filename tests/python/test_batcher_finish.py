"""How batches end: whatever a function returns or raises, each item gets its own result or exception, exactly once."""

from __future__ import annotations

import array
import asyncio
import gc
import subprocess
import sys
import threading
from collections import OrderedDict, UserDict, UserList, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from libperf._batcher import Batch, BatchFuture
from libperf._core import lib
from libperf.batcher.errors import BatchError, DeadlineExceeded
from support_batch_queue import Bench, run, turns

# ---- what a function may return ----


def finished(results: Any, count: int = 3) -> list[Any]:
    """The outcomes of so many items, exceptions as values."""
    bench = Bench()
    futures = [bench.submit(i) for i in range(count)]
    bench.queue.finish(bench.take(), results)
    assert all(future.done() for future in futures)
    bench.settled()
    return [future.exception() or future.result() for future in futures]


class Sized:
    """As arrays are: a length, and items."""

    def __init__(self, count: int, broken: BaseException | None = None) -> None:
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> str:
        if index >= self.count:
            raise IndexError
        if self.broken and index == 1:
            raise self.broken
        return "abc"[index]


class Table(Sized):
    """As data frames are: as long as they have rows, and what comes out of them are columns."""

    columns = ("a", "b", "c")


class Odd(Mapping[Any, Any]):
    def __init__(self, **values: Any) -> None:
        self.values_ = {int(key[1:]): value for key, value in values.items()}

    def __getitem__(self, key: Any) -> Any:
        return self.values_[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


class Listing(list[Any]):
    pass


@pytest.mark.parametrize(
    "results",
    [
        ["a", "b", "c"],
        ("a", "b", "c"),
        Listing("abc"),
        UserList("abc"),
        deque("abc"),
        array.array("u", "abc") if sys.version_info < (3, 13) else ["a", "b", "c"],
        Sized(3),
        {0: "a", 1: "b", 2: "c"},
        {2: "c", True: "b", 0: "a"},
        OrderedDict({2: "c", 1: "b", 0: "a"}),
        UserDict({0: "a", 1: "b", 2: "c"}),
        MappingProxyType({0: "a", 1: "b", 2: "c"}),
        Odd(_0="a", _1="b", _2="c"),
    ],
    ids=lambda results: type(results).__name__,
)
def test_sequences_and_mappings_are_results(results: Any) -> None:
    assert finished(results) == ["a", "b", "c"]


def test_arrays_give_their_rows() -> None:
    numpy = pytest.importorskip("numpy")
    rows = finished(numpy.arange(6).reshape(3, 2))
    assert [row.tolist() for row in rows] == [[0, 1], [2, 3], [4, 5]]
    assert finished({numpy.int64(i): i for i in range(3)}) == [0, 1, 2]
    for wrong in (numpy.arange(6).reshape(2, 3), numpy.float64(3), numpy.array(5)):
        assert {type(outcome) for outcome in finished(wrong)} == {BatchError}
    assert finished(range(3)) == [0, 1, 2]
    assert finished(memoryview(b"abc")) == [97, 98, 99]


@pytest.mark.parametrize(
    "results",
    [None, "abc", b"abc", bytearray(b"abc"), {1, 2, 3}, frozenset({1, 2, 3}), 3, object(), (i for i in range(3)), iter([1, 2, 3]),
     {}.keys(), map(str, range(3)), list, dict, list[int], ..., Table(3)],
    ids=repr,
)  # fmt: skip
def test_anything_else_fails_all_and_says_what_came(results: Any) -> None:
    outcomes = finished(results)
    for index, error in enumerate(outcomes):
        assert isinstance(error, BatchError) and (error.index, error.size) == (index, 3)
        assert "3 items" in str(error) and error.__cause__ is None
        assert ("None" if results is None else type(results).__name__.split(".")[-1]) in str(error)
    assert len({id(error) for error in outcomes}) == 3


@pytest.mark.parametrize(
    "results", [[], [1, 2], [1, 2, 3, 4], (1,), Sized(2), Sized(4), range(10**12), deque([1, 2])], ids=repr
)
def test_a_wrong_count_fails_all_and_names_both(results: Any) -> None:
    for error in finished(results):
        assert isinstance(error, BatchError)
        assert str(error) == f"the function returned {len(results)} results for 3 items"


def test_a_mapping_without_an_index_fails_that_item() -> None:
    first, second, third = finished({0: "a", 2: "c"})
    assert (first, third) == ("a", "c")
    assert isinstance(second, BatchError) and "nothing for item 1 of 3" in str(second)


@pytest.mark.parametrize("unknown", [3, -1, "0", 1.5, None, 2**80])
def test_a_mapping_with_unknown_indices_fails_all_and_names_them(unknown: Any) -> None:
    for error in finished({0: "a", 1: "b", 2: "c", unknown: "?"}):
        assert isinstance(error, BatchError) and repr(unknown) in str(error)
    many = finished(dict.fromkeys(range(10)))
    assert "[3, 4, 5, 6, 7] and more" in str(many[0])


def test_an_exception_among_the_results_is_that_items_failure() -> None:
    original = ValueError("bad one")
    first, second, third = finished(["a", original, original])
    assert first == "a"
    for index, error in ((1, second), (2, third)):
        assert isinstance(error, BatchError) and error.__cause__ is original
        assert (error.index, error.size) == (index, 3) and "ValueError: bad one" in str(error)
    assert second is not third
    assert finished([ValueError, KeyError, 1]) == [ValueError, KeyError, 1]  # classes are values


@pytest.mark.parametrize("kind", [asyncio.CancelledError, StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_the_strangest_exceptions_are_failures_too(kind: type[BaseException]) -> None:
    """Whoever gave them to a future as they are would hang its tasks, or end the process."""
    first, second = finished([kind(), 2], 2)
    assert isinstance(first, BatchError) and isinstance(first.__cause__, kind) and second == 2
    bench = Bench()
    future = bench.submit(1)
    bench.queue.fail(bench.take(), kind())
    assert isinstance(future.exception(), BatchError) and not future.cancelled()


def test_results_that_cannot_be_read_fail_all_with_that_cause() -> None:
    broken = ZeroDivisionError("in __getitem__")
    for error in finished(Sized(3, broken)):
        assert isinstance(error, BatchError) and error.__cause__ is broken and "ZeroDivisionError" in str(error)

    class NoLength(Sized):
        def __len__(self) -> int:
            raise OSError("no length")

    class NoItems(Odd):
        def items(self) -> Any:
            return [("not a pair",)]

    assert isinstance(finished(NoLength(3))[0].__cause__, OSError)
    assert isinstance(finished(NoItems())[0].__cause__, TypeError)


def test_ctrl_c_while_results_are_read_leaves_nobody_waiting() -> None:
    bench = Bench()
    future = bench.submit(1)
    with pytest.raises(KeyboardInterrupt):
        bench.queue.finish(bench.take(), Broken())
    assert isinstance(future.exception(0), BatchError)
    bench.settled()


class Broken(Sized):
    def __init__(self) -> None:
        super().__init__(1)

    def __iter__(self) -> Any:
        raise KeyboardInterrupt


def test_an_exception_whose_text_fails_is_told_by_its_name() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "Mute" in str(finished([Mute(), 1, 2])[0])
    bench = Bench()
    future = bench.submit(1)
    bench.queue.fail(bench.take(), Mute())
    assert "Mute" in str(future.exception())


def test_the_function_may_change_the_list_that_it_was_given() -> None:
    bench = Bench()
    futures = [bench.submit(i) for i in range(3)]
    batch = bench.take()
    batch.data.clear()
    batch.futures.clear()
    bench.queue.finish(batch, [1, 2, 3])
    assert [future.result() for future in futures] == [1, 2, 3]
    assert batch.futures == futures


def test_python_without_asserts_checks_as_much() -> None:
    """`python -O`, which makes other libraries truncate."""
    program = """
import sys; sys.path.insert(0, sys.argv[1])
from support_batch_queue import Bench, BatchError
bench = Bench()
futures = [bench.submit(i) for i in range(3)]
bench.queue.finish(bench.take(), [1, 2])
if not __debug__ and all(type(future.exception(0)) is BatchError for future in futures):
    print("checked")
"""
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-O", "-c", program, here], capture_output=True, text=True, check=True)
    assert done.stdout == "checked\n"


# ---- once ----


def test_a_batch_ends_once() -> None:
    bench, other = Bench(), Bench()
    future = bench.submit(1)
    batch = bench.take()
    assert bench.queue.running() == [batch] and not batch.done and "done" not in repr(batch)
    with pytest.raises(ValueError, match="another queue"):
        other.queue.finish(batch, [1])
    with pytest.raises(TypeError, match="takes a Batch"):
        bench.queue.finish([1], [1])  # type: ignore[arg-type]
    bench.queue.finish(batch, [1])
    assert bench.queue.running() == [] and batch.done and "done" in repr(batch)
    for again in (
        lambda: bench.queue.finish(batch, [2]),
        lambda: bench.queue.fail(batch, ValueError()),
        lambda: bench.queue.throttled(batch, ValueError(), 1),
    ):
        with pytest.raises(RuntimeError, match="already"):
            again()
    assert future.result() == 1
    bench.settled()


def test_threads_that_finish_the_same_batch_do_it_once() -> None:
    for _ in range(50):
        bench = Bench()
        futures = [bench.submit(i) for i in range(10)]
        batch = bench.take()
        start = threading.Barrier(4)
        errors: list[Exception] = []

        def finish(
            me: int, bench: Bench = bench, batch: Batch = batch, start: Any = start, errors: Any = errors
        ) -> None:
            start.wait()
            try:
                bench.queue.finish(batch, Sized_(me))
            except RuntimeError as error:
                errors.append(error)

        threads = [threading.Thread(target=finish, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({future.result(0) for future in futures}) == 1  # all of one, none of the others
        assert bench.queue.stats()["finished"] == 10
        bench.settled()


class Sized_(Sized):
    """Python runs while it is read."""

    def __init__(self, value: int) -> None:
        super().__init__(10)
        self.value = value

    def __getitem__(self, index: int) -> Any:
        if index >= 10:
            raise IndexError
        return self.value


def test_a_batch_that_is_let_go_of_fails_its_items() -> None:
    bench = Bench(isolation=lib.PERF_BATCH_ISOLATE_BISECT)
    futures = [bench.submit(i) for i in range(3)]
    woken = len(bench.woken)
    bench.take()
    gc.collect()
    for future in futures:
        assert isinstance(future.exception(0), BatchError) and "let go" in str(future.exception(0))
    bench.settled()
    assert bench.queue.take() is None and bench.queue.running() == []
    batch = None
    waiting = [bench.submit(i) for i in range(12)]  # the slot is taken, and somebody has been told
    batch = bench.take()
    woken = len(bench.woken)
    assert batch.data == list(range(10))
    del batch
    assert len(bench.woken) == woken + 1  # there is a free slot, and nobody else who says so
    bench.pump()
    assert [future.result(0) for future in waiting[10:]] == [20, 22]


# ---- failures ----


def outcomes(futures: list[BatchFuture[Any]]) -> list[Any]:
    return [type(future.exception(0)) if future.exception(0) else future.result(0) for future in futures]


@pytest.mark.parametrize(("isolation", "calls"), [("FAIL_ALL", 1), ("BISECT", 7), ("SINGLES", 9)])
def test_one_poison_item_costs_what_the_isolation_says(isolation: str, calls: int) -> None:
    bench = Bench(isolation=getattr(lib, f"PERF_BATCH_ISOLATE_{isolation}"))
    sizes = []

    def function(data: list[Any]) -> list[Any]:
        sizes.append(len(data))
        if 5 in data:
            raise ValueError("poison")
        return data

    bench.function = function
    futures = [bench.submit(i) for i in range(8)]
    bench.pump()
    expected = [BatchError] * 8 if isolation == "FAIL_ALL" else [0, 1, 2, 3, 4, BatchError, 6, 7]
    assert outcomes(futures) == expected
    assert len(sizes) == calls, sizes
    poison = futures[5].exception()
    assert isinstance(poison, BatchError) and poison.size == futures[5].batch_size
    assert isinstance(poison.__cause__, ValueError)
    bench.settled()


@pytest.mark.parametrize("results", [[1], None, {7: 1}])
def test_what_cannot_be_used_is_not_tried_again(results: Any) -> None:
    """That is the function, not an item."""
    bench = Bench(isolation=lib.PERF_BATCH_ISOLATE_SINGLES)
    calls: list[Any] = []

    def function(data: list[Any]) -> Any:
        calls.append(data)
        return results

    bench.function = function
    futures = [bench.submit(i) for i in range(3)]
    bench.pump()
    assert outcomes(futures) == [BatchError] * 3 and len(calls) == 1
    stats = bench.queue.stats()
    if not isinstance(results, dict):
        assert (stats["failed"], stats["cancelled"], stats["batches_failed"]) == (3, 0, 1)
    bench.settled()


def test_an_isolated_item_can_be_cancelled_and_knows_that_it_waits() -> None:
    bench = Bench(isolation=lib.PERF_BATCH_ISOLATE_SINGLES)
    futures = [bench.submit(i) for i in range(3)]
    batch = bench.take()
    bench.queue.fail(batch, ValueError())
    assert not any(future.done() or future.running() for future in futures)
    assert futures[0].batch_id == batch.id
    assert futures[0].cancel()
    bench.pump()
    assert outcomes(futures[1:]) == [2, 4] and futures[1].batch_size == 1
    bench.settled()


def test_an_isolated_item_keeps_its_deadline() -> None:
    bench = Bench(still=True, isolation=lib.PERF_BATCH_ISOLATE_SINGLES)
    futures = [bench.submit(i, timeout=1) for i in range(2)]
    batch = bench.take()
    bench.go(0.5)
    bench.queue.fail(batch, ValueError())
    bench.go(0.6)
    assert bench.queue.expire() == 2
    assert outcomes(futures) == [DeadlineExceeded] * 2
    bench.settled()


def test_a_deadline_that_passes_in_a_batch_is_not_its_result() -> None:
    bench = Bench(still=True)
    late, free = bench.submit("late", timeout=1), bench.submit("free")
    batch = bench.take()
    bench.go(2)
    bench.queue.finish(batch, [1, 2])
    assert outcomes([late, free]) == [DeadlineExceeded, 2]
    bench.settled()


def test_fail_takes_an_exception() -> None:
    bench = Bench()
    bench.submit(1)
    batch = bench.take()
    with pytest.raises(TypeError, match="no exception"):
        bench.queue.fail(batch, ValueError)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no exception"):
        bench.queue.throttled(batch, "429", 1)  # type: ignore[arg-type]
    for bad in (-1, float("nan")):
        with pytest.raises(ValueError, match="retry_after is"):
            bench.queue.throttled(batch, ValueError(), bad)
    assert not batch.done
    bench.queue.fail(batch, ValueError())


# ---- refused by the service ----


def test_throttled_items_go_back_and_wait_as_long_as_was_asked() -> None:
    bench = Bench(still=True)
    futures = [bench.submit(i) for i in range(3)]
    batch = bench.take()
    bench.queue.throttled(batch, OSError("429"), 2.5)
    assert batch.done and not futures[0].done() and not futures[0].running()
    assert bench.queue.take() is None and bench.queue.next_wake() == pytest.approx(2.5)
    bench.go(2.5)
    assert bench.take().data == [0, 1, 2]
    bench.settled()


def test_who_was_refused_eight_times_fails() -> None:
    bench = Bench(still=True)
    future = bench.submit(1)
    error = OSError("429")
    for _ in range(8):
        assert not future.done()
        bench.queue.throttled(bench.take(), error, 0)
        bench.go(100)
    failure = future.exception(0)
    assert isinstance(failure, BatchError) and failure.__cause__ is error and "8 times" in str(failure)
    assert bench.queue.take() is None
    stats = bench.queue.stats()
    assert (stats["failed"], stats["cancelled"], stats["batches_throttled"]) == (1, 0, 8)
    bench.settled()


# ---- equal items ----


def test_equal_items_are_given_once_and_share_the_result() -> None:
    bench = Bench(same=lambda item: item, max_items=4)
    futures = [bench.submit(item) for item in "abacabadx"]
    batch = bench.take()
    assert batch.data == ["a", "b", "c", "d"]  # free places were filled
    assert len(batch.futures) == 8
    bench.queue.finish(batch, ["A", "B", "C", "D"])
    assert "".join(future.result() for future in futures[:8]) == "ABACABAD"
    assert all(future.batch_size == 8 for future in futures[:8])
    bench.pump()
    assert futures[8].result() == "xx"
    bench.settled()


def test_what_a_batch_takes_is_learned_of_what_it_was_given() -> None:
    """20 ms and 1 ms for each distinct item, however often each was asked for."""
    bench = Bench(same=lambda item: item, max_items=11, still=True)
    for n in range(1, 11):
        for item in range(n):
            for _ in range(3):
                bench.submit(item)
        batch = bench.take()
        assert len(batch.data) == n and len(batch.futures) == 3 * n
        bench.go(0.020 + 0.001 * n)
        bench.queue.finish(batch, batch.data)
        bench.go(1)
    stats = bench.queue.stats()
    assert (stats["base_ns"], stats["each_ns"]) == (pytest.approx(20e6, rel=1e-3), pytest.approx(1e6, rel=1e-3))
    bench.settled()


def test_all_equal_is_one() -> None:
    bench = Bench(same=lambda item: item % 2, max_items=3)
    futures = [bench.submit(i * 2) for i in range(100)]
    batch = bench.take()
    assert batch.data == [0] and len(batch.futures) == 100
    bench.queue.finish(batch, [ValueError("shared")])
    errors = [future.exception() for future in futures]
    assert len({id(error) for error in errors}) == 100
    assert {id(error.__cause__) for error in errors if error} == {id(errors[0].__cause__)}  # type: ignore[union-attr]


def test_free_places_are_filled_within_the_weight() -> None:
    bench = Bench(same=lambda item: item, weigher=len, max_weight=6, max_items=10)
    for item in ("aa", "aa", "aa", "bb", "cc", "dd"):
        bench.submit(item)
    batch = bench.take()
    assert batch.data == ["aa", "bb", "cc"] and batch.weight == 6
    bench.queue.finish(batch, batch.data)
    assert bench.take().data == ["dd"]
    bench.settled()


def test_what_cannot_be_hashed_is_like_no_other() -> None:
    class Strange:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not comparable")

    bench = Bench(same=lambda item: item)
    for item in ([1], [1], {2: 2}, 3, 3, Strange(), Strange()):
        bench.submit(item)
    data = bench.take().data
    assert data[:4] == [[1], [1], {2: 2}, 3] and len(data) == 6
    with pytest.raises(ZeroDivisionError):
        Bench(same=lambda item: 1 / 0).submit(1)


def test_a_merged_item_that_is_cancelled_leaves_the_other_its_result() -> None:
    bench = Bench(same=lambda item: item)
    first, second = bench.submit("a"), bench.submit("a")
    batch = bench.take()
    first.cancel()
    bench.queue.finish(batch, ["A"])
    assert second.result() == "A" and first.cancelled()
    bench.settled()


def test_equal_items_are_merged_again_after_a_failure() -> None:
    bench = Bench(same=lambda item: item, isolation=lib.PERF_BATCH_ISOLATE_BISECT)
    futures = [bench.submit(item) for item in "aabb"]
    bench.queue.fail(bench.take(), ValueError())
    bench.pump()
    assert outcomes(futures) == ["aa", "aa", "bb", "bb"]
    bench.settled()


# ---- in a loop, too ----


def test_results_reach_tasks_in_the_next_turn() -> None:
    async def main() -> None:
        bench = Bench()
        futures = [bench.submit(i) for i in range(3)]

        async def wait(future: BatchFuture[Any]) -> Any:
            return await future

        tasks = [asyncio.create_task(wait(future)) for future in futures]
        await turns()
        bench.queue.finish(bench.take(), [1, ValueError(), 3])
        assert not any(task.done() for task in tasks)
        await turns(2)
        assert [task.done() for task in tasks] == [True] * 3
        assert tasks[0].result() == 1 and isinstance(tasks[1].exception(), BatchError)

    run(main)
