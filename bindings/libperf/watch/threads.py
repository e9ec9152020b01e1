"""Threads: who starts whom, what they wait for, and executors' work."""

import operator
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from .. import _scheduler
from .._core import lib
from .._scheduler import begin_thread, emit, enter, id_of, inside, leave, new_id, set_label, span
from .patch import Patches
from .resources import EXECUTOR, resource, watch_making

RUN: int = lib.PERF_EVENT_RUN
END: int = lib.PERF_EVENT_END
SPAWN: int = lib.PERF_EVENT_SPAWN
RESOLVE: int = lib.PERF_EVENT_RESOLVE
AWAIT: int = lib.PERF_EVENT_AWAIT
SUBMIT: int = lib.PERF_EVENT_SUBMIT
WAIT_FOR: int = lib.PERF_EVENT_WAIT_FOR
WAIT: int = lib.PERF_EVENT_WAIT
WAIT_EXECUTOR: int = lib.PERF_EVENT_WAIT_EXECUTOR
WAITED: int = lib.PERF_EVENT_WAITED
WORK: int = lib.PERF_ACTOR_WORK

_SAID_MAX = 200  # futures that one wait of as_completed() names


# ---- a thread's waits; the outermost is said, what it is made of is not ----


def _wait(keys: Iterable[int], count: int) -> bool:
    """Begin one, until `count` of the keys are done; is it the outermost?"""
    outermost = enter()
    if outermost:
        for key in keys:
            emit(WAIT_FOR, key)
        emit(WAIT, 0, 0, count)
    return outermost


def _waited(outermost: bool, late: bool = False, not_done: int = 0) -> None:
    leave()
    if outermost:
        emit(WAITED, 0, not_done, late)


def watch_sleep(patches: Patches) -> None:
    patches.set(time, "sleep", _scheduler.watch_sleep(time))


# ---- threading ----


def watch_threads(patches: Patches) -> None:
    _watch_thread(patches, threading.Thread)
    _watch_condition(patches, threading.Condition)
    _watch_event(patches, threading.Event)
    from .locks import watch_thread_locks

    watch_thread_locks(patches)


def _is_executors(thread: Any) -> bool:
    """A thread that an executor starts is nobody: only the work in it is."""
    module = sys.modules.get("concurrent.futures.thread")
    return module is not None and getattr(thread, "_target", None) is module._worker


def _watch_thread(patches: Patches, cls: Any) -> None:
    def make_start(original: Any) -> Any:
        def start(self: Any) -> None:
            if not _is_executors(self):
                self._libperf_label = span()
                emit(SPAWN, id_of(self))
            self._started._libperf_private = True
            enter()  # waiting for the new thread's first sign of life is not the program's
            try:
                original(self)
            finally:
                leave()

        return start

    def make_bootstrap(original: Any) -> Any:
        def _bootstrap(self: Any) -> Any:
            label = getattr(self, "_libperf_label", None)
            if label is None:
                return original(self)
            begin_thread(id_of(self), label)
            try:
                original(self)
            finally:
                emit(END, id_of(self))

        return _bootstrap

    def make_join(original: Any) -> Any:
        def join(self: Any, timeout: float | None = None) -> Any:
            if not hasattr(self, "_libperf_label"):
                return original(self, timeout)
            if not self.is_alive():
                emit(AWAIT, id_of(self))
                return original(self, timeout)
            outermost = _wait((id_of(self),), 1)
            try:
                original(self, timeout)
            finally:
                _waited(outermost, self.is_alive())

        return join

    patches.wrap(cls, "start", "self", make_start)
    patches.wrap(cls, "_bootstrap", "self", make_bootstrap)
    patches.wrap(cls, "join", "self, timeout", make_join)


def _watch_condition(patches: Patches, cls: Any) -> None:
    """Each wait has a key of its own, in the order in which notify() wakes them."""

    def make_wait(original: Any) -> Any:
        def wait(self: Any, timeout: float | None = None) -> Any:
            if inside():
                return original(self, timeout)
            key = new_id()
            waiting = self.__dict__.setdefault("_libperf_waiting", [])
            waiting.append(key)
            outermost = _wait((key,), 1)
            notified = True
            try:
                notified = original(self, timeout)
            finally:
                if key in waiting:
                    waiting.remove(key)
                _waited(outermost, not notified)
            return notified

        return wait

    def make_notify(original: Any) -> Any:
        def notify(self: Any, n: int = 1) -> None:
            waiting = self.__dict__.get("_libperf_waiting")
            if waiting:
                for key in waiting[:n]:
                    emit(RESOLVE, key)
                del waiting[:n]
            original(self, n)

        return notify

    patches.wrap(cls, "wait", "self, timeout", make_wait)
    patches.wrap(cls, "notify", "self, n", make_notify)


def _watch_event(patches: Patches, cls: Any) -> None:
    """Waiting for an event that is set takes no time, but may need more when what sets it is faster or slower."""

    def make_set(original: Any) -> Any:
        def set(self: Any) -> None:
            if not self.is_set() and not inside() and not hasattr(self, "_libperf_private"):
                self._libperf_set = new_id()
                emit(RESOLVE, self._libperf_set)
            original(self)

        return set

    def make_wait(original: Any) -> Any:
        def wait(self: Any, timeout: float | None = None) -> Any:
            key = getattr(self, "_libperf_set", None)
            if key and self.is_set() and not inside():
                emit(AWAIT, key)
            return original(self, timeout)

        return wait

    patches.wrap(cls, "set", "self", make_set)
    patches.wrap(cls, "wait", "self, timeout", make_wait)


# ---- concurrent.futures ----


def watch_futures(patches: Patches) -> None:
    from concurrent import futures
    from concurrent.futures import _base

    _watch_future(patches, _base.Future)
    for module in (futures, _base):
        patches.wrap(module, "wait", "fs, timeout, return_when", _make_wait)
        patches.wrap(module, "as_completed", "fs, timeout", _make_as_completed)


def _watch_future(patches: Patches, cls: Any) -> None:
    def make_resolve(original: Any) -> Any:
        def resolve(self: Any, value: Any) -> None:
            emit(RESOLVE, id_of(self))
            original(self, value)

        return resolve

    def make_cancel(original: Any) -> Any:
        def cancel(self: Any) -> Any:
            if self._state == "PENDING":
                emit(RESOLVE, id_of(self))
            return original(self)

        return cancel

    def make_result(original: Any) -> Any:
        def result(self: Any, timeout: float | None = None) -> Any:
            try:
                if self.done():
                    emit(AWAIT, id_of(self))
                    return original(self, timeout)
                outermost = _wait((id_of(self),), 1)
                try:
                    return original(self, timeout)
                finally:
                    _waited(outermost, not self.done())
            finally:
                del self  # an exception of its result holds this frame

        return result

    patches.wrap(cls, "set_result", "self, result", make_resolve)
    patches.wrap(cls, "set_exception", "self, exception", make_resolve)
    patches.wrap(cls, "cancel", "self", make_cancel)
    patches.wrap(cls, "result", "self, timeout", make_result)
    patches.wrap(cls, "exception", "self, timeout", make_result)


def _make_wait(original: Any) -> Any:
    def wait(fs: Iterable[Any], timeout: float | None = None, return_when: str = "ALL_COMPLETED") -> Any:
        futures = set(fs)
        outermost = _wait(map(id_of, futures), len(futures) if return_when != "FIRST_COMPLETED" else 1)
        left = -1
        try:
            answer = original(futures, timeout, return_when)
            left = len(answer.not_done)
            return answer
        finally:
            late = left > 0 and (return_when == "ALL_COMPLETED" or left == len(futures))
            _waited(outermost, late, max(left, 0))

    return wait


def _make_as_completed(original: Any) -> Any:
    def as_completed(fs: Iterable[Any], timeout: float | None = None) -> Iterator[Any]:
        futures = set(fs)
        done = original(futures, timeout)
        try:
            while futures:
                if any(future.done() for future in futures):
                    future = next(done)
                    emit(AWAIT, id_of(future))
                else:
                    said = futures if len(futures) <= _SAID_MAX else ()
                    outermost = _wait(map(id_of, said), 1 if said else 0)
                    try:
                        future = next(done)
                    finally:
                        _waited(outermost, not_done=len(futures) - 1)
                futures.discard(future)
                yield future
                del future
        finally:
            done.close()

    return as_completed


# ---- executors ----


class _Submitting(threading.local):
    executor = 0


_submitting = _Submitting()


def watch_executors(patches: Patches) -> None:
    from concurrent.futures import thread

    _watch_work(patches, thread._WorkItem)
    cls: Any = thread.ThreadPoolExecutor
    watch_making(patches, cls)

    def make_submit(original: Any) -> Any:
        def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            outer, _submitting.executor = _submitting.executor, _executor(self)
            enter()  # looking for an idle thread is no wait
            try:
                return original(self, fn, *args, **kwargs)
            finally:
                leave()
                _submitting.executor = outer

        return submit

    def make_shutdown(original: Any) -> Any:
        def shutdown(self: Any, wait: bool = True, *, cancel_futures: bool = False) -> Any:
            if not wait:
                return original(self, wait, cancel_futures=cancel_futures)
            outermost = enter()
            if outermost:
                emit(WAIT_EXECUTOR, _executor(self))
            try:
                original(self, wait, cancel_futures=cancel_futures)
            finally:
                _waited(outermost)

        return shutdown

    patches.wrap(cls, "submit", "self, fn", make_submit)
    patches.wrap(cls, "shutdown", "self, wait, cancel_futures", make_shutdown)


_max_workers = operator.attrgetter("_max_workers")


def _executor(executor: Any) -> int:
    prefix = executor._thread_name_prefix
    # the loop's own executor keeps asyncio's name for it; a pool without a name is known by its line
    name = "" if prefix.startswith("ThreadPoolExecutor-") else prefix.rstrip("-_")
    return resource(executor, EXECUTOR, _max_workers, name)


at_work: dict[int, Any] = {}  # futures of what executors' threads do now; one is done a moment before END is written
os.register_at_fork(after_in_child=at_work.clear)


def _watch_work(patches: Patches, cls: Any) -> None:
    def make_init(original: Any) -> Any:
        def __init__(self: Any, future: Any, fn: Any, args: Any, kwargs: Any) -> None:
            original(self, future, fn, args, kwargs)
            self._libperf_work = new_id(), span()
            emit(SUBMIT, self._libperf_work[0], _submitting.executor)

        return __init__

    def make_run(original: Any) -> Any:
        def run(self: Any) -> Any:
            work = getattr(self, "_libperf_work", None)
            if work is None:
                return original(self)
            key, label = work
            outer = set_label(label)
            at_work[key] = self.future
            emit(RUN, key, 0, WORK)
            try:
                original(self)
            finally:
                del self  # an exception of the work knows this frame as a caller
                emit(END, key)
                set_label(outer)
                at_work.pop(key, None)

        return run

    patches.wrap(cls, "__init__", "self, future, fn, args, kwargs", make_init)
    patches.wrap(cls, "run", "self", make_run)
