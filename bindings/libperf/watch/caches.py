"""Caches: what they wait for are spans, and a thread that waits for a flight says whose."""

from types import TracebackType
from typing import Any

from .._core import lib
from .._scheduler import emit, enter, leave, new_id
from ..spans import span
from .patch import Patches

RESOLVE: int = lib.PERF_EVENT_RESOLVE
WAIT_FOR: int = lib.PERF_EVENT_WAIT_FOR
WAIT: int = lib.PERF_EVENT_WAIT
WAITED: int = lib.PERF_EVENT_WAITED

_open: set[int] = set()  # tickets of threads that nobody has woken


def watch_waits(patches: Patches) -> None:
    from ..cache import waits
    from . import caches

    _open.clear()
    patches.set(waits, "watcher", caches)


def tier(cache: str, name: str) -> Any:
    return span(f"cache {cache}: {name}")


def flight(cache: str, ticket: int) -> Any:
    return _Flight(cache, ticket) if ticket else tier(cache, "flight")


def ticket() -> int:
    number = new_id()
    _open.add(number)
    return number


def woken(ticket: int) -> None:
    _open.discard(ticket)
    emit(RESOLVE, ticket)


class _Flight:
    """The wait of a thread. One that ends before it was woken ran into its time limit."""

    __slots__ = ("_outermost", "_span", "_ticket")

    def __init__(self, cache: str, ticket: int) -> None:
        self._span = tier(cache, "flight")
        self._ticket = ticket
        self._outermost = False

    def __enter__(self) -> None:
        self._span.__enter__()
        self._outermost = enter()
        if self._outermost:
            emit(WAIT_FOR, self._ticket)
            emit(WAIT, 0, 0, 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        leave()
        if self._outermost:
            emit(WAITED, 0, 0, self._ticket in _open)
        _open.discard(self._ticket)
        self._span.__exit__(kind, error, traceback)
