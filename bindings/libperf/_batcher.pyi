"""Futures and queues of batches in C: the hot path of libperf.batcher. What decides is perf_batch_queue (batch_queue.h)."""

from collections.abc import Callable, Generator, Sequence
from contextvars import Context, ContextVar
from typing import Any, Generic, TypeVar, final

R = TypeVar("R")

@final
class BatchFuture(Generic[R]):
    """What `submit()` returns: the result of one item. Await it in any event loop, or ask any thread for `result()`.

    It is a future as asyncio understands it (`asyncio.gather`, `wait`, `wait_for`, `shield` take it as it is), and one as
    `concurrent.futures` has it. Cancelling a task that awaits it cancels this item and no other.
    """

    data: Any
    """What was submitted."""
    wait_time: float | None
    """Seconds from submission until its batch began; None: not begun."""
    batch_id: int | None
    """The batch that it is or was in, 1, 2, …; None: not begun."""
    batch_size: int | None
    """Items in that batch."""
    _asyncio_future_blocking: bool
    def result(self, timeout: float | None = None) -> R:
        """The result, or its exception. In a thread: waits, at most `timeout` seconds (TimeoutError; the item goes on).

        In a thread whose event loop runs, a future that is not done raises asyncio.InvalidStateError: `await` it.
        """
    def exception(self, timeout: float | None = None) -> BaseException | None: ...
    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def running(self) -> bool:
        """True while its batch is processed."""
    def cancel(self, msg: Any | None = None) -> bool:
        """Take it out of the queue; in a running batch, discard its result. False: it was done already."""
    def add_done_callback(self, callback: Callable[[BatchFuture[R]], Any], *, context: Context | None = None) -> None:
        """Call `callback(self)` when done: in the running loop of whoever adds it, by call_soon, one handle
        for all callbacks of a batch (in debug mode, and where handles are watched, each has its own); without a loop, in
        the thread that finishes it."""
    def remove_done_callback(self, callback: Callable[[BatchFuture[R]], Any]) -> int: ...
    def get_loop(self) -> Any:
        """The running loop: a BatchFuture belongs to none."""
    def __await__(self) -> Generator[Any, None, R]: ...
    __iter__ = __await__

@final
class Batch:
    """Items that were taken together. Belongs to whoever took it, until finish(), fail() or throttled()."""

    data: list[Any]
    """What to give to the function: equal items once, where that was asked for."""
    futures: list[BatchFuture[Any]]
    """All of them, in order."""
    size: int
    """How many these are."""
    first_wait_ns: int
    """What the first of them has waited, in ns."""
    id: int
    reason: int
    """perf_batch_reason"""
    weight: int
    loop: Any
    """The running loop in which its first item was submitted; None: a thread without one."""
    done: bool
    queue: Queue
    outer: Batch | None
    """The batch, perhaps of another queue, whose function submitted the first such item in it."""
    callers: list[Any] | None
    """By index: the span that was current where the item of that future was submitted (report()), None: none was;
    None instead of a list: nobody had one."""

@final
class Queue:
    """perf_batch_queue with Python items. Any thread; nothing here waits, but a submit() that blocks outside of a loop."""

    watcher: Callable[[BatchFuture[Any]], object] | None
    """Called with each item that submit() has taken, in its thread."""
    orphaned: int
    """Results whose loop was closed before they could be delivered."""
    def __new__(
        cls,
        config: int,
        /,
        *,
        wake: Callable[[Any], object],
        inside: ContextVar[Batch | None],
        inline: Callable[[], object],
        errors: Sequence[type[BaseException]],
        weigher: Callable[[Any], float] | None = None,
        same: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        clock: Callable[[], int] | None = None,
        loop_time: bool = False,
    ) -> Queue:
        """
        config: address of a perf_batch_config.
        wake(loop): called by submit() when somebody has to look after the queue (a batch can be taken, or a time comes
            earlier than the one that next_wake() last told); `loop` is the running loop or None. Not called again for the
            same loop until take() or next_wake() was called. Also by result() in a thread, of an item that was submitted in a
            loop: that may stop.
        inside: the batch that is processed in this context. An item that is submitted in one of this queue that is not done
            is nested (`nested` in batch_queue.h), also by way of other queues' batches (`Batch.outer`).
        inline(): called by result() of a nested item that is queued, in that thread: process nested batches now.
        errors: (BatchError, DeadlineExceeded, QueueFull, ItemShed, BatcherClosed).
        weigher: the weight of an item's data, a whole number from 0 on (floats are rounded up). None: each weighs 1.
        same: what is equal for equal items, hashable; None: items are not compared.
        timeout, queue_timeout: of items that are submitted without their own.
        clock: nanoseconds; None: the core's own clock.
        loop_time: where an event loop runs, its time() is the clock (loops in virtual time).
        """
    def submit(
        self,
        data: Any,
        priority: int = 2,
        timeout: float | None = None,
        *,
        queue_timeout: float | None = None,
        tenant: object = None,
    ) -> BatchFuture[Any]:
        """A full queue: in a running loop the item waits outside the queue, and so does whoever awaits it; in another thread
        submit() itself waits. Raises QueueFull where that is asked for, BatcherClosed, ValueError for a time that is
        negative or NaN and for an unknown priority, and whatever the weigher raises: nothing has been queued then."""
    def report(self, name: str, current: ContextVar[Any], nothing: object, /) -> None:
        """From now on: write series into the segment under this name (batcher/series.h), and keep for `Batch.callers` what
        `current` is at submit(), unless it is `nothing`."""
    def share(self, tenant: object, share: float, /) -> None:
        """Give a tenant twice, or half, the service of others. Tenants that were never named have 1.0."""
    def take(self) -> Batch | None:
        """The next batch, if it is time (perf_batch_queue_take_at). Cancelled items are not in it. Does what expire() does,
        too."""
    def expire(self) -> int:
        """Finish what the queue has given up (DeadlineExceeded, ItemShed, BatcherClosed) and let in who waits outside;
        returns how many."""
    def finish(self, batch: Batch, results: Any, /) -> None:
        """Give each future its result. `results`: as many as `batch.data`, in order: a sequence (also an array), or a mapping
        {index: result}; an exception instance is that item's failure (the cause of its BatchError). Anything else, or a
        wrong count, fails all for good (PERF_BATCH_LOST) with a BatchError that names both counts. Never raises for what
        the function returned."""
    def fail(self, batch: Batch, error: BaseException, /) -> None:
        """The function raised: isolate the items or fail them all, each with a BatchError of its own whose cause is `error`."""
    def throttled(self, batch: Batch, error: BaseException, retry_after: float, /) -> None:
        """The service refused (429): the items go back; one that was refused 8 times fails with a BatchError."""
    def next_wake(self, keeper: Any = None, /) -> float | None:
        """Seconds until take() or expire() should be called if nothing else happens, from 0 on; None: never.

        keeper: the event loop that will see to it. It may stop: a submit() in another one, or in none, calls wake() whatever
            was told here. None: whoever will see to it does not stop.
        """
    def close(self) -> None:
        """No more submits; what is queued goes without waiting for more."""
    def discard(self) -> int:
        """Finish all that is not in a batch with BatcherClosed."""
    def abandon(self, error: BaseException, /) -> int:
        """The same for batches that run: their slots are free, whoever processes them speaks to nobody any more. Each item
        gets an exception of its own: another of the kind, where `error` is one of `errors`; else a BatchError."""
    def forget(self) -> None:
        """For the child of a fork: futures of the parent are done there, here they raise BatcherClosed. Nobody is called."""
    def running(self) -> list[Batch]: ...
    def stats(self) -> dict[str, Any]:
        """perf_batch_stats and perf_batch_cost_stats, by their names."""
