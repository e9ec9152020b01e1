"""Faults of time and room, one by one: items that are late, clocks that fail, queues that are full. Each has a limit."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import libperf
from libperf.batcher import loops, workers
from libperf.testing.virtual_loop import run_virtual
from support_batcher import LIMIT, AsyncGate, Gate, accounts, both_kinds, limit, outcomes

KINDS = ["def", "async def"]


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    with limit():
        yield


def processor_of(kind: str, function: Callable[[list[Any]], Any], **settings: Any) -> libperf.BatchProcessor[Any, Any]:
    return libperf.BatchProcessor(both_kinds(function)[kind], **settings)


# ---- time ----


def test_a_trickle_does_not_put_off_the_oldest_item() -> None:
    """max_wait_time counts from the oldest item, however closely others follow. In virtual time, exactly."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        begun: list[float] = []

        async def fn(items: list[int]) -> list[int]:
            begun.append(loop.time())
            return items

        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
            fn, min_batch_size=10, max_wait_time=0.1, clock=lambda: round(loop.time() * 1e9)
        )
        since = loop.time()
        futures = []
        for i in range(5):
            futures.append(processor.submit(i))
            await asyncio.sleep(0.095)
        await asyncio.gather(*futures)
        waits = [future.wait_time for future in futures]
        assert max(waits) <= 0.1 + 1e-6, waits
        assert begun[0] - since == pytest.approx(0.1, abs=1e-6)
        assert await processor.aclose()

    run_virtual(main)


def test_an_item_in_the_queue_is_given_up_in_time_though_all_workers_are_busy() -> None:
    """While the only slot is taken by a call that does not end: DeadlineExceeded comes when it is due."""
    gate = Gate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate)
    first = processor.submit(0)
    assert gate.entered.acquire(timeout=LIMIT)
    late = [processor.submit(1, timeout=0.05), processor.submit(2, queue_timeout=0.01), processor.submit(3, timeout=0)]
    assert [type(each) for each in outcomes(late)] == [libperf.DeadlineExceeded] * 3
    assert not first.done()
    gate.open.set()
    assert first.result(LIMIT) == 0
    assert processor.close()
    assert gate.batches == [[0]]
    accounts(processor)


def test_an_item_in_the_queue_of_a_loop_is_given_up_in_time() -> None:
    """To the nanosecond, in virtual time."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        gate = AsyncGate()
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
            gate, clock=lambda: round(loop.time() * 1e9)
        )
        first = processor.submit(0)
        await gate.entered.wait()
        since = loop.time()
        for arguments in ({"timeout": 3.0}, {"queue_timeout": 1.5}, {"timeout": 0}):
            since = loop.time()
            with pytest.raises(libperf.DeadlineExceeded):
                await processor.submit(1, **arguments)
            assert loop.time() - since == pytest.approx(max(arguments.values()), abs=1e-6)
        gate.open.set()
        assert await first == 0 and gate.batches == [[0]]

    run_virtual(main)


def test_an_item_in_a_running_batch_is_given_up_in_time() -> None:
    """Its batch goes on, for others."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def fn(items: list[int]) -> list[int]:
            await asyncio.sleep(10)
            return items

        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
            fn, min_batch_size=2, clock=lambda: round(loop.time() * 1e9)
        )
        patient, hasty = processor.submit(1), processor.submit(2, timeout=1.0)
        since = loop.time()
        with pytest.raises(libperf.DeadlineExceeded):
            await hasty
        assert loop.time() - since == pytest.approx(1.0, abs=1e-6)
        assert await patient == 1
        assert loop.time() - since == pytest.approx(10.0, abs=1e-6)

    run_virtual(main)


def test_a_coroutine_that_takes_too_long_is_cancelled() -> None:
    """process_timeout: its items fail, it is cancelled, and what it returns in spite of that is for nobody."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended: list[str] = []

        async def fn(items: list[str]) -> list[str]:
            if items == ["stubborn"]:
                for _ in range(3):
                    try:
                        await asyncio.sleep(100)
                    except asyncio.CancelledError:
                        ended.append("not yet")
            elif items == ["slow"]:
                try:
                    await asyncio.sleep(100)
                finally:
                    ended.append("slow")
            return items

        processor: libperf.BatchProcessor[str, str] = libperf.BatchProcessor(
            fn, max_batch_size=1, process_timeout=2.0, clock=lambda: round(loop.time() * 1e9)
        )
        since = loop.time()
        found = await asyncio.gather(*map(processor.submit, ("slow", "stubborn", "quick")), return_exceptions=True)
        assert [type(each.__cause__) for each in found[:2] if isinstance(each, libperf.BatchError)] == [
            libperf.errors.TimedOutError
        ] * 2
        assert found[2] == "quick" and loop.time() - since == pytest.approx(4.0, abs=1e-6)
        assert ended == ["slow", "not yet"]
        assert await processor.aclose()

    run_virtual(main)


def test_a_thread_that_takes_too_long_is_left_alone_and_its_slot_is_free() -> None:
    """Its items fail in time, and others are processed beside it."""
    stuck = threading.Event()

    def fn(items: list[int]) -> list[int]:
        if items == [0]:
            assert stuck.wait(LIMIT)
        return items

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, max_batch_size=1, process_timeout=0.02)
    found = outcomes([processor.submit(0)])
    assert isinstance(found[0], libperf.BatchError) and "process_timeout=0.02" in str(found[0].__cause__)
    assert not stuck.is_set()
    assert outcomes([processor.submit(i) for i in range(1, 5)]) == [1, 2, 3, 4]
    stuck.set()
    assert outcomes([processor.submit(5)]) == [5]
    assert processor.close()
    accounts(processor)


def test_a_clock_that_goes_back_harms_nobody() -> None:
    """A time before the latest one counts as that."""
    times = iter([10_000_000_000, 5_000_000_000, 0, 20_000_000_000])

    def clock() -> int:
        return next(times, 30_000_000_000)

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(lambda items: items, clock=clock)
    assert outcomes([processor.submit(i) for i in range(20)]) == list(range(20))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fails_at", range(1, 16))
def test_a_clock_that_fails_once_leaves_nobody_waiting(
    kind: str, fails_at: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it is asked: submit() raises that, or the item comes to its end."""
    for module in (loops, workers):
        monkeypatch.setattr(module, "AGAIN_AFTER", 0.001)
    calls = itertools.count(1)

    def clock() -> int:
        if next(calls) == fails_at:
            raise ValueError("no time")
        return time.monotonic_ns()

    processor = processor_of(kind, list, clock=clock)
    ends = []
    for i in range(3):
        with contextlib.suppress(ValueError):
            ends += outcomes([processor.submit(i)])
    assert len(ends) >= 2 and all(isinstance(end, (int, libperf.BatchError)) for end in ends), ends
    with contextlib.suppress(ValueError):
        processor.close()
    assert processor.close()
    accounts(processor)


# ---- a full queue ----


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_queue_that_rejects_says_so(kind: str) -> None:
    """QueueFull out of submit(), at once."""
    gate = Gate()
    processor = processor_of(kind, gate, max_queue=2, on_full="reject", max_batch_size=1)
    futures = [processor.submit(0)]
    assert gate.entered.acquire(timeout=LIMIT)
    futures += [processor.submit(1), processor.submit(2)]
    with pytest.raises(libperf.QueueFull) as caught:
        processor.submit(3)
    assert caught.value.retry_after is None or caught.value.retry_after > 0
    gate.open.set()
    assert outcomes(futures) == [0, 1, 2]
    assert processor.get_stats()["drops"]["rejected"] == 1


@pytest.mark.parametrize("on_full", ["shed_oldest", "shed_lowest"])
def test_a_full_queue_that_sheds_tells_whom_it_shed(on_full: str) -> None:
    """The oldest, or the one whose turn would come last: ItemShed, in whatever thread it waits."""
    gate = Gate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
        gate, max_queue=2, on_full=on_full, max_batch_size=1
    )
    first = processor.submit(0)
    assert gate.entered.acquire(timeout=LIMIT)
    oldest, lowest = processor.submit(1, 1), processor.submit(2, 3)
    third = processor.submit(3, 1)
    shed, kept = (oldest, lowest) if on_full == "shed_oldest" else (lowest, oldest)
    assert isinstance(shed.exception(LIMIT), libperf.ItemShed)
    gate.open.set()
    assert outcomes([first, kept, third]) == [0, kept.data, 3]


def test_a_full_queue_that_blocks_lets_threads_in_one_after_the_other() -> None:
    """submit() waits in its thread until there is room; in a loop it is the future that does."""
    gate = Gate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate, max_queue=1, max_batch_size=1)
    futures = [processor.submit(0)]
    assert gate.entered.acquire(timeout=LIMIT)
    futures.append(processor.submit(1))
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda i=i: answers.append(processor.submit(i).result(LIMIT))) for i in (2, 3)]
    for thread in threads:
        thread.start()

    async def main() -> int:
        waiting = processor.submit(4)  # does not hold up the loop
        gate.open.set()
        return await waiting

    assert asyncio.run(main()) == 4
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(answers) == [2, 3] and outcomes(futures) == [0, 1]
    assert processor.close()
    accounts(processor)


def test_a_thread_that_is_not_let_in_in_time_is_told() -> None:
    """Its timeout counts while it waits outside."""
    gate = Gate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate, max_queue=1, max_batch_size=1)
    futures = [processor.submit(0)]
    assert gate.entered.acquire(timeout=LIMIT)
    futures.append(processor.submit(1))
    late = processor.submit(2, timeout=0.02)
    assert isinstance(late.exception(LIMIT), libperf.DeadlineExceeded)
    gate.open.set()
    assert outcomes(futures) == [0, 1]
