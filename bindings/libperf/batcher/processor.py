"""`BatchProcessor`: one queue in front of a function that takes lists; threads and event loops submit single items."""

import inspect
from collections.abc import AsyncIterable, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .._batcher import BatchFuture
from ..tracing import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, _code_flags, _name_of
from .driver import Driver, loop_here
from .life import living
from .maps import BatchMap, map_of_stream
from .priority import Priority
from .settings import Settings, seconds_or_none
from .stats import BatchStats, make_stats
from .workers import WorkerDriver

__all__ = ["BatchProcessor"]

T = TypeVar("T")
R = TypeVar("R")


class BatchProcessor(Generic[T, R]):
    """Gathers single items and gives them to `process_func` in lists.

    >>> processor = libperf.BatchProcessor(embed, max_batch_size=32)
    >>> vector = await processor.submit("a text")                 # in any event loop
    >>> vector = processor.submit("a text").result(timeout=30)    # in any thread
    >>> vectors = await processor.map(texts, priority=libperf.Priority.LOW)

    process_func: takes a list of items, returns as many results in the same order (a list, an array, a mapping
        {index: result}; an exception instance is that item's failure). A coroutine function runs in an event loop: the one
        that `start()` was awaited in, else that of the batch's first item, else one of the processor's own. Any other runs
        in threads of the processor, at most `concurrency`.
    min_batch_size, max_batch_size: items in a batch. A batch goes as soon as the function is free: items that come meanwhile
        form the next one. More than one as a minimum waits for that many, up to `max_wait_time` seconds after its oldest
        item was submitted.
    max_batch_weight, weigher: a bound for the sum of `weigher(item)` (tokens, bytes) in a batch. An item above it goes alone
        (`oversize="alone"`), or raises ValueError in submit() (`oversize="reject"`).
    concurrency: batches at a time; "auto": found out, up to 16.
    max_queue, max_queue_weight, on_full: how many items may wait, and what happens to more: "block" (they wait outside),
        "reject" (QueueFull), "shed_oldest", "shed_lowest" (whose turn would come last), "shed_infeasible" (who cannot be in
        time).
    isolate: when the function raises: "fail_all", or "bisect" and "singles", which call it again for fewer of the items, one
        such batch at a time. Only for functions that may be called again with the same item.
    mode: "deadline": nobody starves; "strict": a more urgent item always goes first.
    target_latency: seconds that wait and service together should take for 95 of 100 items: batches are kept as small as
        that needs, where the load allows it.
    timeout: seconds that an item may take until its result is there, unless submit() says another; DeadlineExceeded.
    queue_timeout: seconds until its batch must have begun. process_timeout: seconds that one call of the function may take;
        a coroutine is cancelled, a thread is left alone and its slot counts as free.
    call_price: seconds of one item's waiting that a call less is worth (a function that costs money by the call, or quota):
        batches are made larger until waiting costs as much.
    deduplicate: True: equal items of a batch are given to the function once; or a function whose values are compared.
    name: under which it is seen in reports; default: the function's name.
    clock: nanoseconds that never go back; for tests.

    Any thread, any number of event loops, also one after the other; after fork the child's processor is empty. The function
    sees no context variables of those who submit. `with` and `async with` close it.
    """

    def __init__(
        self,
        process_func: Callable[[list[T]], Any],
        *,
        min_batch_size: int = 1,
        max_batch_size: int = 10,
        max_wait_time: float = 0.1,
        max_batch_weight: int | None = None,
        weigher: Callable[[T], float] | None = None,
        oversize: str = "alone",
        concurrency: int | str = 1,
        max_queue: int = 10_000,
        max_queue_weight: int | None = None,
        on_full: str = "block",
        isolate: str = "fail_all",
        mode: str = "deadline",
        target_latency: float | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        process_timeout: float | None = None,
        call_price: float | None = None,
        deduplicate: bool | Callable[[T], object] = False,
        name: str | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        settings = Settings(
            min_batch_size=min_batch_size,
            max_batch_size=max_batch_size,
            max_wait_time=max_wait_time,
            max_batch_weight=max_batch_weight,
            weigher=weigher,
            oversize=oversize,
            concurrency=concurrency,
            max_queue=max_queue,
            max_queue_weight=max_queue_weight,
            on_full=on_full,
            isolate=isolate,
            mode=mode,
            target_latency=target_latency,
            timeout=timeout,
            queue_timeout=queue_timeout,
            process_timeout=process_timeout,
            call_price=call_price,
            deduplicate=deduplicate,
            name=name,
            clock=clock,
        )
        self._begin(process_func, settings)

    @classmethod
    def _of(cls, process_func: Callable[[list[T]], Any], settings: Settings) -> Self:
        """With settings that were checked before."""
        self = cls.__new__(cls)
        self._begin(process_func, settings)
        return self

    def _begin(self, process_func: Callable[[list[T]], Any], settings: Settings) -> None:
        self.name = settings.name or _name_of(process_func)
        _check_arguments(process_func)
        self._driver = _driver_for(process_func)(process_func, settings, self.name)
        window = max(256, 4 * self._driver.slots_max * settings.max_batch_size)
        self._window = min(settings.max_queue, window)
        living.add(self._driver)
        # the queue's own method: nothing of Python is on an item's way
        self.submit = self._driver.queue.submit  # type: ignore[method-assign]

    def submit(
        self,
        data: T,
        priority: int = Priority.NORMAL,
        timeout: float | None = None,
        *,
        queue_timeout: float | None = None,
        tenant: object = None,
    ) -> BatchFuture[R]:
        """One item. `await` what it returns, or ask any thread for its `.result()`.

        priority: Priority; timeout: seconds until its result must be there, queue_timeout: until its batch must have begun,
        else DeadlineExceeded; tenant: for whom it is: tenants share the function evenly, however much each submits.

        Where the queue is full: waits for room (in an event loop it is the future that does), or raises QueueFull. Raises
        BatcherClosed, and ValueError for a time or a weight that makes no sense.
        """
        raise NotImplementedError  # each instance has its queue's own

    def map(
        self,
        items: Iterable[T],
        priority: int = Priority.NORMAL,
        timeout: float | None = None,
        *,
        queue_timeout: float | None = None,
        tenant: object = None,
        return_exceptions: bool = False,
    ) -> BatchMap[R]:
        """All results in order: `await` it, or `.result(timeout)`. The first failure in that order is raised, and the rest
        cancelled; with `return_exceptions` failures are among the results.

        What is iterated over is read as room is there: never more than `max_queue` ahead of the results.
        """
        submit = partial(self.submit, priority=priority, timeout=timeout, queue_timeout=queue_timeout, tenant=tenant)
        return BatchMap(submit, items, self._window, return_exceptions)

    async def amap(
        self,
        items: AsyncIterable[T] | Iterable[T],
        priority: int = Priority.NORMAL,
        timeout: float | None = None,  # noqa: ASYNC109 - of each item
        *,
        queue_timeout: float | None = None,
        tenant: object = None,
        return_exceptions: bool = False,
    ) -> list[R]:
        """As map(), also for an asynchronous iterable."""
        submit = partial(self.submit, priority=priority, timeout=timeout, queue_timeout=queue_timeout, tenant=tenant)
        if isinstance(items, AsyncIterable):
            return await map_of_stream(submit, items, self._window, return_exceptions)
        return await BatchMap(submit, items, self._window, return_exceptions)

    async def start(self) -> None:
        """Not needed. Says which event loop runs a coroutine function; other functions have threads of their own."""
        self._driver.set_home(loop_here())

    def close(self, drain: bool = True, timeout: float | None = 30.0) -> bool:
        """Takes no more items, processes what is queued (`drain`), at most `timeout` seconds; the rest is BatcherClosed.

        True: nothing was left. Again: harmless. In a thread whose event loop runs it may not wait: use `await aclose()`.
        Called by the function itself it waits for nothing.
        """
        driver = self._driver
        timeout = seconds_or_none("timeout", timeout)
        if driver.is_inside():
            driver.begin_to_close(drain)
            return False
        if driver.left() and loop_here() is not None:
            raise RuntimeError(
                f"{self.name}: close() would hold up the event loop that runs in this thread; use `await aclose()`, or "
                "`async with`"
            )
        driver.begin_to_close(drain)
        if not driver.wait_until_empty(timeout):
            driver.give_up()
        return not driver.left_over

    async def aclose(
        self,
        drain: bool = True,
        timeout: float | None = 30.0,  # noqa: ASYNC109 - as close() has it
    ) -> bool:
        """close(), for event loops."""
        import asyncio

        driver = self._driver
        timeout = seconds_or_none("timeout", timeout)
        driver.begin_to_close(drain)
        if driver.is_inside():
            return False
        if not driver.emptied.done():
            emptied = asyncio.wrap_future(driver.emptied)
            await asyncio.wait((emptied,), timeout=timeout)
            if not emptied.done():
                driver.give_up()
        return not driver.left_over

    @property
    def closed(self) -> bool:
        """Are no more items taken?"""
        return self._driver.closing

    def get_stats(self) -> BatchStats:
        """What has happened so far, and what was learned: a dict of numbers and dicts, times in seconds."""
        return make_stats(self._driver.queue, self._driver.clock())

    def share(self, tenant: object, share: float) -> None:
        """Give a tenant twice, or half, the service of others. Those that were never named have 1.0."""
        self._driver.queue.share(tenant, share)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} cannot be copied or pickled: its queue and its threads belong to this process")


def _driver_for(function: Any) -> type[Driver]:
    if not callable(function):
        raise TypeError(f"process_func={function!r}: expected a function that takes a list of items")
    flags = _code_flags(function)
    if flags & (CO_GENERATOR | CO_ASYNC_GENERATOR):
        raise TypeError(f"{_name_of(function)} is a generator: a function of batches returns its results in a list")
    if flags & CO_COROUTINE or inspect.iscoroutinefunction(function):
        from .loops import LoopDriver

        return LoopDriver
    return WorkerDriver


def _check_arguments(function: Any) -> None:
    """One, the list. Said now, and not by every item's failure: most often it is a method without its object."""
    try:
        takes = inspect.signature(function)
    except (TypeError, ValueError):  # of C: it does not say
        return
    try:
        takes.bind([])
    except TypeError as error:
        raise TypeError(
            f"{_name_of(function)}{takes} cannot be called with a list of items alone: {error}; submit to a method by its "
            "object, and put @libperf.batched above @classmethod"
        ) from None
