"""What both drivers have in common: a queue, the function, how a batch ends, and how all of it ends.

A driver is what works for a BatchProcessor. Nothing keeps it but its processor, its queue's futures, and work: loops and
threads that have nothing to do hold no strong reference.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import ContextVar
from typing import Any

from .._batcher import Batch, Queue
from .._core import ffi, lib
from ..errors import TimedOutError
from .errors import BatcherClosed, BatchError, DeadlineExceeded, ItemShed, QueueFull
from .settings import Settings
from .telemetry import Telemetry
from .throttle import retry_after

__all__ = ["Driver", "inside", "loop_here"]

logger = logging.getLogger("libperf")

inside: "ContextVar[Batch | None]" = ContextVar("libperf.batch", default=None)
"""The batch that is processed in this context."""

ERRORS = (BatchError, DeadlineExceeded, QueueFull, ItemShed, BatcherClosed)
AGAIN_AFTER = 0.25  # seconds, where looking after the queue itself has failed
REFUSALS = (KeyboardInterrupt, SystemExit)  # not failures, but somebody who wants all of it to end


def loop_here() -> Any:
    """The event loop that runs in this thread, or None."""
    from asyncio.events import _get_running_loop

    return _get_running_loop()


class Driver:
    """Subclasses implement wake(), inline(), poke(), stop() and forget()."""

    def __init__(self, function: Callable[[list[Any]], Any], settings: Settings, name: str) -> None:
        self.function = function
        self.name = name
        self.process_timeout = settings.process_timeout
        self.clock = settings.clock or lib.perf_clock_now_ns
        config = settings.config()
        self.slots_max = settings.slots_max
        self.queue = Queue(
            int(ffi.cast("uintptr_t", config)),
            wake=self.wake,
            inside=inside,
            inline=self.inline,
            errors=ERRORS,
            weigher=settings.weigher,
            same=settings.same,
            timeout=settings.timeout,
            queue_timeout=settings.queue_timeout,
            clock=settings.clock,
        )
        self.telemetry = Telemetry(name, self.queue, settings.slots, settings.max_batch_size)
        self.closing = False
        self.left_over = False  # something was given up
        self.emptied: Future[None] = Future()

    # ---- what a driver has to know ----

    def wake(self, loop: Any) -> None:
        """The queue: somebody has to look after it. `loop` runs in this thread; None: none does."""
        raise NotImplementedError

    def inline(self) -> None:
        """The queue: a batch that runs in this thread waits for a nested item."""

    def poke(self) -> None:
        """Look after the queue now, wherever."""
        raise NotImplementedError

    def set_home(self, loop: Any) -> None:
        """Run batches in this event loop."""

    def stop(self) -> None:
        """Threads of its own may end: nothing comes any more."""

    def let_go(self) -> None:
        """Batches that run were given up: cancel what can be cancelled."""

    def forget(self) -> None:
        """In the child of a fork: there are no threads, loops and items any more."""
        self.queue.forget()
        self.emptied = Future()
        if self.closing:
            self.emptied.set_result(None)

    # ---- how a batch ends ----

    def failed(self, batch: Batch, error: BaseException) -> None:
        """The function raised."""
        if batch.done:
            return
        wait = retry_after(error)
        if wait is None:
            self.queue.fail(batch, error)
        else:
            self.queue.throttled(batch, error, wait)

    def overdue(self, batch: Batch) -> bool:
        """Its process_timeout is over: its items are failed and its slot is free. False: it was done."""
        if batch.done:
            return False
        words = f"{self.name} took longer than process_timeout={self.process_timeout:g} s"
        self.queue.fail(batch, TimedOutError(words))
        return True

    def guard(self, batch: Batch) -> None:
        """No batch is left behind, whatever happened."""
        if not batch.done:
            self.queue.fail(batch, RuntimeError(f"{self.name}: the batch was given up before it was done"))

    # ---- how all of it ends ----

    def left(self) -> int:
        """Items that wait or run, and batches that run for nobody any more."""
        found = self.queue.stats()
        return int(found["blocked"] + found["queued"] + found["running"]) or len(self.queue.running())

    def look_for_the_end(self) -> None:
        """Whoever has looked after the queue asks this then."""
        if self.closing and not self.emptied.done() and not self.left():
            try:
                self.emptied.set_result(None)
            except Exception:  # another thread was faster
                return
            self.stop()

    def begin_to_close(self, drain: bool) -> None:
        """No more items. What is queued goes at once, or is given up."""
        self.closing = True
        self.queue.close()
        if not drain and self.queue.discard():
            self.left_over = True
        self.look_for_the_end()
        if not self.emptied.done():
            self.poke()

    def give_up(self) -> None:
        """The time to close is over: everybody who still waits is told so."""
        if self.emptied.done():
            return
        error = BatcherClosed(f"{self.name}: closed before the item was done")
        if self.queue.discard() + self.queue.abandon(error):
            self.left_over = True
        self.let_go()
        self.look_for_the_end()

    def wait_until_empty(self, timeout: float | None) -> bool:
        """False: the time is over. Waits; not in a thread whose event loop runs."""
        try:
            self.emptied.result(timeout)
        except FutureTimeout:
            return False
        return True

    def is_inside(self) -> bool:
        """Is this called by the function itself, for a batch that runs?"""
        batch = inside.get()
        while batch is not None:
            if batch.queue is self.queue and not batch.done:
                return True
            batch = batch.outer
        return False
