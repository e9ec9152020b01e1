"""Events of semaphores, locks and queues: asyncio's, threading's, queue.Queue; how they are named."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf._core import lib
from support_events import Event, Events, record

SEMAPHORE, LOCK, QUEUE = lib.PERF_RESOURCE_SEMAPHORE, lib.PERF_RESOURCE_LOCK, lib.PERF_RESOURCE_QUEUE
OF_RESOURCES = [
    name
    for codes in (
        "ACQUIRE ACQUIRED NOT_ACQUIRED RELEASE",
        "GET GOT NOT_GOT GOT_NOWAIT PUT HAS_PUT NOT_PUT PUT_NOWAIT TASK_DONE JOIN JOINED",
    )
    for name in codes.split()
]


def run(main: Callable[[], Any]) -> Events:
    return record(lambda: asyncio.run(main()))


def of(events: Events, name: str) -> list[str]:
    """What was done with the resource of that name."""
    key = events.resource(name)
    return [event.code for event in events.of(*OF_RESOURCES) if event.key == key]


def kind_of(event: Event) -> tuple[int, int]:
    """Of a RESOURCE: kind and capacity."""
    return event.more & 0xFF, event.more >> 8


# ---- asyncio ----


@pytest.mark.parametrize("own", [True, False])
def test_semaphores(own: bool) -> None:
    """Introduced once, at the first use, with its initial value; two of three tasks get it at once."""
    here = Path(__file__)

    async def hold(semaphore: asyncio.Semaphore) -> None:
        async with semaphore:
            await asyncio.sleep(0.001)

    async def main() -> None:
        semaphore = libperf.Semaphore(2, "api") if own else asyncio.Semaphore(2)
        await asyncio.gather(*(hold(semaphore) for _ in range(3)))

    events = run(main)
    line = main.__code__.co_firstlineno + 1
    name = "api" if own else f"{here.name}:{line}"
    introduced = events.one("RESOURCE")
    assert (introduced.text, kind_of(introduced)) == (name, (SEMAPHORE, 2))
    assert events.one("WHERE").key == introduced.key
    assert events.one("WHERE").text in (f"{here}:{line}", f"{here.relative_to(Path.cwd())}:{line}")
    assert of(events, name)[:5] == ["ACQUIRE", "ACQUIRED", "ACQUIRE", "ACQUIRED", "ACQUIRE"]
    assert sorted(of(events, name)[5:]) == ["ACQUIRED", "RELEASE", "RELEASE", "RELEASE"]
    got = [e for e in events if e.code == "ACQUIRED"][-1]
    assert events.by(got.actor).codes("SPAN_BEGIN")[:2] == ["RUN", "ACQUIRE"]


def test_bounded_semaphores_and_capacities_of_old_ones() -> None:
    """The bound is the capacity; of a semaphore from before, what is left of it."""
    old, bounded = asyncio.Semaphore(7), asyncio.BoundedSemaphore(5)

    async def main() -> None:
        async with old, bounded, libperf.BoundedSemaphore(3, name="new"):
            pass

    introduced = run(main).of("RESOURCE")
    assert [kind_of(e) for e in introduced] == [(SEMAPHORE, 7), (SEMAPHORE, 5), (SEMAPHORE, 3)]
    assert introduced[2].text == "new"


def test_cancelled_while_waiting_for_a_lock() -> None:
    """NOT_ACQUIRED, by the task that gave up; the lock works on."""

    async def main() -> None:
        lock = libperf.Lock(name="lock")
        async with lock:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(lock.acquire(), 0.001)
        async with lock:
            pass

    events = run(main)
    assert kind_of(events.one("RESOURCE")) == (LOCK, 1)
    assert of(events, "lock") == [
        "ACQUIRE",
        "ACQUIRED",
        "ACQUIRE",
        "NOT_ACQUIRED",
        "RELEASE",
        "ACQUIRE",
        "ACQUIRED",
        "RELEASE",
    ]
    gave_up = events.one("NOT_ACQUIRED")
    assert gave_up.actor == [e for e in events if e.code == "ACQUIRE"][1].actor


def test_a_coroutine_that_is_dropped_while_it_waits() -> None:
    """Whoever closes it is not who waited: nothing is said in its name."""

    async def main() -> None:
        lock = libperf.Lock(name="lock")
        async with lock:
            waiting = lock.acquire()
            waiting.send(None)
            waiting.close()

    assert of(run(main), "lock") == ["ACQUIRE", "ACQUIRED", "ACQUIRE", "RELEASE"]


def test_conditions_use_their_lock() -> None:
    """Waiting gives the lock back and takes it again."""

    async def main() -> None:
        condition = asyncio.Condition(libperf.Lock(name="lock"))

        async def wait() -> None:
            async with condition:
                await condition.wait()

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        async with condition:
            condition.notify()
        await task

    events = run(main)
    waiter = next(e.actor for e in events if e.code == "ACQUIRE")
    assert events.by(waiter).of(*OF_RESOURCES).codes() == ["ACQUIRE", "ACQUIRED", "RELEASE"] * 2


def test_queues() -> None:
    """get() and put() are one operation each, whatever they call inside; the _nowait ones are their own."""

    async def main() -> None:
        items: libperf.Queue[int] = libperf.Queue(1, name="items")
        items.put_nowait(1)
        with pytest.raises(asyncio.QueueFull):
            items.put_nowait(2)
        assert items.get_nowait() == 1
        await items.put(3)
        assert await items.get() == 3
        items.task_done()
        items.task_done()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(items.get(), 0.001)
        await items.join()

    events = run(main)
    assert kind_of(events.one("RESOURCE")) == (QUEUE, 1)
    assert of(events, "items") == [
        *("PUT_NOWAIT", "GOT_NOWAIT", "PUT", "HAS_PUT", "GET", "GOT", "TASK_DONE", "TASK_DONE"),
        *("GET", "NOT_GOT", "JOIN", "JOINED"),
    ]


def test_queues_of_other_orders_and_keywords() -> None:
    """Their subclasses are watched with them."""

    async def main() -> None:
        items: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
        await items.put(item=2)
        await items.put(1)
        assert [await items.get(), items.get_nowait()] == [1, 2]

    events = run(main)
    assert kind_of(events.one("RESOURCE")) == (QUEUE, 0)
    assert events.of(*OF_RESOURCES).codes() == ["PUT", "HAS_PUT", "PUT", "HAS_PUT", "GET", "GOT", "GOT_NOWAIT"]


def test_a_subclass_with_a_get_of_its_own() -> None:
    """Its get_nowait() is said for what it is."""

    class Eager(asyncio.Queue[int]):
        async def get(self) -> int:
            return self.get_nowait()

    async def main() -> None:
        items = Eager()
        items.put_nowait(1)
        await items.get()

    assert run(main).of(*OF_RESOURCES).codes() == ["PUT_NOWAIT", "GOT_NOWAIT"]


# ---- threads ----


def test_locks_of_the_program() -> None:
    """Made here, seen; made by a library, plain: and isinstance() and Condition take both."""

    def program() -> None:
        lock, plain = threading.Lock(), queue.Queue[int]().mutex
        assert type(plain) is type(original)
        assert lock.acquire(blocking=False)
        assert not lock.acquire(timeout=0.001)
        assert lock.locked()
        lock.release()
        with pytest.raises(RuntimeError):
            lock.release()
        condition = threading.Condition(lock)
        with condition:
            assert not condition.wait(0.001)
            condition.notify_all()
        assert isinstance(lock, threading.Lock) if isinstance(original_factory, type) else True

    original_factory, original = threading.Lock, threading.Lock()
    events = record(program)
    introduced = events.one("RESOURCE")
    assert kind_of(introduced) == (LOCK, 1)
    assert introduced.text == f"{Path(__file__).name}:{program.__code__.co_firstlineno + 1}"
    assert of(events, introduced.text)[:5] == ["ACQUIRE", "ACQUIRED", "ACQUIRE", "NOT_ACQUIRED", "RELEASE"]


def test_a_lock_that_two_threads_want() -> None:
    """The second one's ACQUIRED comes after the first one's RELEASE."""

    def program() -> None:
        lock, held = threading.Lock(), threading.Event()
        other = threading.Thread(target=lambda: (held.set(), lock.acquire(), lock.release()))
        with lock:
            other.start()
            held.wait()
        other.join()

    events = record(program)
    main, other = (e.actor for e in events.of("ACQUIRE"))
    told = [(e.code, e.actor) for e in events.of("ACQUIRED", "RELEASE")]
    assert told == [("ACQUIRED", main), ("RELEASE", main), ("ACQUIRED", other), ("RELEASE", other)]


def test_taking_a_lock_again() -> None:
    """A reentrant lock is taken once, given back once; Condition.wait() gives back all of it."""

    def program() -> None:
        lock = threading.RLock()
        with lock, lock:
            pass
        with pytest.raises(RuntimeError):
            lock.release()
        condition = threading.Condition(lock)
        with lock, lock:
            condition.wait(0.001)

    events = record(program)
    assert events.of(*OF_RESOURCES).codes() == ["ACQUIRE", "ACQUIRED", "RELEASE"] * 3


def test_queues_between_threads() -> None:
    """Their conditions are no waits of their own."""

    def program() -> None:
        items: queue.Queue[int | None] = queue.Queue(2)

        def work() -> None:
            while items.get() is not None:
                items.task_done()
            items.task_done()

        worker = threading.Thread(target=work)
        worker.start()
        for item in (1, 2, 3, None):
            items.put(item)
        items.join()
        with pytest.raises(queue.Empty):
            items.get_nowait()  # waits for nobody, gets nothing: nothing has happened
        worker.join()

    events = record(program)
    introduced = events.one("RESOURCE")
    assert kind_of(introduced) == (QUEUE, 2)
    assert of(events, introduced.text).count("GOT") == of(events, introduced.text).count("HAS_PUT") == 4
    main = events[0].actor
    assert events.by(main).of(*OF_RESOURCES).codes() == ["PUT", "HAS_PUT"] * 4 + ["JOIN", "JOINED"]
    assert {e.key for e in events.of("WAIT_FOR", "AWAIT")} == {events.one("SPAWN").key}
