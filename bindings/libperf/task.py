"""Which asyncio task runs now, as a number for the record."""

import sys
from typing import Any

from . import handles
from ._core import lib

_begin, _begin_at, _ticks = handles.begin, handles.begin_at, lib.perf_clock_ticks


def task_id() -> int:
    """32 bits that differ between tasks alive at one time; 0 outside a task. Does not import asyncio."""
    asyncio = sys.modules.get("asyncio")
    current_task = getattr(asyncio, "current_task", None)
    if asyncio is None or current_task is None:  # not imported, or another thread is just importing it
        return 0
    loop = asyncio._get_running_loop()
    task = loop and current_task(loop)
    return number_of(task) if task else 0


def number_of(task: object) -> int:
    return (id(task) >> 4) & 0xFFFFFFFF


def begin_in_task(number: int, parent: Any) -> Any:
    """Begin a span in the task that runs now; outside of one it takes its parent's."""
    task = task_id()
    return _begin_at(number, parent, task, _ticks()) if task else _begin(number, parent)


if handles.speed is not None:
    begin_in_task = handles.speed.begin_in_task
