"""asyncio: the loop's handles, futures and tasks are ours while events are written; see scheduler/loop.c."""

import asyncio
import selectors
import sys
from asyncio import base_events, events, futures, locks, tasks
from typing import Any

from .. import _sampler, _scheduler
from .._core import lib
from .._scheduler import emit, id_of, new_id, set_loop
from ..profiler.watchdog import threshold_ns
from .patch import Patches
from .resources import watch_asyncio

RESOLVE: int = lib.PERF_EVENT_RESOLVE
AWAIT: int = lib.PERF_EVENT_AWAIT
SELECT: int = lib.PERF_EVENT_SELECT
HOST: int = lib.PERF_EVENT_HOST
HOSTED: int = lib.PERF_EVENT_HOSTED


def watch_loops(patches: Patches) -> None:
    from _asyncio import Future, Task

    if futures.Future is not Future or tasks.Task is not Task:
        return patches.skip("asyncio.Future")  # in Python, or another tool's
    handle, timer_handle, future, task = _loop_types(Future, Task)
    patches.set(events, "Handle", handle)
    patches.set(events, "TimerHandle", timer_handle)
    patches.set(futures, "Future", future)
    patches.set(tasks, "Task", task)
    for name, method in _scheduler.loop_methods(base_events.BaseEventLoop).items():
        patches.set(base_events.BaseEventLoop, name, method)
    _watch_eager_tasks(patches, Task, task)
    _watch_hosts(patches, base_events.BaseEventLoop)
    _watch_selector(patches, selectors.DefaultSelector)
    _watch_gathering(patches, tasks._GatheringFuture)  # type: ignore[attr-defined]
    _watch_groups(patches, asyncio.TaskGroup)
    _watch_event(patches, locks.Event)
    watch_asyncio(patches)


def say_running_loop() -> None:
    """When a session begins inside of a loop: what runs now counts as the thread's own, what comes as the loop's."""
    if loop := asyncio._get_running_loop():
        emit(HOST, new_id(), id_of(loop))
        _sampler.enter(threshold_ns())


_types: tuple[type[Any], ...] | None = None


def _loop_types(future: Any, task: Any) -> tuple[type[Any], ...]:
    """Made once: what one session made may still wait when the next begins."""
    global _types
    if _types is None:
        plain = events.TimerHandle
        handle, timer_handle, future, task = _scheduler.loop_types(events.Handle, plain, future, task)

        class Timers(type):
            """asyncio compares a timer with those that are TimerHandles: ours, and those made before."""

            def __instancecheck__(cls, instance: object) -> bool:
                return isinstance(instance, plain)

        _types = handle, Timers("TimerHandle", (timer_handle,), {"__slots__": ()}), future, task
    return _types


def _watch_eager_tasks(patches: Patches, plain: Any, ours: Any) -> None:
    """Python 3.12: the factory that everybody shares keeps the class of its tasks in its closure."""
    factory = getattr(tasks, "eager_task_factory", None)
    for cell in getattr(factory, "__closure__", None) or ():
        if cell.cell_contents is plain:
            patches.set(cell, "cell_contents", ours)


# ---- the thread lends itself to the loop ----


def _watch_hosts(patches: Patches, cls: Any) -> None:
    until_complete = cls.run_until_complete.__code__

    def awaited(loop: Any) -> Any:
        """What run_until_complete() is going to wait for, when that is who calls; else None."""
        frame = sys._getframe(2)
        while frame and frame.f_locals.get("self") is loop:
            if frame.f_code is until_complete:
                return frame.f_locals.get("future")
            frame = frame.f_back  # type: ignore[assignment]
        return None

    def make_run_forever(original: Any) -> Any:
        def run_forever(self: Any) -> None:
            _watch_selector(patches, type(getattr(self, "_selector", None)))
            future = awaited(self)
            key = id_of(future) if future is not None else new_id()
            self._libperf_until = key if future is None else 0
            loop = id_of(self)
            emit(HOST, key, loop)
            outer = set_loop(loop)
            _sampler.enter(threshold_ns())
            try:
                original(self)
            finally:
                _sampler.leave()
                set_loop(outer)
                emit(HOSTED, key, loop)

        return run_forever

    def make_stop(original: Any) -> Any:
        def stop(self: Any) -> None:
            if key := getattr(self, "_libperf_until", 0):
                emit(RESOLVE, key)
            original(self)

        return stop

    patches.wrap(cls, "run_forever", "self", make_run_forever)
    patches.wrap(cls, "stop", "self", make_stop)


def _watch_selector(patches: Patches, cls: Any) -> None:
    """Of one class, when it has a select() that is not watched yet."""
    select = vars(cls).get("select")
    if select is None or hasattr(select, "_libperf_watched"):
        return

    def make(original: Any) -> Any:
        def select(self: Any, timeout: float | None = None) -> Any:
            loop: Any = asyncio._get_running_loop()
            if getattr(loop, "_selector", None) is not self:
                return original(self, timeout)
            _sampler.idle()
            try:
                if timeout is not None and timeout <= 0:
                    return original(self, timeout)
                since = loop.time()
                ready = original(self, timeout)
                emit(SELECT, 0, int(since * 1e9))
                return ready
            finally:
                _sampler.busy()

        select._libperf_watched = True  # type: ignore[attr-defined]
        return select

    patches.wrap(cls, "select", "self, timeout", make)


# ---- what is awaited, and done perhaps already ----


def _watch_gathering(patches: Patches, cls: Any) -> None:
    """gather()'s future is made without the loop's create_future()."""

    def make_await(original: Any) -> Any:
        def __await__(self: Any) -> Any:
            emit(AWAIT, id_of(self))
            return original(self)

        return __await__

    def make_resolve(original: Any) -> Any:
        def resolve(self: Any, value: Any) -> None:
            emit(RESOLVE, id_of(self))
            original(self, value)

        return resolve

    patches.wrap(cls, "__await__", None, make_await)
    patches.wrap(cls, "set_result", None, make_resolve)
    patches.wrap(cls, "set_exception", None, make_resolve)


def _watch_groups(patches: Patches, cls: Any) -> None:
    def make_create_task(original: Any) -> Any:
        def create_task(self: Any, coro: Any, **options: Any) -> Any:
            task = original(self, coro, **options)
            self.__dict__.setdefault("_libperf_tasks", []).append(id_of(task))
            return task

        return create_task

    def make_exit(original: Any) -> Any:
        async def __aexit__(self: Any, et: Any, exc: Any, tb: Any) -> Any:
            for key in self.__dict__.get("_libperf_tasks", ()):
                emit(AWAIT, key)
            try:
                return await original(self, et, exc, tb)
            finally:
                del exc, tb  # which hold this frame

        return __aexit__

    patches.wrap(cls, "create_task", None, make_create_task)
    patches.wrap(cls, "__aexit__", "self, et, exc, tb", make_exit)


def _watch_event(patches: Patches, cls: Any) -> None:
    def make_set(original: Any) -> Any:
        def set(self: Any) -> None:
            if not self.is_set():
                self._libperf_set = new_id()
                emit(RESOLVE, self._libperf_set)
            original(self)

        return set

    def make_wait(original: Any) -> Any:
        async def wait(self: Any) -> Any:
            key = getattr(self, "_libperf_set", None)
            if key and self.is_set():
                emit(AWAIT, key)
            return await original(self)

        return wait

    patches.wrap(cls, "set", "self", make_set)
    patches.wrap(cls, "wait", "self", make_wait)
