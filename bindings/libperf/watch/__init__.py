"""The profiling mode: while it is on, every event of event.h is written. Nothing is patched unless it is on.

`start()` replaces what is loaded of asyncio, threading, concurrent.futures and queue, and what comes to be loaded later
right after its import; `stop()` puts everything back. What was made meanwhile goes on working and writes nothing.
"""

import os
import sys
import threading

from .. import _scheduler
from .._core import lib
from ..profiler import watchdog
from . import calls, imports, resources, spans
from .patch import Patches

__all__ = ["start", "stop"]

_patches = Patches()

# module -> the one of ours that patches it, imported only then
_PARTS = {
    "time": "threads.watch_sleep",
    "threading": "threads.watch_threads",
    "concurrent.futures": "threads.watch_futures",
    "concurrent.futures.thread": "threads.watch_executors",
    "queue": "locks.watch_queues",
    "asyncio": "loops.watch_loops",
    "ssl": "imports.watch_certificates",
    "libperf.langchain": "spans.watch_langchain",
    "libperf.cache.waits": "caches.watch_waits",
    "libperf.batcher.telemetry": "batchers.watch_batchers",
}


def start() -> int:
    """Write events from now on. Returns the number of the session."""
    resources.forget()
    spans.watch_spans(_patches)
    calls.watch_calls(_patches)
    imports.watch_imports(_patches)
    for name, part in _PARTS.items():
        imports.after(name, part, _patches)
    lib.perf_events_switch(True)
    watchdog.start()
    _begin()
    _scheduler.begin_thread(_scheduler.new_id(), 0)
    if loops := sys.modules.get(f"{__name__}.loops"):
        loops.say_running_loop()
    return _scheduler.session()


def stop() -> None:
    """Write none, and leave no trace."""
    _scheduler.switch(0)
    lib.perf_events_switch(False)
    imports.forget()
    calls.leave_alone()
    _patches.undo()
    watchdog.leave_all()
    watchdog.stop()


def _begin() -> None:
    main = threading.main_thread().ident
    assert main is not None
    _scheduler.switch(main)


def _after_fork() -> None:
    if _scheduler.session():
        resources.forget()  # the child's segment has not heard of them
        _begin()


os.register_at_fork(after_in_child=_after_fork)
