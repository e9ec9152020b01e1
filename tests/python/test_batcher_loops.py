"""A BatchProcessor and its loops: runs that follow each other, loops that end or stop in the middle, idle ones."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Iterator
from typing import Any

import pytest

import libperf
from libperf.batcher import loops
from support_batcher import LIMIT, AsyncGate, Gate, accounts, limit, outcomes

KINDS = ["def", "async def"]


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    with limit():
        yield


async def echo(items: list[Any]) -> list[Any]:
    return items


def test_a_second_run_finds_it_as_it_was() -> None:
    """With an item of the first one that waited for more, and was cancelled with its loop."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(echo, min_batch_size=2, max_wait_time=0.02)

    async def leave() -> None:
        task = asyncio.ensure_future(_await(processor.submit(1)))
        await asyncio.sleep(0)
        assert not task.done()

    async def main() -> int:
        return await processor.submit(2)

    asyncio.run(leave())
    assert asyncio.run(main()) == 2
    assert processor.submit(3).result(LIMIT) == 3
    assert processor.close()
    accounts(processor)


def test_a_run_that_ends_in_the_middle_of_a_batch() -> None:
    """Its callers are cancelled with it; the slot is free for the next one."""
    gates: list[AsyncGate] = []

    async def fn(items: list[int]) -> list[int]:
        return await gates[-1](items)  # type: ignore[no-any-return]

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn)

    async def leave() -> None:
        gates.append(AsyncGate())
        task = asyncio.ensure_future(_await(processor.submit(1)))
        await gates[-1].entered.wait()
        assert not task.done()

    async def main() -> int:
        gates.append(AsyncGate())
        gates[-1].open.set()
        return await processor.submit(2)

    asyncio.run(leave())
    assert asyncio.run(main()) == 2
    assert processor.close()
    accounts(processor)


@pytest.mark.parametrize("close", [True, False], ids=["closed", "stopped"])
@pytest.mark.parametrize("who", ["loop", "thread"])
def test_a_loop_that_stops_with_a_batch_in_it_blocks_nobody(close: bool, who: str) -> None:
    """Abruptly, without cancelling anything: whoever submits elsewhere is processed, and the lost items are told."""
    gate = AsyncGate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(_echo_but_first(gate))
    loop = asyncio.new_event_loop()
    lost: list[Any] = []

    async def leave() -> None:
        lost.append(processor.submit(0))
        await gate.entered.wait()

    loop.run_until_complete(leave())
    if close:
        asyncio.set_event_loop(None)
        loop.close()

    async def main() -> int:
        return await processor.submit(1)

    if who == "loop":
        assert asyncio.run(main()) == 1
    else:
        assert processor.submit(1).result(LIMIT) == 1
    error = lost[0].exception(LIMIT)
    assert isinstance(error, libperf.BatchError) and ("closed" if close else "stopped") in str(error.__cause__)
    assert processor.close()
    accounts(processor)
    _throw_away(loop)


def test_a_loop_that_stops_while_others_wait_for_its_batch() -> None:
    """They have submitted before it stopped: nobody calls them, and they are processed all the same."""
    gate = AsyncGate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(_echo_but_first(gate))
    loop = asyncio.new_event_loop()
    waiting: list[Any] = []

    async def leave() -> None:
        processor.submit(0)
        await gate.entered.wait()
        waiting.append(await asyncio.to_thread(processor.submit, 1))

    loop.run_until_complete(leave())
    assert waiting[0].result(LIMIT) == 1
    assert processor.close()
    accounts(processor)
    _throw_away(loop)


@pytest.mark.parametrize("loops", [1, 2])
def test_tasks_that_are_cancelled_before_they_begin_leave_nobody_waiting(loops: int) -> None:
    """All tasks right after submit, as asyncio.run() does it at its end: also the batch's own, of which no line has run."""
    called: list[list[int]] = []

    async def fn(items: list[int]) -> list[int]:
        called.append(items)
        return items

    async def submit_and_cancel(processor: Any) -> Any:
        future = processor.submit(1)
        before = asyncio.all_tasks()
        while not (tasks := asyncio.all_tasks() - before):  # noqa: ASYNC110
            await asyncio.sleep(0)
        for task in tasks:
            assert task.cancel()
        return future

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn)
    if loops == 1:
        future = asyncio.run(submit_and_cancel(processor))
    else:

        async def main() -> Any:
            await processor.start()  # the batch's task is here, the item of another loop
            before = asyncio.all_tasks()
            other = asyncio.ensure_future(asyncio.to_thread(asyncio.run, _exception_of(processor)))
            while not (tasks := [task for task in asyncio.all_tasks() - before if task is not other]):  # noqa: ASYNC110
                await asyncio.sleep(0)
            for task in tasks:
                assert task.cancel()
            return await other

        future = asyncio.run(main())
    error = future.exception(0)
    assert isinstance(error, libperf.BatchError) and isinstance(error.__cause__, asyncio.CancelledError)
    assert not called and processor.submit(2).result(LIMIT) == 2
    assert processor.close()
    accounts(processor)


def test_a_run_that_ends_at_once_after_submit() -> None:
    """What it left behind is done by others, or told; with eager tasks, and without."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(echo, max_batch_size=1, concurrency=2)

    async def leave() -> list[Any]:
        return [processor.submit(i) for i in range(6)]

    found = outcomes(asyncio.run(leave()))
    assert all(isinstance(each, libperf.BatchError) or each == i for i, each in enumerate(found)), found
    assert processor.close()
    accounts(processor)


def test_threads_that_wait_while_the_loop_of_the_function_ends() -> None:
    """It was started there; what it did not begin is done elsewhere, and nobody waits for ever."""
    futures: list[Any] = []
    entered: list[asyncio.Event] = []

    async def fn(items: list[int]) -> list[int]:
        if items == [0]:
            entered[0].set()
            await asyncio.Event().wait()
        return items

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, max_batch_size=1)

    async def main() -> None:
        entered.append(asyncio.Event())
        await processor.start()
        await asyncio.to_thread(lambda: futures.extend(processor.submit(i) for i in range(10)))
        await entered[0].wait()

    asyncio.run(main())
    found = outcomes(futures)
    assert isinstance(found[0], libperf.BatchError) and found[1:] == list(range(1, 10)), found
    assert processor.close()
    accounts(processor)


def test_a_thread_that_waits_for_an_item_of_a_loop_that_has_stopped() -> None:
    """Nobody else submits anything any more."""
    gate = AsyncGate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(_echo_but_first(gate), max_batch_size=1)
    loop = asyncio.new_event_loop()

    async def leave() -> list[Any]:
        futures = [processor.submit(i) for i in range(4)]
        await gate.entered.wait()
        return futures

    found = outcomes(loop.run_until_complete(leave()))
    assert isinstance(found[0], libperf.BatchError) and found[1:] == [1, 2, 3], found
    assert processor.close()
    accounts(processor)
    _throw_away(loop)


def test_a_loop_that_stops_only_for_a_moment_loses_nothing() -> None:
    """run_until_complete() twice, with a batch that runs from the first into the second."""
    gate = AsyncGate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate)
    loop = asyncio.new_event_loop()

    async def begin() -> Any:
        future = processor.submit(1)
        await gate.entered.wait()
        return future

    future = loop.run_until_complete(begin())
    driver: Any = processor._driver
    driver._release_the_lost(None)  # somebody looks just now
    gate.open.set()

    async def wait() -> int:
        return await future  # type: ignore[no-any-return]

    assert loop.run_until_complete(wait()) == 1
    loop.close()
    accounts(processor)


class Counted(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    """How often a loop woke up, and how often it was to by itself."""

    passes = timed = 0

    def select(self, timeout: float | None = None) -> Any:
        self.passes += 1
        self.timed += timeout is not None and timeout > 0
        return super().select(timeout)


def test_nothing_wakes_up_while_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one loop no timer is ever set; with more there is one, in the thread in the background, while there is work."""
    monkeypatch.setattr(loops, "LOST_AFTER", 0.001)
    gate = AsyncGate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate)
    driver: Any = processor._driver
    one, two = Counted(), Counted()
    main, other = asyncio.SelectorEventLoop(one), asyncio.SelectorEventLoop(two)

    async def alone() -> None:
        future = processor.submit(1)
        await gate.entered.wait()
        gate.open.set()
        assert await future == 1

    main.run_until_complete(alone())
    assert one.timed == 0 and not driver.watching and driver.background._loop is None

    async def elsewhere() -> int:
        return await processor.submit(2)

    async def beside() -> None:
        gate.open.clear()
        gate.entered.clear()
        future = processor.submit(1)
        await gate.entered.wait()
        waiting = main.run_in_executor(None, other.run_until_complete, elsewhere())
        watched: list[Any] = []
        look = driver._watch
        many = asyncio.Event()

        def count() -> None:
            watched.append(1)
            if len(watched) == 20:
                main.call_soon_threadsafe(many.set)
            look()

        driver._watch = count
        await many.wait()
        gate.open.set()
        assert (await future, await waiting) == (1, 2)

    main.run_until_complete(beside())
    assert one.timed == two.timed == 0
    background = driver.background._loop
    while driver.watching or background._scheduled:
        time.sleep(0)
    assert two.passes < 20  # it was not woken for nothing
    main.run_until_complete(main.shutdown_default_executor())
    for loop in (main, other):
        assert not loop._scheduled  # type: ignore[attr-defined]
        loop.close()
    assert processor.close()
    accounts(processor)


def test_results_for_a_loop_that_is_closed_are_counted() -> None:
    """Its callers are not there any more; others in the batch get theirs."""
    gate = Gate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate)
    first = processor.submit(0)
    assert gate.entered.acquire(timeout=LIMIT)
    loop = asyncio.new_event_loop()

    async def leave() -> None:
        processor.submit(1).add_done_callback(lambda future: None)

    loop.run_until_complete(leave())
    loop.close()
    other = processor.submit(2)
    gate.open.set()
    assert outcomes([first, other]) == [0, 2]
    assert gate.batches == [[0], [1, 2]]
    assert processor.close()
    assert processor.get_stats()["orphaned"] == 1
    accounts(processor)


async def _exception_of(processor: Any) -> Any:
    future = processor.submit(1)
    await asyncio.wait((future,))
    return future


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _echo_but_first(gate: AsyncGate) -> Any:
    async def fn(items: list[int]) -> list[int]:
        return await gate(items) if 0 in items else items

    return fn


def _throw_away(loop: asyncio.AbstractEventLoop) -> None:
    """Without the warning that a task of it was never finished: that is what these tests are about."""
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    if not loop.is_closed():
        loop.close()
