"""Batches of a coroutine function: each is a task in an event loop, and every loop that submits looks after the queue.

The loop of a batch is the one that start() was awaited in, if it runs; else that of the batch's first item, if it runs;
else one in a thread of the processor's own.
"""

import asyncio
from asyncio.events import _get_running_loop as loop_here
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from .._batcher import Batch
from .background import Background
from .driver import AGAIN_AFTER, REFUSALS, Driver, inside
from .settings import Settings

__all__ = ["LoopDriver"]

LOST_AFTER = 0.25
"""Seconds. Nobody tells when a loop stops in the middle of a batch: while there is work, and others than one loop wait for
it, the thread in the background looks after all that often. Without work it sleeps, with one loop it is not there."""


class Run:
    """A batch on its way. `begun` is set in the thread of its loop alone."""

    __slots__ = ("batch", "begun", "entered", "loop", "stopped", "task", "timer", "unentered")

    def __init__(self, batch: Batch, loop: Any) -> None:
        self.batch = batch
        self.loop = loop
        self.begun = False
        self.stopped = False  # was its loop, when we last looked?
        self.task: asyncio.Task[None] | None = None  # strong: the loop itself would forget it
        self.entered = False
        self.unentered: Callable[[Any], object] | None = None  # whom to tell, should it never be
        self.timer: asyncio.TimerHandle | None = None


class Pump:
    """Looks after the queue in one event loop: at once (`soon`), and when something is due."""

    __slots__ = ("again", "busy", "driver", "due", "expected", "loop", "timer")

    def __init__(self, driver: "LoopDriver", loop: Any) -> None:
        self.driver = driver
        self.loop = loop
        self.expected = self.busy = self.again = False
        self.timer: asyncio.TimerHandle | None = None
        self.due = 0.0

    def soon(self) -> None:
        """In this pass of the loop, or in the next one: after all that is to run before."""
        if not self.expected:
            self.expected = True
            # a context of its own: the function is to see nobody's variables, not those of whoever came first
            self.loop.call_soon(self.run, context=Context())

    def run(self) -> None:
        self.expected = False
        if self.busy:  # an eager task has ended before it was begun
            self.again = True
            return
        self.busy = True
        try:
            self.again = True
            while self.again:
                self.again = False
                self.driver.look_after(self)
        except BaseException:  # of a clock, or for want of memory
            self.remind(AGAIN_AFTER)
            raise
        finally:
            self.busy = False

    def remind(self, delay: float | None) -> None:
        """Run again after so many seconds; None: nothing is due."""
        timer = self.timer
        if delay is None:
            if timer is not None:
                timer.cancel()
                self.timer = None
            return
        due = self.loop.time() + delay
        if timer is not None:
            if self.due <= due:  # earlier than needed: it will be asked then
                return
            timer.cancel()
        self.due = due
        self.timer = self.loop.call_at(due, self._ring, context=Context())

    def _ring(self) -> None:
        self.timer = None
        self.run()


class LoopDriver(Driver):
    def __init__(self, function: Callable[[list[Any]], Any], settings: Settings, name: str) -> None:
        super().__init__(function, settings, name)
        self.home: Any = None  # where start() was awaited
        self.runs: dict[int, Run] = {}  # by the id of the batch
        self.many = False  # loops, now or before
        self.watching = False
        self.pumps: dict[Any, Pump] = {}  # by loop
        self.background = Background(self, f"libperf batches of {name}")

    # ---- looking after the queue ----

    def wake(self, loop: Any) -> None:
        pump = self._pump_of(loop) if loop is not None else None
        home = self.home
        elsewhere = home is not None and home is not loop and home.is_running()
        if self.many or pump is None or elsewhere:
            self._watch_over()
        if elsewhere and self._call_in(home, self._look_here):
            return
        if pump is None:
            self._call_in_background(self._look_here)
        else:
            pump.soon()

    def set_home(self, loop: Any) -> None:
        self.home = loop
        self._pump_of(loop)

    def poke(self) -> None:
        self.wake(loop_here())

    def _pump_of(self, loop: Any) -> Pump:
        pump = self.pumps.get(loop)
        if pump is None:
            for other in [other for other in list(self.pumps) if other.is_closed()]:
                self.pumps.pop(other, None)
            pump = self.pumps[loop] = Pump(self, loop)
            elsewhere = any(run.loop is not loop for run in list(self.runs.values()))
            self.many = len(self.pumps) > 1 or elsewhere
        return pump

    def _look_here(self) -> None:
        self._pump_of(loop_here()).run()

    def look_after(self, pump: Pump) -> None:
        """Begin what can be begun, tell whose time is over, and see to it that this is done again in time."""
        take, loop = self.queue.take, pump.loop
        while (batch := take()) is not None:
            if batch.loop is loop and self.home is None:
                self._start(Run(batch, loop))
            else:
                self._begin(batch, loop)
        pump.remind(self._next_wake(pump))
        if self.closing:
            self.look_for_the_end()

    def _next_wake(self, pump: Pump) -> float | None:
        # a loop that may stop is not relied on by those who submit elsewhere
        return self.queue.next_wake(None if self.many and self.background.is_own(pump.loop) else pump.loop)

    # ---- loops that stop ----

    def _watch_over(self) -> None:
        """See to it that nobody waits for a loop that has stopped."""
        if not self.watching:
            self.watching = True
            try:
                self.background.call(self._watch)
            except RuntimeError:  # no thread: whoever submits next looks
                self.watching = False
                self._release_the_lost(loop_here())

    def _watch(self) -> None:
        """In the background, as long as there is work."""
        here = asyncio.get_running_loop()
        self._release_the_lost(here)
        self._pump_of(here).run()
        self.watching = False
        if self.left() and not self.watching:
            self.watching = True
            here.call_later(LOST_AFTER, self._watch, context=Context())

    def _release_the_lost(self, here: Any) -> None:
        """Batches whose loop has stopped do not hold up others."""
        for run in list(self.runs.values()):
            if run.loop is here or not self._has_stopped(run) or self.runs.pop(run.batch.id, None) is None:
                continue
            _let_go_silently(run.task)
            if run.entered or run.batch.done or (run.begun and not run.loop.is_closed()):
                ended = "closed" if run.loop.is_closed() else "stopped"
                self.failed(
                    run.batch, RuntimeError(f"{self.name}: the event loop was {ended} while the batch ran in it")
                )
            else:
                run.begun = True  # should that loop run again
                coroutine = run.task.get_coro() if run.task is not None else None
                if coroutine is not None:
                    coroutine.close()  # of which no line has run
                self._begin(run.batch, here)

    def _has_stopped(self, run: Run) -> bool:
        """For good: it may be about to run something else."""
        if run.loop.is_running() or self.background.is_own(run.loop):  # which may be about to start
            run.stopped = False
            return False
        before, run.stopped = run.stopped, True
        return before or run.loop.is_closed()

    # ---- a batch ----

    def _begin(self, batch: Batch, here: Any) -> None:
        loop = self._loop_for(batch)
        run = Run(batch, loop if loop is not None else here)
        if loop is here:
            self._start(run)
            return
        if loop is not None:
            self.many = True
            self.runs[batch.id] = run
            if self._call_in(loop, self._start, run):
                return
        self._begin_in_background(batch)

    def _loop_for(self, batch: Batch) -> Any:
        """None: that in the background."""
        home = self.home
        if home is not None and home.is_running():
            return home
        loop = batch.loop
        return loop if loop is not None and loop.is_running() else None

    def _begin_in_background(self, batch: Batch) -> None:
        try:
            loop = self.background.loop()
        except RuntimeError as error:  # no thread any more
            self.runs.pop(batch.id, None)
            self.failed(batch, error)
            return
        run = self.runs[batch.id] = Run(batch, loop)
        if loop is loop_here():
            self._start(run)
        elif not self._call_in(loop, self._start, run):
            self.runs.pop(batch.id, None)
            self.failed(batch, RuntimeError(f"{self.name}: there is no event loop any more"))

    def _start(self, run: Run) -> None:
        """In the thread of its loop."""
        if run.begun or run.batch.done:
            return
        run.begun = True
        self.runs[run.batch.id] = run
        process = self._process(run)
        try:
            run.task = task = run.loop.create_task(process, context=Context())
        except BaseException as error:  # of a task factory
            process.close()
            self.failed(run.batch, error)
            self._ended(run)
            return
        if not run.entered:  # not an eager one
            run.unentered = partial(self._never_entered, run)
            task.add_done_callback(run.unentered)
        if self.process_timeout is not None and not run.batch.done:
            run.timer = run.loop.call_later(self.process_timeout, self._out_of_time, run, context=Context())

    def _never_entered(self, run: Run, task: "asyncio.Task[None]") -> None:
        """It was cancelled before its first step: not a line of _process() has run."""
        self.failed(run.batch, asyncio.CancelledError("the batch's task was cancelled before it began"))
        self.guard(run.batch)
        self._ended(run)

    async def _process(self, run: Run) -> None:
        run.entered = True
        if run.task is not None and run.unentered is not None:
            run.task.remove_done_callback(run.unentered)
            run.unentered = None
        batch = run.batch
        inside.set(batch)
        seen = self.telemetry.taken(batch, run.task)  # an eager one is not known yet
        failure = None
        try:
            results = await self.function(batch.data)
        except BaseException as error:
            failure = error
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next  # this frame is no news, and holds the batch
            self.failed(batch, error)
            if isinstance(error, REFUSALS) and not self.background.is_own(run.loop):  # which would end for all
                raise
        else:
            if not batch.done:
                self.queue.finish(batch, results)
        finally:
            if not batch.done:
                self.guard(batch)
            self.telemetry.finished(seen, failure)
            failure = None
            self._ended(run)
            del run, batch, seen  # an exception of the function keeps this frame (since Python 3.13)

    def _out_of_time(self, run: Run) -> None:
        run.timer = None
        if self.overdue(run.batch):
            if run.task is not None:
                run.task.cancel(f"process_timeout={self.process_timeout:g} s is over")
            self._pump_of(run.loop).run()

    def _ended(self, run: Run) -> None:
        self.runs.pop(run.batch.id, None)
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None
        run.task = None
        loop = run.loop
        if loop is not loop_here():  # it has stopped, and its task was thrown away
            if self.left():
                self._call_in_background(self._look_here)
            return
        pump = self._pump_of(loop)
        if self.many or self.closing:
            pump.run()  # this loop may stop now, and others wait
            return
        delay = self.queue.next_wake(loop)
        if delay == 0:
            pump.soon()  # after those who were just answered: what they submit next goes in one batch
        else:
            pump.remind(delay)

    # ---- other threads ----

    def _call_in(self, loop: Any, what: Callable[..., object], *args: Any) -> bool:
        """False: that loop is closed."""
        try:
            loop.call_soon_threadsafe(what, *args, context=Context())
        except RuntimeError:
            return False
        return True

    def _call_in_background(self, what: Callable[..., object]) -> None:
        try:
            self.background.call(what)
        except RuntimeError as error:  # no thread any more: nobody waits for ever
            while (batch := self.queue.take()) is not None:
                self.failed(batch, error)
            self.queue.expire()

    # ---- the end ----

    def stop(self) -> None:
        self.background.stop()

    def let_go(self) -> None:
        for run in list(self.runs.values()):
            self.runs.pop(run.batch.id, None)
            if run.task is not None:
                self._call_in(run.loop, run.task.cancel)
                if not run.loop.is_running():
                    _let_go_silently(run.task)

    def forget(self) -> None:
        self.home = None
        self.watching = False
        self.runs.clear()
        self.pumps.clear()
        self.background.forget()
        super().forget()


def _let_go_silently(task: Any) -> None:
    """Of a loop that has stopped: should it never end, asyncio would say so, though whoever waited was told."""
    if isinstance(task, asyncio.Task):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
