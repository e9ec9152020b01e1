"""What has a capacity or an order: naming it once, and asyncio's semaphores, locks and queues."""

import operator
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from .._core import lib
from .._scheduler import emit, id_of, session
from ..names import TEXT, intern
from .patch import Patches

RESOURCE: int = lib.PERF_EVENT_RESOURCE
WHERE: int = lib.PERF_EVENT_WHERE
ACQUIRE: int = lib.PERF_EVENT_ACQUIRE
ACQUIRED: int = lib.PERF_EVENT_ACQUIRED
NOT_ACQUIRED: int = lib.PERF_EVENT_NOT_ACQUIRED
RELEASE: int = lib.PERF_EVENT_RELEASE
GET: int = lib.PERF_EVENT_GET
GOT: int = lib.PERF_EVENT_GOT
NOT_GOT: int = lib.PERF_EVENT_NOT_GOT
GOT_NOWAIT: int = lib.PERF_EVENT_GOT_NOWAIT
PUT: int = lib.PERF_EVENT_PUT
HAS_PUT: int = lib.PERF_EVENT_HAS_PUT
NOT_PUT: int = lib.PERF_EVENT_NOT_PUT
PUT_NOWAIT: int = lib.PERF_EVENT_PUT_NOWAIT
TASK_DONE: int = lib.PERF_EVENT_TASK_DONE
JOIN: int = lib.PERF_EVENT_JOIN
JOINED: int = lib.PERF_EVENT_JOINED

SEMAPHORE: int = lib.PERF_RESOURCE_SEMAPHORE
LOCK: int = lib.PERF_RESOURCE_LOCK
QUEUE: int = lib.PERF_RESOURCE_QUEUE
EXECUTOR: int = lib.PERF_RESOURCE_EXECUTOR
_WORDS = {SEMAPHORE: "semaphore", LOCK: "lock", QUEUE: "queue", EXECUTOR: "executor"}

_told: set[int] = set()

# ---- names and places ----


def forget() -> None:
    """Name everything anew."""
    _told.clear()


def resource(thing: Any, kind: int, capacity: Callable[[Any], int], name: str = "") -> int:
    """The id of a resource, which is introduced at its first use."""
    key = id_of(thing)
    if key not in _told and session():
        _introduce(thing, key, kind, capacity(thing), name)
    return key


def _introduce(thing: Any, key: int, kind: int, capacity: int, name: str) -> None:
    _told.add(key)
    place = getattr(thing, "_libperf_place", None) or place_of_caller()
    name = name or getattr(thing, "_libperf_name", None) or Path(place).name or _WORDS[kind]
    emit(RESOURCE, key, kind | max(0, capacity) << 8, intern(TEXT, name))
    if place:
        emit(WHERE, key, 0, intern(TEXT, place))


def remember_place(thing: Any) -> None:
    """To be called where a resource is made."""
    if session():
        thing._libperf_place = place_of_caller()


_OURS = str(Path(__file__).parents[1])
_STANDARD = str(Path(sys.modules["os"].__file__ or "").parent)
_users: dict[str, bool] = {}


def is_users(file: str) -> bool:
    """Is it the program's own, not libperf, the standard library, or a package?"""
    known = _users.get(file)
    if known is None:
        others = file.startswith((_OURS, _STANDARD, "<frozen")) or "site-packages" in file or "dist-packages" in file
        known = _users[file] = not others
    return known


def place_of_caller() -> str:
    """The nearest line of the program itself, "tools/search.py:12"; empty when there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return ""
    file, folder = frame.f_code.co_filename, f"{Path.cwd()}/"
    return f"{file.removeprefix(folder)}:{frame.f_lineno}"


def watch_making(patches: Patches, cls: Any) -> None:
    def make(original: Any) -> Any:
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            remember_place(self)

        return __init__

    patches.wrap(cls, "__init__", None, make)


# ---- asyncio ----

_maxsize = operator.attrgetter("_maxsize")


def watch_asyncio(patches: Patches) -> None:
    from asyncio import locks, queues

    def capacity(semaphore: Any) -> int:
        known = getattr(semaphore, "_libperf_capacity", None) or getattr(semaphore, "_bound_value", None)
        return int(known or semaphore._value)

    def make_init(original: Any) -> Any:
        def __init__(self: Any, value: int = 1) -> None:
            original(self, value)
            self._libperf_capacity = value
            remember_place(self)

        return __init__

    patches.wrap(locks.Semaphore, "__init__", "self, value", make_init)
    _watch_acquire(patches, locks.Semaphore, SEMAPHORE, capacity)
    watch_making(patches, locks.Lock)
    _watch_acquire(patches, locks.Lock, LOCK, lambda lock: 1)
    watch_making(patches, queues.Queue)
    _watch_queue(patches, queues.Queue)


def _watch_acquire(patches: Patches, cls: Any, kind: int, capacity: Callable[[Any], int]) -> None:
    def make_acquire(original: Any) -> Any:
        async def acquire(self: Any) -> Any:
            key = resource(self, kind, capacity)
            emit(ACQUIRE, key)
            try:
                result = await original(self)
            except GeneratorExit:  # whoever drops the coroutine is not who waited
                raise
            except BaseException:
                emit(NOT_ACQUIRED, key)
                raise
            emit(ACQUIRED, key)
            return result

        return acquire

    def make_release(original: Any) -> Any:
        def release(self: Any) -> None:
            emit(RELEASE, resource(self, kind, capacity))
            original(self)

        return release

    patches.wrap(cls, "acquire", "self", make_acquire)
    patches.wrap(cls, "release", "self", make_release)


def _watch_queue(patches: Patches, cls: Any) -> None:
    get_code, put_code = cls.get.__code__, cls.put.__code__

    def bracket(begin: int, end: int, failed: int) -> Any:
        def make(original: Any) -> Any:
            async def bracketed(self: Any, *args: Any, **kwargs: Any) -> Any:
                key = resource(self, QUEUE, _maxsize)
                emit(begin, key)
                try:
                    result = await original(self, *args, **kwargs)
                except GeneratorExit:
                    raise
                except BaseException:
                    emit(failed, key)
                    raise
                emit(end, key)
                return result

            return bracketed

        return make

    def make_get_nowait(original: Any) -> Any:
        def get_nowait(self: Any) -> Any:
            item = original(self)
            if sys._getframe(1).f_code is not get_code:  # get() says so itself
                emit(GOT_NOWAIT, resource(self, QUEUE, _maxsize))
            return item

        return get_nowait

    def make_put_nowait(original: Any) -> Any:
        def put_nowait(self: Any, item: Any) -> None:
            if sys._getframe(1).f_code is not put_code and not self.full():
                emit(PUT_NOWAIT, resource(self, QUEUE, _maxsize))
            original(self, item)

        return put_nowait

    def make_task_done(original: Any) -> Any:
        def task_done(self: Any) -> None:
            emit(TASK_DONE, resource(self, QUEUE, _maxsize))
            original(self)

        return task_done

    patches.wrap(cls, "get", "self", bracket(GET, GOT, NOT_GOT))
    patches.wrap(cls, "put", "self, item", bracket(PUT, HAS_PUT, NOT_PUT))
    patches.wrap(cls, "get_nowait", "self", make_get_nowait)
    patches.wrap(cls, "put_nowait", "self, item", make_put_nowait)
    patches.wrap(cls, "task_done", "self", make_task_done)
    patches.wrap(cls, "join", "self", bracket(JOIN, JOINED, JOINED))
