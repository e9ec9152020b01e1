"""An asyncio event loop in virtual time: hours pass in milliseconds, and every run takes exactly the same time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import select
import selectors
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

from .. import _scheduler
from .._core import lib

__all__ = ["VirtualLoop", "run_virtual", "virtual_time", "work"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_START_NS = 1_000_000_000_000
_NEVER = 2**63 / 1e9  # after 292 years the core's nanoseconds end
_one_at_a_time = threading.Lock()


def run_virtual(main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run an async program in virtual time, and return its result.

    >>> async def main():
    ...     await asyncio.gather(asyncio.sleep(60), asyncio.sleep(3600))
    ...     return asyncio.get_running_loop().time()
    >>> run_virtual(main)
    4600.0
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main() if callable(main) else main)


def work(seconds: float) -> None:
    """Work on the CPU: on a running VirtualLoop `seconds` and as much CPU time go by, while nothing else runs."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError(f"work() passes virtual time, which {type(loop).__name__} has not: use run_virtual()")
    loop._hold(seconds, on_cpu=True)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when nothing can run: then it jumps to the next timer.

    >>> with asyncio.Runner(loop_factory=VirtualLoop) as runner: ...     # or run_virtual(main)

    `time()` begins at 1000.0 and is counted in whole nanoseconds; timers of the same nanosecond fire in the order in
    which they were made. `work(seconds)` and, in the loop's thread, `time.sleep(seconds)` hold up the loop for that
    long. The core's events and spans take this time while the loop runs.

    Threads and sockets are real. What `run_in_executor` started is waited for and takes no virtual time, so it must not
    wait for the loop's timers. Sockets are polled before time jumps. A loop that nothing can wake raises RuntimeError
    instead of hanging; while other threads are alive it gives them `patience` real seconds. One loop runs at a time.
    """

    patience: float = 10.0

    _scheduled: list[asyncio.TimerHandle]  # asyncio's heap of timers
    _clock_resolution: float
    _selector: selectors.BaseSelector

    def __init__(self) -> None:
        self._now_ns = self._cpu_ns = _START_NS
        self._timers = itertools.count()
        self._at_work: list[asyncio.Future[Any]] = []
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Virtual seconds."""
        return self._now_ns / 1e9

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back at a time, to the nanosecond."""
        if math.isfinite(when):
            when = round(when * 1e9) / 1e9
        return super().call_at(_Deadline(when, next(self._timers)), callback, *args, context=context)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call in a thread; time stands still until it answers."""
        future = super().run_in_executor(executor, func, *args)
        self._at_work.append(future)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio's own
        """End the default executor's threads. A time limit would be over at once, and is ignored."""
        ended = self.create_future()
        self._at_work.append(ended)
        try:
            await super().shutdown_default_executor()
        finally:
            ended.cancel()

    def run_forever(self) -> None:
        """Run until stop(). Meanwhile the core has this loop's time, and time.sleep() in this thread passes it."""
        with _clocks_of(self):
            super().run_forever()

    def _hold(self, seconds: float, on_cpu: bool) -> None:
        if seconds < 0:
            raise ValueError(f"{seconds!r} seconds are less than none")
        ns = round(seconds * 1e9)
        self._cpu_ns += ns * on_cpu
        self._go_to(self._now_ns + ns)

    def _go_to(self, ns: int) -> None:
        if _scheduler.session():
            _let_threads_end()
        self._now_ns = ns
        self._clock_resolution = max(1e-9, math.ulp(self.time()))  # asyncio looks for timers before time + resolution
        lib.perf_events_set_time(self._now_ns, self._cpu_ns)

    def _jump(self) -> bool:
        """Go to the next timer, unless there is none, or a thread is at work."""
        self._at_work = [future for future in self._at_work if not future.done()]
        deadline = self._scheduled[0].when() if self._scheduled else math.inf
        if self._at_work or deadline >= _NEVER:
            return False
        since = self._now_ns
        self._go_to(round(deadline * 1e9))
        if _scheduler.session():
            _scheduler.emit(lib.PERF_EVENT_SELECT, 0, since)
        return True

    def _patience(self) -> float | None:
        """How long to wait really; None: as long as it takes."""
        if self._at_work or len(self._selector.get_map()) > 1:  # more than the loop's own pipe
            return None
        return self.patience if threading.active_count() > 1 else 0

    def _deadlock(self) -> RuntimeError:
        names = ((task.get_name(), getattr(task.get_coro(), "__qualname__", "?")) for task in asyncio.all_tasks(self))
        tasks = sorted(f"{task} in {coroutine}" for task, coroutine in names)
        return RuntimeError(
            f"deadlock: no timer, socket or thread will ever wake the loop; waiting: {', '.join(tasks) or 'no task'}"
        )


def _let_threads_end() -> None:
    """Work whose future is done ended now, also if its thread has not come to say so yet."""
    threads = sys.modules.get("libperf.watch.threads")
    while threads and any(future.done() for future in list(threads.at_work.values())):
        select.select([], [], [], 0.0001)  # really: time.sleep() may be this loop's


class _Deadline(float):
    """A time. Of two that are equal, the one made first comes first."""

    number: int

    def __new__(cls, when: float, number: int) -> _Deadline:
        deadline = super().__new__(cls, when)
        deadline.number = number
        return deadline

    def __lt__(self, other: float) -> bool:
        if isinstance(other, _Deadline) and self == other:
            return self.number < other.number
        return float.__lt__(self, other)


class _Selector(selectors.DefaultSelector):
    """Lets the loop jump in time where others wait."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0 or self._loop._jump():
            return ready
        ready = super().select(self._loop._patience())
        if not ready:
            raise self._loop._deadlock()
        return ready


_nesting = 0


@contextlib.contextmanager
def _core_has(now_ns: int, cpu_ns: int) -> Iterator[None]:
    """The core has this time; the outermost gives its own clocks back."""
    global _nesting
    lib.perf_events_set_time(now_ns, cpu_ns)
    _nesting += 1
    try:
        yield
    finally:
        _nesting -= 1
        if not _nesting:
            lib.perf_events_set_time(0, 0)


def virtual_time() -> contextlib.AbstractContextManager[None]:
    """No real time in what is recorded, also before and after run_virtual().

    >>> with virtual_time(), libperf.Profiler() as profiler:
    ...     run_virtual(main)
    >>> profiler.analyze()
    """
    return _core_has(_START_NS, _START_NS)


@contextlib.contextmanager
def _clocks_of(loop: VirtualLoop) -> Iterator[None]:
    """The core's time is the loop's, and time.sleep() in its thread passes it."""
    if not _one_at_a_time.acquire(blocking=False):
        raise RuntimeError("a VirtualLoop is running already: the core has one clock")
    real_sleep = time.sleep

    def sleep(seconds: Any) -> None:
        if asyncio._get_running_loop() is loop:
            loop._hold(seconds, on_cpu=False)
        else:
            real_sleep(seconds)

    time.sleep = sleep
    try:
        with _core_has(loop._now_ns, loop._cpu_ns):
            yield
    finally:
        if time.sleep is sleep:
            time.sleep = real_sleep
        _one_at_a_time.release()
