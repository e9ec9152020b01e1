"""Many items of one caller: submitted as room is there, answered in order."""

from collections import deque
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from time import monotonic
from typing import Any, Generic, TypeVar

from .._batcher import BatchFuture
from .errors import QueueFull
from .settings import seconds_or_none

__all__ = ["BatchMap", "map_of_stream"]

R = TypeVar("R")


class BatchMap(Generic[R]):
    """What `map()` returns: `await` it, or ask any thread for `result()`. Both again: the same answer.

    At most `window` items are under way; the next ones are taken from the iterable while results are waited for.
    """

    def __init__(
        self, submit: Callable[[Any], BatchFuture[R]], items: Iterable[Any], window: int, return_exceptions: bool
    ) -> None:
        self._submit = submit
        self._items: Iterator[Any] = iter(items)
        self._window = window
        self._return_exceptions = return_exceptions
        self._under_way: deque[BatchFuture[R]] = deque()
        self._results: list[R | BaseException] = []
        self._error: BaseException | None = None
        self._busy = False
        self._put_off: list[Any] = []  # an item that found the queue full
        try:
            self._refill()
        except BaseException:
            self._fail(None)
            raise

    def __await__(self) -> Generator[Any, None, list[R]]:
        return self._wait().__await__()

    def result(self, timeout: float | None = None) -> list[R]:
        """All results, in order. TimeoutError: they were not there in time; the items go on, ask again."""
        until = None if timeout is None else monotonic() + (seconds_or_none("timeout", timeout) or 0.0)
        if timeout == float("inf"):
            until = None
        self._begin()
        try:
            while self._under_way:
                left = None if until is None else max(0.0, until - monotonic())
                # waiting is one thing, what it comes to is another: a TimeoutError can be the item's own
                first = self._under_way[0]
                try:
                    error = first.exception(left)
                except BaseException as interrupt:
                    if first.done():
                        self._fail(interrupt)  # else it was only the wait that ended
                    raise
                self._under_way.popleft()
                try:
                    self._take(first, error)
                except BaseException as failure:
                    self._fail(failure)
                    raise
        finally:
            self._busy = False
        return self._end()

    def cancel(self) -> None:
        """All that are not done yet. Whoever asks for the results then gets a CancelledError, and never a part of them."""
        if self._under_way:
            self._fail(None)

    def _fail(self, error: BaseException | None) -> None:
        """That is the answer from now on."""
        if self._error is None and not isinstance(error, Exception):
            from asyncio import CancelledError

            error = CancelledError()
        self._error = self._error or error
        self._items = iter(())
        self._put_off.clear()
        while self._under_way:
            self._under_way.popleft().cancel()

    async def _wait(self) -> list[R]:
        self._begin()
        try:
            while self._under_way:
                future = self._under_way.popleft()
                try:
                    value = await future
                except BaseException as error:
                    if not future.done() or future.cancelled():
                        raise  # we are cancelled, and it with us
                    self._take(future, error)
                else:
                    self._results.append(value)
                    self._refill()
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._busy = False
        return self._end()

    def _begin(self) -> None:
        if self._busy:
            raise RuntimeError("this map is being waited for already: share its results, or call map() again")
        self._busy = True

    def _take(self, future: BatchFuture[R], error: BaseException | None) -> None:
        if error is None:
            self._results.append(future.result())
        elif self._return_exceptions:
            self._results.append(error)
        else:
            self._fail(error)
            return
        self._refill()

    def _refill(self) -> None:
        under_way, submit = self._under_way, self._submit
        room = self._window - len(under_way)
        if 2 * room < self._window and under_way:  # many at a time: whole batches
            return
        put_off, self._put_off = self._put_off, []
        for item in chain(put_off, islice(self._items, room - len(put_off))):
            try:
                under_way.append(submit(item))
            except QueueFull:
                if not under_way:
                    raise
                self._put_off = [item]  # until one of ours is done
                return

    def _end(self) -> list[R]:
        if self._error is not None:
            raise self._error
        return self._results  # type: ignore[return-value]


async def map_of_stream(
    submit: Callable[[Any], BatchFuture[R]], items: AsyncIterable[Any], window: int, return_exceptions: bool
) -> list[R]:
    """The same for items that come one after the other."""
    under_way: deque[BatchFuture[R]] = deque()
    results: list[R] = []
    try:
        async for item in items:
            under_way.append(submit(item))
            while under_way and (under_way[0].done() or len(under_way) >= window):
                results.append(await _result_of(under_way.popleft(), return_exceptions))
        while under_way:
            results.append(await _result_of(under_way.popleft(), return_exceptions))
    finally:
        for future in under_way:
            future.cancel()
    return results


async def _result_of(future: BatchFuture[R], return_exceptions: bool) -> R:
    try:
        return await future
    except BaseException as error:
        if return_exceptions and future.done() and not future.cancelled():
            return error  # type: ignore[return-value]
        raise
