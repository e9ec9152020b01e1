"""Handles: all that a span is while it runs, and the core's verbs on them.

A handle is the C struct by value, which cffi copies on every call; with the accelerator (`libperf._speed`) it is a small
object of C's around that struct, and its verbs take no cffi. Both have the struct's fields as attributes: `id`,
`trace_hi`, `trace_lo`, `parent`, `name`, `task`, `start_ticks`. Whatever the core offers beyond the verbs here gets
`struct_of(handle)`. LIBPERF_SPEED=0 does without the accelerator; so does a build that has none.
"""

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ._core import ffi, lib

__all__ = [
    *("NO_SPAN", "become", "begin", "begin_at", "copy", "end", "end_as", "from_struct", "set_int", "set_name", "speed"),
    *("struct_of", "without"),
]


def _load() -> tuple[ModuleType | None, str]:
    """The accelerator, or why there is none."""
    if os.environ.get("LIBPERF_SPEED") == "0":
        return None, "LIBPERF_SPEED=0"
    try:
        from . import _speed
    except ImportError as error:
        return None, str(error)
    return _speed, ""


speed, without = _load()

NO_SPAN: Any
begin: Callable[[int, Any], Any]  # (name, parent)
begin_at: Callable[[int, Any, int, int], Any]  # (name, parent, task, ticks)
end: Callable[[Any], int]
end_as: Callable[[Any, int, int], int]  # (handle, status, paused_ns)
set_int: Callable[[Any, int, int], bool]  # (handle, key, value)
set_name: Callable[[Any, int, int], bool]  # (handle, key, text)
struct_of: Callable[[Any], Any]  # for the core's other functions; lives as long as the handle
from_struct: Callable[[Any], Any]
copy: Callable[[Any], Any]  # one that may become another
become: Callable[[Any, Any], None]  # (copy, other): wherever the copy is, it is the other from now on


def _same(handle: Any) -> Any:
    return handle


def _copy_struct(handle: Any) -> Any:
    return ffi.new("perf_span *", handle)[0]


def _become_struct(copied: Any, other: Any) -> None:
    ffi.addressof(copied)[0] = other


def _struct_of_object(handle: Any) -> Any:
    return ffi.from_buffer("perf_span[]", handle)[0]


if speed is None:
    NO_SPAN = ffi.new("perf_span *")[0]
    begin, begin_at, end, end_as = lib.perf_span_begin, lib.perf_span_begin_at, lib.perf_span_end, lib.perf_span_end_as
    set_int, set_name = lib.perf_span_set_int, lib.perf_span_set_name
    struct_of = from_struct = _same
    copy, become = _copy_struct, _become_struct
else:
    NO_SPAN = speed.NO_SPAN
    begin, begin_at, end, end_as = speed.begin, speed.begin_at, speed.end, speed.end_as
    set_int, set_name = speed.set_int, speed.set_name
    struct_of = _struct_of_object
    copy, become = speed.Handle.copy, speed.Handle.become
    _Handle = speed.Handle

    def from_struct(struct: Any) -> Any:
        return _Handle(bytes(ffi.buffer(ffi.addressof(struct))))
