"""Faults, one by one: what other batchers hang on, or answer wrongly. Each of these has a limit: a hang is a failure."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import threading
import time
import tracemalloc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import libperf
from support_batcher import LIMIT, AsyncGate, Gate, accounts, both_kinds, limit, outcomes, run_python

KINDS = ["def", "async def"]


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    with limit():
        yield


def processor_of(kind: str, function: Callable[[list[Any]], Any], **settings: Any) -> libperf.BatchProcessor[Any, Any]:
    return libperf.BatchProcessor(both_kinds(function)[kind], **settings)


# ---- who cancels ----


def test_cancelling_one_of_five_in_a_batch_touches_no_other() -> None:
    """While their batch runs: its result is discarded, the others get theirs."""

    async def main() -> None:
        gate = AsyncGate()
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate, min_batch_size=5)
        tasks = [asyncio.ensure_future(_await(processor.submit(i))) for i in range(5)]
        await gate.entered.wait()
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        gate.open.set()
        assert await asyncio.gather(*(task for task in tasks if task is not tasks[1])) == [0, 2, 3, 4]
        assert gate.batches == [[0, 1, 2, 3, 4]]
        await processor.aclose()
        accounts(processor)

    asyncio.run(main())


def test_a_queued_item_that_is_cancelled_is_never_processed() -> None:
    """And gives its place to others."""

    async def main() -> None:
        gate = AsyncGate()
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate, max_batch_size=2)
        first = processor.submit(0)
        await gate.entered.wait()
        tasks = [asyncio.ensure_future(_await(processor.submit(i))) for i in range(1, 4)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        gate.open.set()
        assert await asyncio.gather(first, *tasks[1:]) == [0, 2, 3]
        assert gate.batches == [[0], [2, 3]]

    asyncio.run(main())


def test_all_submitters_cancelled_while_the_batch_runs() -> None:
    """The function ends for nobody, and the next items are processed."""

    async def main() -> None:
        gate = AsyncGate()
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(processor.submit(1), 0.001)
        gate.open.set()
        assert await processor.submit(2) == 2
        await processor.aclose()
        accounts(processor)

    asyncio.run(main())


# ---- what the function raises ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "error", [asyncio.CancelledError, ValueError, GeneratorExit, TimeoutError, StopIteration, MemoryError]
)
def test_whatever_the_function_raises_everybody_hears_of_it(kind: str, error: type[BaseException]) -> None:
    """A BatchError of one's own for each, with the original as its cause; nobody is cancelled by it; and it goes on."""
    bad = True

    def fn(items: list[int]) -> list[int]:
        if bad:
            raise error("no")
        return items

    processor = processor_of(kind, fn, min_batch_size=4)
    found = outcomes([processor.submit(i) for i in range(4)])
    assert [type(each) for each in found] == [libperf.BatchError] * 4
    assert len({id(each) for each in found}) == 4
    # StopIteration cannot leave a coroutine: Python makes a RuntimeError of it
    assert all(isinstance(each.__cause__, (error, RuntimeError)) for each in found)
    assert [(each.index, each.size) for each in found] == [(i, 4) for i in range(4)]
    bad = False
    assert outcomes([processor.submit(i) for i in range(4)]) == [0, 1, 2, 3]
    assert processor.close()
    accounts(processor)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_resolves_everybody_and_ends_the_loop(error: type[BaseException]) -> None:
    """As it would without a batch: asyncio.run() raises it."""
    futures: list[Any] = []

    async def fn(items: list[int]) -> list[int]:
        raise error("stop")

    async def main() -> None:
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, min_batch_size=3)
        futures.extend(processor.submit(i) for i in range(3))
        await asyncio.Event().wait()

    with pytest.raises(error):
        asyncio.run(main())
    assert [type(each.exception()) for each in futures] == [libperf.BatchError] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_background_resolves_everybody_and_harms_no_other(error: type[BaseException]) -> None:
    """The loop there is nobody's to end: a batch beside it goes on."""
    beside = threading.Event()
    gates: list[AsyncGate] = []

    async def fn(items: list[int]) -> list[int]:
        if items == [0]:
            gates.append(AsyncGate())
            beside.set()
            return await gates[0](items)  # type: ignore[no-any-return]
        asyncio.get_running_loop().call_soon(gates[0].open.set)
        raise error("stop")

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, concurrency=2, max_batch_size=1)
    first = processor.submit(0)
    assert beside.wait(LIMIT)
    failure = outcomes([processor.submit(1)])[0]
    assert isinstance(failure, libperf.BatchError) and isinstance(failure.__cause__, error)
    assert first.result(LIMIT) == 0
    assert processor.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_worker_resolves_everybody_and_the_worker_goes_on(error: type[BaseException]) -> None:
    """A thread has nobody to raise it to."""
    raised: list[type[BaseException]] = [error]

    def fn(items: list[int]) -> list[int]:
        if raised:
            raise raised.pop()("stop")
        return items

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, min_batch_size=2)
    found = outcomes([processor.submit(i) for i in range(2)])
    assert all(isinstance(each, libperf.BatchError) and isinstance(each.__cause__, error) for each in found)
    assert outcomes([processor.submit(i) for i in range(2)]) == [0, 1]


WRONG_ANSWERS = {
    "None": lambda items: None,
    "too few": lambda items: items[:-1],
    "too many": lambda items: [*items, 1],
    "a generator": lambda items: (item for item in items),
    "a set": set,
    "a text": lambda items: "ab",
    "a mapping with an unknown index": lambda items: {0: 1, 7: 2},
    "a number": len,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", WRONG_ANSWERS)
def test_wrong_answers_fail_everybody(kind: str, wrong: str) -> None:
    """They are never cut to fit, and nobody is left waiting."""
    processor = processor_of(kind, WRONG_ANSWERS[wrong], min_batch_size=2)
    found = outcomes([processor.submit(i) for i in range(2)])
    assert [type(each) for each in found] == [libperf.BatchError] * 2, found
    assert processor.close()
    accounts(processor)


def test_a_wrong_count_is_named_also_under_dash_O() -> None:
    """No assert that python -O would take out."""
    printed = run_python(
        "import libperf\n"
        "processor = libperf.BatchProcessor(lambda items: items[1:], min_batch_size=3)\n"
        "for future in [processor.submit(i) for i in range(3)]:\n"
        "    try: future.result(10)\n"
        "    except libperf.BatchError as error: print(error)\n",
        "-O",
    )
    lines = printed.splitlines()
    assert len(lines) == 3 and all("2" in line and "3" in line for line in lines), printed


def test_an_awaitable_out_of_an_ordinary_function_is_explained() -> None:
    """A lambda around a coroutine function looks like an ordinary one; the error says what to do."""

    async def fn(items: list[int]) -> list[int]:
        return items

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(lambda items: fn(items))
    error = outcomes([processor.submit(1)])[0]
    assert isinstance(error, libperf.BatchError) and "make it an async def" in str(error.__cause__)


def test_an_error_keeps_the_functions_traceback_and_not_ours() -> None:
    """What one wants to see is where it was raised."""

    def fail(items: list[int]) -> list[int]:
        raise ValueError("here")

    for function in both_kinds(fail).values():
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(function)
        error = outcomes([processor.submit(1)])[0]
        frames = []
        traceback = error.__cause__.__traceback__
        while traceback is not None:
            frames.append(traceback.tb_frame.f_code.co_filename)
            traceback = traceback.tb_next
        assert frames[-1] == __file__ and not any("libperf/batcher" in frame for frame in frames), frames


@pytest.mark.parametrize("kind", KINDS)
def test_what_failed_is_let_go_of_without_the_collector(kind: str) -> None:
    """Exceptions keep the frames they went through; ours know neither the batch nor its items any more."""

    class Item:
        pass

    def fail(items: list[Item]) -> list[Item]:
        raise ValueError("here")

    processor = processor_of(kind, fail)
    gone: list[Any] = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            item = Item()
            gone.append(weakref.ref(item))
            with contextlib.suppress(libperf.BatchError):
                processor.submit(item).result(LIMIT)
            del item
        assert processor.close()  # the worker is out of the last batch
        while any(each() is not None for each in gone):
            time.sleep(0)
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", KINDS)
def test_many_items_leave_nothing_behind(kind: str) -> None:
    """A hundred thousand of them, by tracemalloc."""
    processor = processor_of(kind, list, max_batch_size=64)

    def submit(rounds: int) -> int:
        for _ in range(rounds):
            outcomes([processor.submit(i) for i in range(100)])
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = submit(100)
        assert submit(1000) - before < 10_000
    finally:
        tracemalloc.stop()
    assert processor.close()
    accounts(processor)


# ---- poison ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("isolate", ["bisect", "singles"])
def test_a_poison_item_fails_alone(kind: str, isolate: str) -> None:
    """Where the function may be called again; the error names the item's own failure."""

    def fn(items: list[int]) -> list[int]:
        if 13 in items:
            raise ValueError("poison")
        return items

    processor = processor_of(kind, fn, isolate=isolate, max_batch_size=16, min_batch_size=16)
    found = outcomes([processor.submit(i) for i in range(16)])
    assert isinstance(found[13], libperf.BatchError) and isinstance(found[13].__cause__, ValueError)
    assert [each for i, each in enumerate(found) if i != 13] == [i for i in range(16) if i != 13]
    assert processor.get_stats()["batches_isolated"] > 0
    assert processor.close()
    accounts(processor)


# ---- submitting from within ----


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_function_that_submits_to_itself_and_waits_in_a_thread(concurrency: int) -> None:
    """With every slot taken: it is processed in the thread that waits."""

    def fn(items: list[int]) -> list[int]:
        return [item if item < 1 else processor.submit(item - 1).result() + 1 for item in items]

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, concurrency=concurrency)
    assert outcomes([processor.submit(i) for i in range(6)]) == list(range(6))
    assert processor.get_stats()["dispatch_reasons"]["nested"] > 0
    assert processor.close()
    accounts(processor)


def test_a_coroutine_function_that_submits_to_itself_and_waits() -> None:
    """It begins at once, beside the one that waits for it."""

    async def fn(items: list[int]) -> list[int]:
        return [item if item < 1 else await processor.submit(item - 1) + 1 for item in items]

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn)

    async def main() -> list[int]:
        return await asyncio.gather(*(processor.submit(i) for i in range(6)))

    assert asyncio.run(main()) == list(range(6))
    assert outcomes([processor.submit(i) for i in range(6)]) == list(range(6))


def test_a_coroutine_function_that_waits_in_a_thread_for_itself() -> None:
    """The thread is another one, the context the same."""

    async def fn(items: list[int]) -> list[int]:
        if items == [0]:
            return items
        return [await asyncio.to_thread(lambda: processor.submit(0).result(LIMIT)) for _ in items]

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn)

    async def main() -> int:
        return await processor.submit(5)

    assert asyncio.run(main()) == 0


def test_a_map_within_the_function() -> None:
    """Many nested items of one batch."""

    def fn(items: list[int]) -> list[int]:
        return [sum(processor.map(range(item)).result()) if item > 3 else item for item in items]

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, max_queue=5)
    assert processor.submit(4).result(LIMIT) == 6


def test_two_functions_that_call_each_other_in_threads() -> None:
    """A's waits for B, B's for A, with one slot each."""

    def of_a(items: list[int]) -> list[int]:
        return [0 if item < 1 else b.submit(item - 1).result(LIMIT) + 1 for item in items]

    def of_b(items: list[int]) -> list[int]:
        return [0 if item < 1 else a.submit(item - 1).result(LIMIT) + 1 for item in items]

    a: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(of_a)
    b: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(of_b)
    assert outcomes([a.submit(i) for i in range(8)]) == list(range(8))
    assert a.close() and b.close()
    accounts(a)
    accounts(b)


def test_two_coroutine_functions_that_call_each_other() -> None:
    """The same in an event loop."""

    async def of_a(items: list[int]) -> list[int]:
        return [0 if item < 1 else await b.submit(item - 1) + 1 for item in items]

    async def of_b(items: list[int]) -> list[int]:
        return [0 if item < 1 else await a.submit(item - 1) + 1 for item in items]

    a: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(of_a)
    b: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(of_b)

    async def main() -> list[int]:
        return await a.map(range(8))

    assert asyncio.run(main()) == list(range(8))


# ---- items ----


@pytest.mark.parametrize("kind", KINDS)
def test_strange_weights(kind: str) -> None:
    """None, oversize, negative, NaN and raising weighers: an error for that one, nothing queued."""

    def weigh(item: Any) -> Any:
        if isinstance(item, Exception):
            raise item
        return item

    processor = processor_of(kind, lambda items: items, weigher=weigh, max_batch_weight=10)
    assert outcomes([processor.submit(weight) for weight in (0, 0, 10, 11, 1e9, 3.5)]) == [0, 0, 10, 11, 1e9, 3.5]
    for wrong, error in (
        (-1, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        ("1", TypeError),
        (KeyError(), KeyError),
    ):
        with pytest.raises(error):
            processor.submit(wrong)
    assert processor.close()
    accounts(processor)
    assert processor.get_stats()["submitted"] == 6


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_is_never_processed(kind: str) -> None:
    """Also where all of it was cancelled before."""
    gate = Gate()
    processor = processor_of(kind, gate, max_batch_size=2)
    first = processor.submit(0)
    assert gate.entered.acquire(timeout=LIMIT)
    futures = [processor.submit(i) for i in range(1, 5)]
    assert all(future.cancel() for future in futures)
    gate.open.set()
    assert first.result(LIMIT) == 0
    assert processor.close()
    assert gate.batches == [[0]]
    accounts(processor)


def test_nothing_keeps_items_and_results() -> None:
    """Once they were handed over, they are gone with whoever had them; also those of a batch that failed."""

    class Item:
        pass

    def fn(items: list[Any]) -> list[Any]:
        if len(items) > 1:
            raise ValueError("no")
        return [Item() for _ in items]

    for function in both_kinds(fn).values():
        processor: libperf.BatchProcessor[Any, Any] = libperf.BatchProcessor(
            function, max_batch_size=2, min_batch_size=1
        )

        async def main(processor: Any = processor) -> list[weakref.ref[Any]]:
            item = Item()
            result = await processor.submit(item)
            pair = [Item(), Item()]
            await asyncio.gather(*map(processor.submit, pair), return_exceptions=True)
            return [weakref.ref(each) for each in (item, result, *pair)]

        references = asyncio.run(main())
        assert processor.submit(Item()).result(LIMIT) is not None  # whatever holds the last batch lets go of it
        gc.collect()
        assert [reference() for reference in references] == [None] * 4


# ---- idleness ----


def test_an_idle_processor_does_nothing() -> None:
    """No timer in the loop, no thread of its own, nothing to wake up for."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = set(threading.enumerate())
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(_echo)
        assert await asyncio.gather(*(processor.submit(i, timeout=30) for i in range(30))) == list(range(30))
        for _ in range(3):
            await asyncio.sleep(0)
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        assert timers == [] and loop._ready.__len__() == 0  # type: ignore[attr-defined]
        assert set(threading.enumerate()) <= before

    asyncio.run(main())


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _echo(items: list[Any]) -> list[Any]:
    return items
