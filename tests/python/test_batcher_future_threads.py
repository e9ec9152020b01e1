"""BatchFuture among threads and several loops. The batches are taken and finished by hand."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from typing import Any

import pytest

from support_batch_queue import LIMIT, Bench, run, turns

# ---- several loops ----


class Counting(asyncio.SelectorEventLoop):
    """Counts how often another thread wakes it."""

    woken = 0

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        self.woken += 1
        return super().call_soon_threadsafe(*args, **kwargs)


class Elsewhere:
    """A loop in a thread of its own, in which `count` items are awaited."""

    def __init__(self, bench: Bench, count: int) -> None:
        self.loop = Counting()
        self.waiting = threading.Event()
        self.results: list[Any] = []
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._main(bench, count),))
        self.thread.start()
        assert self.waiting.wait(LIMIT)

    async def _main(self, bench: Bench, count: int) -> None:
        async def one(i: int) -> None:
            self.results.append(await bench.submit(i))

        async def watch() -> None:
            await turns()  # all the others wait by now
            self.waiting.set()

        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*(one(i) for i in range(count)), watch())

    def end(self) -> None:
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()
        self.loop.close()


def test_each_other_loop_is_woken_once_a_batch() -> None:
    bench = Bench(max_items=100)
    places = [Elsewhere(bench, 20), Elsewhere(bench, 30)]
    assert bench.pump() == 1
    for place, count in zip(places, (20, 30), strict=True):
        place.end()
        assert sorted(place.results) == [i * 2 for i in range(count)]
        assert place.loop.woken == 1
    assert bench.queue.orphaned == 0


def test_one_future_is_awaited_in_two_loops_and_by_a_thread() -> None:
    bench = Bench()
    future = bench.submit(5)
    results: list[Any] = []
    waiting = threading.Barrier(3)

    async def wait() -> Any:
        asyncio.get_running_loop().call_soon(waiting.wait, LIMIT)
        return await future

    threads = [threading.Thread(target=lambda: results.append(asyncio.run(wait()))) for _ in range(2)]
    threads.append(threading.Thread(target=lambda: results.append(future.result(LIMIT))))
    for thread in threads:
        thread.start()
    waiting.wait(LIMIT)
    bench.pump()
    for thread in threads:
        thread.join(LIMIT)
    assert results == [10, 10, 10]


def test_a_closed_loop_is_counted_and_stops_nobody() -> None:
    bench = Bench()

    async def leave(count: int) -> None:
        for i in range(count):
            bench.submit(i).add_done_callback(print)

    asyncio.run(leave(3))
    ours = bench.submit(9)
    assert bench.pump() == 1
    assert ours.result() == 18
    assert bench.queue.orphaned == 3


def test_the_running_loop_is_known_wherever_it_changes() -> None:
    """One after the other, one within the other, and none: what was seen last is not taken for what runs now."""
    bench = Bench()
    future = bench.submit(1)

    async def ask() -> Any:
        assert future.get_loop() is asyncio.get_running_loop()
        return future.get_loop()

    for _ in range(20):
        asyncio.run(ask())
        with pytest.raises(RuntimeError, match="no running event loop"):
            future.get_loop()

    async def nested() -> None:
        outer = future.get_loop()
        asyncio._set_running_loop(None)
        try:
            with pytest.raises(RuntimeError):
                future.get_loop()
            inner = asyncio.new_event_loop()
            assert inner.run_until_complete(ask()) is inner
            inner.close()
        finally:
            asyncio._set_running_loop(outer)
        assert future.get_loop() is outer

    asyncio.run(nested())
    threads = [threading.Thread(target=lambda: [asyncio.run(ask()) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)


# ---- threads ----


def test_threads_wait_for_the_same_result() -> None:
    bench = Bench()
    future = bench.submit(3)
    ready = threading.Barrier(9)

    def wait() -> Any:
        ready.wait(LIMIT)
        return future.result(LIMIT)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(wait) for _ in range(8)]
        ready.wait(LIMIT)
        bench.pump()
        assert [each.result(LIMIT) for each in waiting] == [6] * 8


def test_a_thread_waits_no_longer_than_it_says_and_the_item_goes_on() -> None:
    bench = Bench()
    future = bench.submit(3)
    for timeout in (0, 0.0, 0.01):
        with pytest.raises(TimeoutError, match=f"within {timeout} seconds"):
            future.result(timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout=timeout)
    bench.pump()
    assert future.result(0) == 6 and future.exception(0) is None and future.result(None) == 6


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), float("-inf")])
def test_a_time_that_is_none_is_named(timeout: float) -> None:
    bench = Bench()
    future = bench.submit(1)
    with pytest.raises(ValueError, match=f"timeout is {timeout}"):
        future.result(timeout)
    bench.pump()
    with pytest.raises(ValueError, match=f"timeout is {timeout}"):  # done or not
        future.result(timeout=timeout)
    with pytest.raises(TypeError):
        future.result("1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout"):
        future.result(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="timeout"):
        future.result(time=1)  # type: ignore[call-arg]


def test_infinity_is_for_ever() -> None:
    bench = Bench()
    future = bench.submit(1)
    thread = threading.Timer(0, bench.pump)
    thread.start()
    assert future.result(float("inf")) == 2
    thread.join(LIMIT)


def test_waiting_in_the_thread_of_a_running_loop_is_an_error_that_says_what_to_do() -> None:
    async def main() -> None:
        bench = Bench()
        future = bench.submit(1)
        for ask in (future.result, future.exception):
            with pytest.raises(asyncio.InvalidStateError, match="await"):
                ask()
            with pytest.raises(asyncio.InvalidStateError, match="await"):
                ask(1.0)
        bench.pump()
        assert future.result() == 2

    run(main)


def test_a_signal_ends_the_waiting() -> None:
    """Ctrl-C: the handler runs while the main thread waits, and what it raises comes out of result()."""

    class Interrupt(Exception):
        pass

    def handler(*_: object) -> None:
        seen.append("handled")
        if len(seen) == 2:
            raise Interrupt

    seen: list[str] = []
    main = threading.main_thread().ident
    assert main == threading.get_ident()
    stop = threading.Event()

    def interrupt() -> None:  # until it has been noticed: the first may come before the waiting
        while not stop.wait(0.01):
            signal.pthread_kill(main, signal.SIGUSR1)

    old = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=interrupt)
    future = Bench().submit(1)
    try:
        with pytest.raises(Interrupt):
            thread.start()
            future.result(LIMIT)
    finally:
        seen.append("over")
        stop.set()
        thread.join(LIMIT)
        signal.signal(signal.SIGUSR1, old)
    assert not future.done()


def test_a_storm_of_threads_and_loops_resolves_each_item_once() -> None:
    """Four threads and two loops submit, cancel and wait while two others process."""
    bench = Bench(max_items=7, concurrency=2, max_queued=10_000)
    stop = threading.Event()
    counts: list[int] = []
    cancelled: list[int] = []

    def process() -> None:
        while not stop.is_set() or bench.queue.stats()["queued"]:
            if not bench.pump():
                stop.wait(0.0005)

    def submit() -> None:
        done = 0
        for i in range(500):
            future = bench.submit(i)
            if i % 20 == 0 and future.cancel():
                cancelled.append(i)
                continue
            assert future.result(LIMIT) == i * 2
            done += 1
        counts.append(done)

    async def several() -> None:
        async def one(i: int) -> None:
            future = bench.submit(i)
            if i % 20 == 0 and future.cancel():
                cancelled.append(i)
                return
            assert await future == i * 2
            counts.append(1)

        await asyncio.gather(*(one(i) for i in range(1000)))

    workers = [threading.Thread(target=process) for _ in range(2)]
    submitters = [threading.Thread(target=submit) for _ in range(4)]
    submitters += [threading.Thread(target=run, args=(several,)) for _ in range(2)]
    for thread in (*workers, *submitters):
        thread.start()
    for thread in submitters:
        thread.join(LIMIT)
    stop.set()
    for thread in workers:
        thread.join(LIMIT)
    assert sum(counts) + len(cancelled) == 4 * 500 + 2 * 1000
    stats = bench.queue.stats()
    assert stats["submitted"] == 4000 and stats["queued"] == stats["running"] == 0
    assert stats["cancelled"] == len(cancelled)
    bench.settled()
