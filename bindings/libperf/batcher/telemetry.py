"""What reports see of a processor: a span for each batch, and one for each item that was submitted inside of a span.

Counts, waits and services are series that the queue writes itself (`batcher/series.c`; `libperf.reporting.batchers` says which).

>>> running = telemetry.taken(batch)          # where the function is going to run: in its task, in its thread
>>> results = await function(batch.data)
>>> queue.finish(batch, results)
>>> telemetry.finished(running)               # the same place, whatever came of it

A batch is nobody's child: its items come from anywhere. They say which batch they were in, by its span's id.
"""

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import handles
from .._core import lib
from ..context import NO_SPAN, current_span_variable, get_current, put_back, set_current
from ..names import KEY, SPAN, TEXT, intern
from ..reporting.batchers import REASONS
from ..spans import CANCELLED, ERROR, ERROR_TYPE, OK, end_with_error
from ..task import number_of, task_id

if TYPE_CHECKING:
    from .._batcher import Batch, Queue

__all__ = ["Running", "Telemetry"]

_begin_at, _end, _set_int, _set_name = handles.begin_at, handles.end, handles.set_int, handles.set_name
_ticks = lib.perf_clock_ticks
_LINK, _WAIT = "batch", "wait_ns"


watcher: Any = None  # libperf.watch.batchers, while somebody profiles
living: "weakref.WeakSet[Telemetry]" = weakref.WeakSet()


class Running(NamedTuple):
    """A batch, from taken() to finished()."""

    batch: "Batch"
    span: Any
    outer: Any


class Telemetry:
    """Of one processor. Threads: any."""

    __slots__ = (
        *("__weakref__", "_batch", "_item", "_items", "_libperf_id", "_libperf_place", "_reason", "_reasons", "_wait"),
        *("_weight", "most", "name", "queue", "slots"),
    )

    def __init__(self, name: str, queue: "Queue", slots: int, most: int) -> None:
        """slots: batches at a time, 0: it varies; most: items in one."""
        self.name = name
        self.queue = queue
        self.slots = slots
        self.most = most
        self._batch = intern(SPAN, f"batcher {name}: batch")
        self._item = 0  # most processors are called by nobody who has a span
        self._items, self._weight, self._reason, self._wait = (
            intern(KEY, text) for text in ("items", "weight", "reason", _WAIT)
        )
        self._reasons = tuple(intern(TEXT, reason) for reason in REASONS)
        queue.report(name.encode("utf-8", "replace").decode(), current_span_variable, NO_SPAN)
        living.add(self)
        if watcher is not None:
            watcher.join(self)

    def taken(self, batch: "Batch", task: object = None) -> Running:
        """A batch begins. Its span is current here until finished(). `task`: the one that runs here, if that is known."""
        outer = get_current()
        number = task_id() if task is None else number_of(task)
        span = _begin_at(self._batch, NO_SPAN, number, _ticks())
        set_current(span)
        _set_int(span, self._items, batch.size)
        if batch.weight:
            _set_int(span, self._weight, batch.weight)
        _set_name(span, self._reason, self._reasons[batch.reason])
        if wait := batch.first_wait_ns:  # the first is not the oldest, but the most urgent one
            _set_int(span, self._wait, wait)
        if watcher is not None:
            watcher.begin(self, batch)
        return Running(batch, span, outer)

    def finished(self, running: Running, error: BaseException | None = None) -> None:
        """The batch is over, and whoever waits has been told; `error`: what the function raised."""
        batch, span, outer = running
        if watcher is not None:
            watcher.end(self)
        put_back(span, outer)
        if error is None:
            _end(span)
        else:
            end_with_error(span, error)
        if callers := batch.callers:
            for future, caller in zip(batch.futures, callers, strict=True):
                if caller is not None and caller.id and future.done():  # else it comes again
                    self._record(future, caller, span)

    def _record(self, future: Any, caller: Any, batch: Any) -> None:
        """An item is over that was submitted inside of a span: from then on until now."""
        if not self._item:
            self._item = intern(SPAN, f"batcher {self.name}: item")
        wait = round((future.wait_time or 0.0) * 1e9)
        since = lib.perf_clock_ticks_to_ns(batch.start_ticks) - wait
        span = _begin_at(self._item, caller, caller.task, lib.perf_clock_ns_to_ticks(since))
        _set_int(span, self._wait, wait)
        link = b"%016x" % batch.id
        lib.perf_span_set_text(handles.struct_of(span), intern(KEY, _LINK), link, len(link))
        status = OK
        if future.cancelled():
            status = CANCELLED
        elif (failure := future.exception()) is not None:
            status, cause = ERROR, failure.__cause__ or failure
            _set_name(span, intern(KEY, ERROR_TYPE), intern(TEXT, type(cause).__qualname__))
        handles.end_as(span, status, 0)
