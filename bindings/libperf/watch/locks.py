"""Locks and queues between threads: threading.Lock and RLock as the program makes them, and queue.Queue."""

import operator
import sys
import threading
from typing import Any

from .._scheduler import emit, enter, leave, session
from .patch import Patches
from .resources import (
    ACQUIRE,
    ACQUIRED,
    GET,
    GOT,
    GOT_NOWAIT,
    HAS_PUT,
    JOIN,
    JOINED,
    LOCK,
    NOT_ACQUIRED,
    NOT_GOT,
    NOT_PUT,
    PUT,
    PUT_NOWAIT,
    QUEUE,
    RELEASE,
    TASK_DONE,
    is_users,
    place_of_caller,
    resource,
    watch_making,
)

_maxsize = operator.attrgetter("maxsize")


def _one(lock: object) -> int:
    return 1


def watch_thread_locks(patches: Patches) -> None:
    """Only locks that the program itself makes from now on: those of libraries are theirs."""
    for name, watched in (("Lock", WatchedLock), ("RLock", WatchedRLock)):
        patches.set(threading, name, _factory(getattr(threading, name), watched))


class _Kind(type):
    """Whose instances are also the locks of another class."""

    plain: Any

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (WatchedLock, type(cls.plain())))


def _factory(original: Any, watched: Any) -> Any:
    def __new__(cls: Any, *args: Any) -> Any:
        lock = original(*args)
        return watched(lock) if session() and is_users(sys._getframe(1).f_code.co_filename) else lock

    name = original.__name__ if isinstance(original, type) else watched.__name__.removeprefix("Watched")
    return _Kind(name, (), {"__new__": __new__, "plain": staticmethod(original), "__doc__": original.__doc__})


class WatchedLock:
    """A lock that says who waits for it, who holds it, and who gives it back."""

    __slots__ = ("__weakref__", "_libperf_id", "_libperf_place", "_lock")

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._libperf_place = place_of_caller()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        key = resource(self, LOCK, _one)
        emit(ACQUIRE, key)
        acquired: bool = False
        try:
            acquired = self._lock.acquire(blocking, timeout)
        finally:
            emit(ACQUIRED if acquired else NOT_ACQUIRED, key)
        return acquired

    def release(self) -> None:
        emit(RELEASE, resource(self, LOCK, _one))
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def _is_owned(self) -> bool:  # what threading.Condition would find out by trying
        return bool(self._lock.locked())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)

    def __repr__(self) -> str:
        return repr(self._lock)


class WatchedRLock(WatchedLock):
    """Taking it again while one holds it is nobody's business."""

    __slots__ = ("_depth",)

    def __init__(self, lock: Any) -> None:
        super().__init__(lock)
        self._depth = 0  # changed by who holds it

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock._is_owned():
            acquired = bool(self._lock.acquire(blocking, timeout))
        else:
            acquired = super().acquire(blocking, timeout)
        self._depth += acquired
        return acquired

    def release(self) -> None:
        if not self._lock._is_owned():
            self._lock.release()  # which raises
        self._depth -= 1
        if self._depth:
            self._lock.release()
        else:
            super().release()

    def _is_owned(self) -> bool:
        return bool(self._lock._is_owned())

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._depth = 0

    def _release_save(self) -> Any:
        emit(RELEASE, resource(self, LOCK, _one))
        depth, self._depth = self._depth, 0
        return depth, self._lock._release_save()

    def _acquire_restore(self, saved: Any) -> None:
        key = resource(self, LOCK, _one)
        emit(ACQUIRE, key)
        self._lock._acquire_restore(saved[1])
        self._depth = saved[0]
        emit(ACQUIRED, key)


def _may_wait(code: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """The argument `block`, of get() or of put()."""
    place = 0 if code == GOT_NOWAIT else 1
    return bool(args[place] if len(args) > place else kwargs.get("block", True))


def watch_queues(patches: Patches) -> None:
    import queue

    cls: Any = queue.Queue
    watch_making(patches, cls)

    def bracket(begin: int, end: int, failed: int, at_once: int = 0) -> Any:
        """`at_once` is written in place of the others by a call that may not wait."""

        def make(original: Any) -> Any:
            def bracketed(self: Any, *args: Any, **kwargs: Any) -> Any:
                key = resource(self, QUEUE, _maxsize)
                may_wait = not at_once or _may_wait(at_once, args, kwargs)
                if may_wait:
                    emit(begin, key)
                enter()  # the conditions it is made of
                how = failed if may_wait else 0
                try:
                    result = original(self, *args, **kwargs)
                    how = end if may_wait else at_once
                    return result
                finally:
                    leave()
                    if how:
                        emit(how, key)

            return bracketed

        return make

    def make_task_done(original: Any) -> Any:
        def task_done(self: Any) -> None:
            emit(TASK_DONE, resource(self, QUEUE, _maxsize))
            original(self)

        return task_done

    patches.wrap(cls, "get", "self, block, timeout", bracket(GET, GOT, NOT_GOT, GOT_NOWAIT))
    patches.wrap(cls, "put", "self, item, block, timeout", bracket(PUT, HAS_PUT, NOT_PUT, PUT_NOWAIT))
    patches.wrap(cls, "task_done", "self", make_task_done)
    patches.wrap(cls, "join", "self", bracket(JOIN, JOINED, JOINED))
