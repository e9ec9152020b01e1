"""Single flight: one computes, whatever happens to it; nobody waits for ever, nobody waits for itself."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from libperf.cache.clock import Clock
from libperf.cache.flights import Flight, Flights
from support_cache import Still


@pytest.fixture
def flights() -> Flights:
    return Flights("test", 60, Clock())


class Crowd:
    """Threads that all do the same; what each got or raised."""

    def __init__(self, count: int, call: Callable[[], Any]) -> None:
        self.got: list[Any] = []
        self.raised: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(call,), daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self.got.append(call())
        except BaseException as error:
            self.raised.append(error)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self._threads)


def until(true: Callable[[], bool]) -> None:
    """Give other threads their turn until they have come that far."""
    pause = threading.Event()
    for _ in range(10_000):
        if true():
            return
        pause.wait(0.001)
    raise AssertionError("it never came to that")


async def auntil(true: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


def test_sixty_four_threads_compute_once(flights: Flights) -> None:
    gate, calls = threading.Event(), []

    def work(flight: Flight) -> object:
        calls.append(1)
        gate.wait(10)
        return "value"

    crowd = Crowd(64, lambda: flights.fly("k", (), work))
    until(lambda: flights.waited == 63)
    gate.set()
    crowd.join()
    assert crowd.got == ["value"] * 64
    assert len(calls) == 1
    assert len(flights) == 0


def test_256_tasks_compute_once(flights: Flights) -> None:
    calls = []

    async def work(flight: Flight) -> object:
        calls.append(1)
        await auntil(lambda: flights.waited == 255)
        return "value"

    async def main() -> list[Any]:
        return await asyncio.gather(*(flights.afly("k", (), work) for _ in range(256)))

    assert asyncio.run(main()) == ["value"] * 256
    assert len(calls) == 1


def test_threads_and_two_loops_share_a_flight(flights: Flights) -> None:
    """A leader in a loop, waiters in the same loop, in another one and in threads; and the other way round."""
    calls = []

    async def awork(flight: Flight) -> object:
        calls.append("task")
        await auntil(lambda: flights.waited == 12)
        return 1

    def work(flight: Flight) -> object:
        calls.append("thread")
        until(lambda: flights.waited == 24)
        return 2

    async def some(count: int) -> list[Any]:
        return await asyncio.gather(*(flights.afly("k", (), awork) for _ in range(count)))

    led = Crowd(1, lambda: asyncio.run(some(5)))
    until(lambda: len(calls) == 1)
    others = [Crowd(1, lambda: asyncio.run(some(4))), Crowd(4, lambda: flights.fly("k", (), work))]
    for crowd in (led, *others):
        crowd.join()
        assert crowd.raised == []
    assert [led.got, others[0].got, others[1].got] == [[[1] * 5], [[1] * 4], [1] * 4]
    led = Crowd(1, lambda: flights.fly("k", (), work))
    until(lambda: len(calls) == 2)
    others = [Crowd(1, lambda: asyncio.run(some(8))), Crowd(4, lambda: flights.fly("k", (), work))]
    for crowd in (led, *others):
        crowd.join()
    assert [led.got, others[0].got, others[1].got] == [[2], [[2] * 8], [2] * 4]
    assert calls == ["task", "thread"]


class Failed(Exception):
    pass


@pytest.mark.parametrize("error", [Failed("x"), StopIteration(3), RecursionError(), MemoryError()])
def test_an_exception_wakes_all_and_is_not_kept(flights: Flights, error: Exception) -> None:
    """theine's Wrapper leaves all later callers waiting."""

    def work(flight: Flight) -> object:
        until(lambda: flights.waited == 7)
        raise error

    crowd = Crowd(8, lambda: flights.fly("k", (), work))
    crowd.join()
    assert crowd.raised == [error] * 8
    assert flights.fly("k", (), lambda flight: "fine") == "fine"


def test_an_exception_wakes_tasks(flights: Flights) -> None:
    """A future that was given StopIteration would raise TypeError; as from any coroutine it is a RuntimeError."""

    async def main(error: Exception) -> list[Any]:
        flights.waited = 0

        async def work(flight: Flight) -> object:
            await auntil(lambda: flights.waited == 7)
            raise error

        return await asyncio.gather(*(flights.afly("k", (), work) for _ in range(8)), return_exceptions=True)

    error = Failed("x")
    assert asyncio.run(main(error)) == [error] * 8
    assert {type(raised) for raised in asyncio.run(main(StopIteration(3)))} == {RuntimeError}


def test_a_cancelled_leader_hands_over(flights: Flights) -> None:
    """One waiter computes, the others go on waiting; a cancelled heir hands over as well."""
    calls: list[int] = []

    async def main() -> None:
        async def work(flight: Flight) -> object:
            calls.append(len(calls))
            if len(calls) <= 2:
                await asyncio.Event().wait()  # until cancelled
            return "value"

        tasks = [asyncio.ensure_future(flights.afly("k", (), work)) for _ in range(6)]
        await auntil(lambda: flights.waited == 5)
        tasks[0].cancel()
        await auntil(lambda: len(calls) == 2)
        tasks[1].cancel()
        assert await asyncio.gather(*tasks[2:]) == ["value"] * 4
        assert tasks[0].cancelled() and tasks[1].cancelled()

    asyncio.run(main())
    assert calls == [0, 1, 2]
    assert len(flights) == 0


def test_an_heir_that_is_cancelled_before_it_runs(flights: Flights) -> None:
    """Leader and heir are cancelled in the same turn of the loop."""

    async def main() -> None:
        calls = []

        async def work(flight: Flight) -> object:
            calls.append(1)
            if len(calls) == 1:
                await asyncio.Event().wait()
            return "value"

        tasks = [asyncio.ensure_future(flights.afly("k", (), work)) for _ in range(4)]
        await auntil(lambda: flights.waited == 3)
        tasks[0].cancel()
        await asyncio.sleep(0)
        tasks[1].cancel()
        assert await asyncio.gather(*tasks[2:]) == ["value"] * 2

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_thread_hands_over(flights: Flights, error: type[BaseException]) -> None:
    """What was meant for one is not raised in all."""
    calls = []

    def work(flight: Flight) -> object:
        calls.append(1)
        if len(calls) == 1:
            until(lambda: flights.waited == 3)
            raise error
        return "value"

    crowd = Crowd(4, lambda: flights.fly("k", (), work))
    crowd.join()
    assert [type(raised) for raised in crowd.raised] == [error]
    assert crowd.got == ["value"] * 3


def test_a_loop_that_ends_with_waiters_in_it(flights: Flights) -> None:
    """They cannot be woken any more, and nobody minds."""
    gate = threading.Event()

    def work(flight: Flight) -> object:
        gate.wait(10)
        return "value"

    crowd = Crowd(1, lambda: flights.fly("k", (), work))
    until(lambda: len(flights) == 1)
    loop = asyncio.new_event_loop()
    task = loop.create_task(flights.afly("k", (), work))  # type: ignore[arg-type]
    loop.run_until_complete(asyncio.sleep(0))
    assert flights.waited == 1
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    gate.set()
    crowd.join()
    assert crowd.got == ["value"]


# ---- re-entry ----


def test_who_asks_for_what_he_computes_computes(flights: Flights) -> None:
    """cachebox deadlocks here (#54)."""

    def work(depth: int) -> Any:
        return lambda flight: depth if depth == 3 else flights.fly("k", (), work(depth + 1))

    crowd = Crowd(1, lambda: flights.fly("k", (), work(0)))
    crowd.join()
    assert crowd.got == [3]


def test_a_task_that_asks_for_what_its_parent_computes(flights: Flights) -> None:
    """Through a task, a thread, and another loop in that thread."""

    async def inner(flight: Flight) -> object:
        return "inner"

    def in_thread() -> Any:
        return asyncio.run(flights.afly("k", (), inner))

    async def work(flight: Flight) -> object:
        task = asyncio.ensure_future(flights.afly("k", (), inner))
        return await task, await asyncio.to_thread(in_thread)

    assert asyncio.run(asyncio.wait_for(flights.afly("k", (), work), 10)) == ("inner", "inner")


def test_a_circle_of_two(flights: Flights) -> None:
    """a wants b while b wants a: whoever closes the circle computes."""
    begun = threading.Barrier(2)

    def work(other: str) -> Any:
        def work(flight: Flight) -> object:
            begun.wait(10)
            return flights.fly(other, (), lambda flight: f"inner {other}")

        return work

    one = Crowd(1, lambda: flights.fly("a", (), work("b")))
    two = Crowd(1, lambda: flights.fly("b", (), work("a")))
    one.join()
    two.join()
    assert len(one.got + two.got) == 2


def test_a_thread_does_not_block_the_loop_it_waits_for(flights: Flights) -> None:
    """A sync call in the loop on which the leader runs computes."""

    async def main() -> None:
        gate = asyncio.Event()

        async def work(flight: Flight) -> object:
            await gate.wait()
            return "slow"

        task = asyncio.ensure_future(flights.afly("k", (), work))
        await asyncio.sleep(0)
        empty = contextvars.Context()
        assert empty.run(flights.fly, "k", (), lambda flight: "own") == "own"
        gate.set()
        assert await task == "slow"

    asyncio.run(asyncio.wait_for(main(), 10))


# ---- patience ----


def test_a_leader_that_takes_too_long_is_given_up() -> None:
    """Beside it somebody else computes; whoever is first lands for all."""
    clock = Still()
    flights = Flights("test", 10, clock)
    gate = threading.Event()

    def never(flight: Flight) -> object:
        gate.wait(10)
        return "late"

    slow = Crowd(1, lambda: flights.fly("k", (), never))
    until(lambda: len(flights) == 1)
    clock.go(11)
    assert flights.fly("k", (), lambda flight: "own") == "own"
    assert len(flights) == 0
    gate.set()
    slow.join()
    assert slow.got == ["late"]


def test_who_waits_already_loses_patience_as_well() -> None:
    flights = Flights("test", 0.05, Clock())
    gate = threading.Event()

    def work(flight: Flight) -> object:
        if threading.current_thread() is not threading.main_thread():
            gate.wait(10)
        return "value"

    slow = Crowd(1, lambda: flights.fly("k", (), work))
    until(lambda: len(flights) == 1)
    assert flights.fly("k", (), work) == "value"

    async def awork(flight: Flight) -> object:
        return "task"

    again = Crowd(1, lambda: flights.fly("k", (), work))
    until(lambda: len(flights) == 1)
    assert asyncio.run(flights.afly("k", (), awork)) == "task"
    gate.set()
    slow.join()
    again.join()


def test_patience_grows_with_what_is_usual() -> None:
    flights = Flights("test", 1, Still())
    assert flights.patience_ns == 1_000_000_000
    for _ in range(50):
        flights.took(2_000_000_000)
    assert flights.patience_ns == 6_000_000_000


# ---- dropped flights ----


def test_a_dropped_flight_lands_for_those_who_are_in_it(flights: Flights) -> None:
    """Later callers begin a new one."""
    gate = threading.Event()
    seen = []

    def old(flight: Flight) -> object:
        gate.wait(10)
        seen.append(flight.dropped)
        return "old"

    crowd = Crowd(3, lambda: flights.fly("k", (7,), old))
    until(lambda: flights.waited == 2)
    flights.drop_labels([8])
    assert len(flights) == 1
    flights.drop_labels([7])
    assert flights.fly("k", (7,), lambda flight: (flight.dropped, "new")) == (False, "new")
    gate.set()
    crowd.join()
    assert crowd.got == ["old"] * 3
    assert seen == [True]


def test_dropping_what_there_is_not(flights: Flights) -> None:
    flights.drop("k")
    flights.drop_labels(None)
    assert len(flights) == 0


def test_a_flight_that_is_abandoned(flights: Flights) -> None:
    """Whoever waits for it leads."""
    flight = flights.start("k", ())
    assert flight is not None
    assert flights.start("k", ()) is None
    crowd = Crowd(2, lambda: flights.fly("k", (), lambda flight: "value"))
    until(lambda: flights.waited == 2)
    flights.abandon(flight)
    crowd.join()
    assert crowd.got == ["value"] * 2
    alone = flights.start("k", ())
    assert alone is not None
    flights.abandon(alone)
    assert len(flights) == 0
