"""Single flight: of all who want the same key at the same time one computes it, the others wait for what it finds.

Threads and tasks of any loop share a flight. Who waits is woken by its landing:

- with a value, or with the exception that the leader raised: everybody gets it, nothing of it is kept;
- to lead: the leader was cancelled or interrupted (CancelledError, KeyboardInterrupt), which is nobody else's business;
- by its patience: a leader that takes much longer than usual is given up, one of the waiters leads beside it.

Nobody waits for itself. A context variable knows the flights that led here, also into tasks, asyncio.to_thread() and
loops inside threads; who would wait for one of these, or for one that waits for one of these, computes instead. So does
a function that would block the very loop on which the leader runs.
"""

import os
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

from . import waits
from .clock import Clock

__all__ = ["Flight", "Flights", "running_loop"]

LANDED, LEAD = "landed", "lead"

PATIENCE = 3  # times what computing usually takes

_lock = threading.RLock()  # of all flights: they wait for each other across caches
_all: "weakref.WeakSet[Flights]" = weakref.WeakSet()
_leading: ContextVar[tuple["Flight", ...]] = ContextVar("libperf_flights", default=())


def _forget_in_child() -> None:
    """The leaders have stayed in the parent."""
    global _lock
    _lock = threading.RLock()
    for flights in list(_all):
        flights.under_way.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def running_loop() -> Any:
    """The event loop that runs in this thread; None: none does. Does not import asyncio."""
    asyncio = sys.modules.get("asyncio")
    running = getattr(asyncio, "_get_running_loop", None)
    return running() if running else None


class Flight:
    """One computing of one key. `dropped`: what it finds is not to be stored, it was begun too early."""

    __slots__ = (
        "alone",
        "deadline_ns",
        "done",
        "dropped",
        "error",
        "key",
        "labels",
        "loop",
        "result",
        "turn",
        "waiters",
        "waits",
    )

    def __init__(self, key: Any, labels: Iterable[int], loop: Any, deadline_ns: int) -> None:
        self.key = key
        self.labels = labels
        self.loop = loop  # on which the leader runs; None: in a thread of its own
        self.deadline_ns = deadline_ns
        self.turn = 0  # which leader counts
        self.waiters: list[_Waiter] = []
        self.waits: list[Flight] = []  # which other ones its leader waits for
        self.done = self.dropped = False
        self.alone = False  # beside another one of the same key, for waiting would never end
        self.result: Any = None
        self.error: BaseException | None = None


class _Waiter:
    """Somebody who waits; how, is what threads and tasks differ in. Signals are set under the lock."""

    __slots__ = ("signal",)

    def __init__(self) -> None:
        self.signal: str | None = None

    def wake(self, signal: str) -> bool:
        """False: nobody is there any more."""
        self.signal = signal
        return self._wake()

    def _wake(self) -> bool:
        raise NotImplementedError


class _Thread(_Waiter):
    __slots__ = ("_gate", "_ticket")

    def __init__(self) -> None:
        super().__init__()
        self._ticket = waits.ticket()
        self._gate = threading.Lock()
        self._gate.acquire()

    def _wake(self) -> bool:
        waits.woken(self._ticket)
        self._gate.release()
        return True

    def wait(self, cache: str, seconds: float) -> None:
        with waits.flight(cache, self._ticket):
            self._gate.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))


class _Task(_Waiter):
    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        super().__init__()
        self._loop = running_loop()
        self._future: Any = self._loop.create_future()

    def _open(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def _wake(self) -> bool:
        if running_loop() is self._loop:
            self._open()
        else:
            try:
                self._loop.call_soon_threadsafe(self._open)
            except RuntimeError:  # closed
                return False
        return True

    async def wait(self, cache: str, seconds: float) -> None:
        timer = self._loop.call_later(seconds, self._open)
        try:
            with waits.flight(cache):
                await self._future
        finally:
            timer.cancel()


class Flights:
    """The flights of one cache.

    name: of the cache, for reports
    patience: seconds; a leader may take that long, or three times what computing usually takes, if that is more
    Threads: any.
    """

    def __init__(self, name: str, patience: float, clock: Clock) -> None:
        self._name = name
        self.under_way: dict[Any, Flight] = {}  # changed under the lock
        self._patience_ns = self.patience_ns = int(patience * 1e9)
        self._clock = clock
        self.typical_ns = 0.0
        self.started = self.waited = self.computed = 0
        _all.add(self)

    def __len__(self) -> int:
        return len(self.under_way)

    def took(self, ns: int) -> None:
        """What computing took: a moving mean is what is usual."""
        self.computed += 1
        typical_ns = self.typical_ns
        self.typical_ns = typical_ns = typical_ns * 0.8 + ns * 0.2 if typical_ns else float(ns)
        patience_ns = int(PATIENCE * typical_ns)
        self.patience_ns = patience_ns if patience_ns > self._patience_ns else self._patience_ns

    # ---- taking part ----

    def fly(self, key: Any, labels: Iterable[int], work: Callable[[Flight], Any]) -> Any:
        """The result of `work`, called here or by whoever was first."""
        while True:
            flight, turn, waiter = self._board(key, labels, _Thread, None)
            if waiter is None:
                return self._lead(flight, turn, work)
            try:
                waiter.wait(self._name, self._left(flight))
            except BaseException:
                self._leave(flight, waiter)
                raise
            turn = self._after_waiting(flight, waiter)
            if turn:
                return self._lead(flight, turn, work)
            if flight.done:
                return _outcome(flight)

    async def afly(self, key: Any, labels: Iterable[int], work: Callable[[Flight], Awaitable[Any]]) -> Any:
        """The same in a task."""
        while True:
            flight, turn, waiter = self._board(key, labels, _Task, running_loop())
            if waiter is None:
                return await self._alead(flight, turn, work)
            try:
                await waiter.wait(self._name, self._left(flight))
            except BaseException:
                self._leave(flight, waiter)
                raise
            turn = self._after_waiting(flight, waiter)
            if turn:
                return await self._alead(flight, turn, work)
            if flight.done:
                return _outcome(flight)

    def start(self, key: Any, labels: Iterable[int], loop: Any = None) -> Flight | None:
        """A flight to be led with lead() or alead(), by whoever it is given to; None: there is one already."""
        with _lock:
            if key in self.under_way:
                return None
            return self._new(key, labels, loop)

    def lead(self, flight: Flight, work: Callable[[Flight], Any]) -> Any:
        return self._lead(flight, flight.turn, work)

    async def alead(self, flight: Flight, work: Callable[[Flight], Awaitable[Any]]) -> Any:
        return await self._alead(flight, flight.turn, work)

    def abandon(self, flight: Flight) -> None:
        """It is not led after all."""
        self._hand_over(flight, 0)

    def drop(self, key: Any) -> None:
        """What is being computed for this key is out of date: those who wait get it, nobody else does."""
        if self.under_way:
            with _lock:
                flight = self.under_way.pop(key, None)
                if flight is not None:
                    flight.dropped = True

    def drop_labels(self, labels: Iterable[int] | None) -> None:
        """The same for all flights with one of these labels; None: for all."""
        if not self.under_way:
            return
        wanted = None if labels is None else set(labels)
        with _lock:
            for key, flight in list(self.under_way.items()):
                if wanted is None or not wanted.isdisjoint(flight.labels):
                    flight.dropped = True
                    del self.under_way[key]

    # ---- under the lock ----

    def _new(self, key: Any, labels: Iterable[int], loop: Any) -> Flight:
        flight = Flight(key, labels, loop, self._clock.monotonic_ns() + self.patience_ns)
        self.under_way[key] = flight
        self.started += 1
        return flight

    def _board(self, key: Any, labels: Iterable[int], waiter: type[_Waiter], loop: Any) -> tuple[Flight, int, Any]:
        """A flight, and a waiter for it, or None for who is to lead it."""
        mine = _leading.get()
        with _lock:
            flight = self.under_way.get(key)
            if flight is None:
                return self._new(key, labels, loop), 0, None
            if _leads_back(flight, mine) or _blocks_its_loop(flight, loop):
                own = Flight(key, labels, loop, 0)  # which nobody knows
                own.alone = True
                return own, 0, None
            if self._clock.monotonic_ns() >= flight.deadline_ns:
                return flight, self._take_over(flight, loop), None
            found = waiter()
            flight.waiters.append(found)
            for led in mine:
                led.waits.append(flight)
            self.waited += 1
            return flight, 0, found

    def _take_over(self, flight: Flight, loop: Any) -> int:
        flight.deadline_ns = self._clock.monotonic_ns() + self.patience_ns
        flight.loop = loop
        flight.turn += 1
        flight.alone = True
        return flight.turn

    def _after_waiting(self, flight: Flight, waiter: _Waiter) -> int:
        """The turn of the one who waited, if it is to lead now; else 0."""
        with _lock:
            self._remove(flight, waiter)
            if flight.done:
                return 0
            if waiter.signal is LEAD or self._clock.monotonic_ns() >= flight.deadline_ns:
                return self._take_over(flight, getattr(waiter, "_loop", None))
            return 0

    def _leave(self, flight: Flight, waiter: _Waiter) -> None:
        with _lock:
            self._remove(flight, waiter)
            if waiter.signal is LEAD:  # somebody else must
                self._next_leader(flight)

    def _remove(self, flight: Flight, waiter: _Waiter) -> None:
        if waiter in flight.waiters:
            flight.waiters.remove(waiter)
        for own in _leading.get():
            if flight in own.waits:
                own.waits.remove(flight)

    def _next_leader(self, flight: Flight) -> None:
        flight.turn += 1
        while flight.waiters:
            if flight.waiters.pop(0).wake(LEAD):
                return
        flight.done = flight.dropped = True
        if self.under_way.get(flight.key) is flight:
            del self.under_way[flight.key]

    def _left(self, flight: Flight) -> float:
        return max(0.0, (flight.deadline_ns - self._clock.monotonic_ns()) / 1e9)

    # ---- leading ----

    def _lead(self, flight: Flight, turn: int, work: Callable[[Flight], Any]) -> Any:
        outer = _leading.get()
        _leading.set((flight, *outer))
        try:
            result = work(flight)
        except Exception as error:
            self._land(flight, None, error)
            raise
        except BaseException:
            self._hand_over(flight, turn)
            raise
        finally:
            _leading.set(outer)
        self._land(flight, result, None)
        return result

    async def _alead(self, flight: Flight, turn: int, work: Callable[[Flight], Awaitable[Any]]) -> Any:
        outer = _leading.get()
        _leading.set((flight, *outer))
        try:
            result = await work(flight)
        except Exception as error:
            self._land(flight, None, error)
            raise
        except BaseException:  # CancelledError, GeneratorExit
            self._hand_over(flight, turn)
            raise
        finally:
            _leading.set(outer)
        self._land(flight, result, None)
        return result

    def _land(self, flight: Flight, result: Any, error: BaseException | None) -> None:
        with _lock:
            if flight.done:
                return
            flight.done, flight.result, flight.error = True, result, error
            if self.under_way.get(flight.key) is flight:
                del self.under_way[flight.key]
            if flight.waiters:
                waiters, flight.waiters = flight.waiters, []
                for waiter in waiters:
                    waiter.wake(LANDED)

    def _hand_over(self, flight: Flight, turn: int) -> None:
        with _lock:
            if not flight.done and flight.turn == turn:
                self._next_leader(flight)


def _leads_back(flight: Flight, mine: tuple[Flight, ...]) -> bool:
    """Whether waiting for it is waiting for oneself."""
    if not mine:
        return False
    seen: set[int] = set()
    look = [flight]
    while look:
        here = look.pop()
        if here in mine:
            return True
        if id(here) not in seen:
            seen.add(id(here))
            look += here.waits
    return False


def _blocks_its_loop(flight: Flight, loop: Any) -> bool:
    return loop is None and flight.loop is not None and flight.loop is running_loop()


def _outcome(flight: Flight) -> Any:
    if flight.error is None:
        return flight.result
    raise flight.error
