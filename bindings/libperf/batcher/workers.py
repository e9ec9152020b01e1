"""Batches of an ordinary function: in threads of the processor, which start when there is work and end when there is none.

One wake a batch: whoever submits puts a token; a worker that gets one takes batches until there are none. While it waits
for a token it keeps nobody alive: work that is on its way keeps the driver, in `pending` or as the token itself.
"""

import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any

from .._batcher import Batch
from .._core import lib
from .driver import AGAIN_AFTER, Driver, inside, logger
from .settings import Settings
from .timekeeper import Timekeeper

__all__ = ["WorkerDriver"]

IDLE = 10.0  # seconds until a worker ends

pending: set[Driver] = set()
"""Those who wait for a time, and whom the timekeeper is to find alive."""


class WorkerDriver(Driver):
    def __init__(self, function: Callable[[list[Any]], Any], settings: Settings, name: str) -> None:
        self.keeper = Timekeeper(self, WorkerDriver._ring, f"libperf time of {name}")
        self._begin_without_threads()
        super().__init__(function, settings, name)

    def _begin_without_threads(self) -> None:
        # no locks: what is done to these is done at once, also when a destructor comes in between, and submits
        self.tokens: SimpleQueue[Token | None] = SimpleQueue()
        self.threads: set[threading.Thread] = set()
        self.busy: set[threading.Thread] = set()  # in the function
        self.stuck: set[threading.Thread] = set()  # in the function, longer than process_timeout
        self.limits: deque[tuple[float, Batch, threading.Thread]] = deque()  # of batches that run, the earliest first
        self.at_end = weakref.finalize(self, self.tokens.put, None)
        self.at_end.atexit = False

    # ---- threads ----

    def wake(self, loop: Any) -> None:
        self._give()

    def poke(self) -> None:
        self._give()

    def _give(self, batch: Batch | None = None) -> None:
        """Somebody is to look after the queue, or to process this batch."""
        self.tokens.put((self, batch))
        if self.tokens.qsize() <= len(self.threads) - len(self.busy):  # they wait for a token, or will look for one
            return
        if batch is not None or len(self.threads) - len(self.stuck) < self.slots_max:
            self._start_worker()
            return
        delay = self.queue.next_wake()
        if delay == 0:  # though all are busy: nested in what they do, perhaps waited for
            self._start_worker()
        else:
            self.remind(delay)

    def _start_worker(self) -> None:
        thread = threading.Thread(target=_work, args=([self],), name=f"libperf batches of {self.name}", daemon=True)
        self.threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or none any more
            self.threads.discard(thread)
            if not self.threads:
                self._fail_all(error)

    def _fail_all(self, error: BaseException) -> None:
        """There is nobody to do it: nobody waits for ever."""
        while not self.tokens.empty():
            with contextlib.suppress(Empty):
                token = self.tokens.get_nowait()
                if token is not None and token[1] is not None:
                    self.failed(token[1], error)
        while (batch := self.queue.take()) is not None:
            self.failed(batch, error)
        self.queue.expire()
        self.look_for_the_end()

    # ---- looking after the queue ----

    def look_after(self) -> None:
        """Process what can be processed, and see to it that this is done again in time."""
        queue = self.queue
        while (batch := queue.take()) is not None:
            self.process(batch)
            del batch
        self.remind(queue.next_wake())
        self.look_for_the_end()

    def remind(self, delay: float | None) -> None:
        if self.limits:
            limit = max(0.0, self._first_limit() - time.monotonic())
            delay = limit if delay is None else min(delay, limit)
        if delay is None:
            if self in pending:
                pending.discard(self)
                if self.queue.next_wake() is not None:  # since we asked
                    pending.add(self)
            return
        pending.add(self)
        with contextlib.suppress(RuntimeError):  # no thread: workers look when they have done what they do
            self.keeper.remind(delay)

    def _first_limit(self) -> float:
        try:
            return self.limits[0][0]
        except IndexError:
            return float("inf")

    def _ring(self) -> None:
        """In the timekeeper's thread: something is due."""
        now = time.monotonic()
        while self.limits:
            try:
                limit = self.limits.popleft()
            except IndexError:
                break
            due, batch, thread = limit
            if batch.done:
                continue
            if due > now:
                self.limits.appendleft(limit)
                break
            self.stuck.add(thread)
            self.overdue(batch)
        try:
            self.queue.expire()
            delay = self.queue.next_wake()
        except Exception:  # of a clock
            logger.exception("libperf: the time of %s", self.name)
            delay = 0
        if delay == 0 or self.closing:
            self._give()
        self.remind(delay or None)

    # ---- a batch ----

    def process(self, batch: Batch) -> None:
        """In this thread."""
        thread = threading.current_thread()
        nested = thread in self.busy
        self.busy.add(thread)
        if self.process_timeout is not None:
            self.limits.append((time.monotonic() + self.process_timeout, batch, thread))
        try:
            delay = self.queue.next_wake()
            if delay == 0:  # there is more: for the next one
                self._give()
            self.remind(delay or None)
            Context().run(self._call, batch)  # nobody's variables, and none that the batch before has left
        finally:
            self.guard(batch)
            if not nested:
                self.busy.discard(thread)
                self.stuck.discard(thread)
            del batch  # an exception of the function keeps this frame: the items are not to wait for the collector

    def _call(self, batch: Batch) -> None:
        inside.set(batch)
        seen = self.telemetry.taken(batch)
        error = self._answer(batch)
        self.telemetry.finished(seen, error)
        del batch, seen, error  # as in process()

    def _answer(self, batch: Batch) -> BaseException | None:
        """What the function raised."""
        try:
            results = self.function(batch.data)
        except BaseException as error:  # whoever waits is told; a worker goes on also after SystemExit
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next  # this frame is no news, and holds the batch
            self.failed(batch, error)
            del batch  # as in process()
            return error
        if batch.done:
            return None
        if hasattr(results, "__await__"):
            getattr(results, "close", _nothing)()
            words = (
                f"{self.name} returned {type(results).__name__}, which would have to be awaited: make it an async def"
            )
            self.queue.fail(batch, TypeError(words))
            return None
        self.queue.finish(batch, results)
        return None

    def inline(self) -> None:
        """A batch that runs in this thread waits for a nested item: nobody else may be free to process it."""
        while (batch := self.queue.take()) is not None:
            if batch.reason == lib.PERF_BATCH_REASON_NESTED:
                self.process(batch)
            else:
                self._give(batch)
        self.queue.expire()

    # ---- the end ----

    def stop(self) -> None:
        self.tokens.put(None)
        self.keeper.stop()
        pending.discard(self)

    def forget(self) -> None:
        self.at_end.detach()
        self._begin_without_threads()
        self.keeper.forget()
        pending.discard(self)
        super().forget()


def _nothing() -> None:
    pass


Token = tuple[WorkerDriver, Batch | None]


def _work(box: list[WorkerDriver]) -> None:
    """What a worker thread does. It is given its driver in a box: the thread would keep its arguments to its end."""
    driver: WorkerDriver | None = box.pop()
    assert driver is not None
    tokens, threads = driver.tokens, driver.threads
    batch: Batch | None = None
    while True:
        try:
            if batch is not None:
                driver.process(batch)
            driver.look_after()
        except BaseException:  # a thread that ends would leave the next ones waiting
            logger.exception("libperf: a worker of %s", driver.name)
            driver.remind(AGAIN_AFTER)
        driver = batch = None
        token = _next(tokens, threads)
        if token is None:
            return
        driver, batch = token
        del token


def _next(tokens: "SimpleQueue[Token | None]", threads: set[threading.Thread]) -> Token | None:
    """Waits. None: this worker is not needed any more, and not among them."""
    me = threading.current_thread()
    try:
        token = tokens.get(timeout=IDLE)
    except Empty:
        threads.discard(me)
        try:
            token = tokens.get_nowait()  # put just now, by one who counted on this thread
        except Empty:
            return None
        threads.add(me)
    if token is None:
        tokens.put(None)  # for the others
        threads.discard(me)
    return token
