"""Scheduler events as Python objects: what tasks, threads and resources did, event by event (libperf/event.h)."""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from ._core import ffi, lib
from .reader import Reader

__all__ = ["SAMPLES", "ActorKind", "Code", "Event", "read_events"]

BATCH = 4096  # events taken over at a time
EVENT = struct.Struct("=2HI5Q")  # perf_event


class Code(IntEnum):
    """What happened; event.h says what `arg`, `key` and `more` are then."""

    THREAD = lib.PERF_EVENT_THREAD
    RUN = lib.PERF_EVENT_RUN
    SUSPEND = lib.PERF_EVENT_SUSPEND
    END = lib.PERF_EVENT_END
    LABEL = lib.PERF_EVENT_LABEL
    SPAWN = lib.PERF_EVENT_SPAWN
    TIMER = lib.PERF_EVENT_TIMER
    RESOLVE = lib.PERF_EVENT_RESOLVE
    AWAIT = lib.PERF_EVENT_AWAIT
    CANCEL = lib.PERF_EVENT_CANCEL
    SELECT = lib.PERF_EVENT_SELECT
    HOST = lib.PERF_EVENT_HOST
    HOSTED = lib.PERF_EVENT_HOSTED
    SPAN_BEGIN = lib.PERF_EVENT_SPAN_BEGIN
    SPAN_END = lib.PERF_EVENT_SPAN_END
    RESOURCE = lib.PERF_EVENT_RESOURCE
    WHERE = lib.PERF_EVENT_WHERE
    ACQUIRE = lib.PERF_EVENT_ACQUIRE
    ACQUIRED = lib.PERF_EVENT_ACQUIRED
    NOT_ACQUIRED = lib.PERF_EVENT_NOT_ACQUIRED
    RELEASE = lib.PERF_EVENT_RELEASE
    GET = lib.PERF_EVENT_GET
    GOT = lib.PERF_EVENT_GOT
    NOT_GOT = lib.PERF_EVENT_NOT_GOT
    GOT_NOWAIT = lib.PERF_EVENT_GOT_NOWAIT
    PUT = lib.PERF_EVENT_PUT
    HAS_PUT = lib.PERF_EVENT_HAS_PUT
    NOT_PUT = lib.PERF_EVENT_NOT_PUT
    PUT_NOWAIT = lib.PERF_EVENT_PUT_NOWAIT
    TASK_DONE = lib.PERF_EVENT_TASK_DONE
    JOIN = lib.PERF_EVENT_JOIN
    JOINED = lib.PERF_EVENT_JOINED
    SUBMIT = lib.PERF_EVENT_SUBMIT
    WAIT_FOR = lib.PERF_EVENT_WAIT_FOR
    WAIT = lib.PERF_EVENT_WAIT
    WAIT_EXECUTOR = lib.PERF_EVENT_WAIT_EXECUTOR
    WAITED = lib.PERF_EVENT_WAITED
    SLEEP = lib.PERF_EVENT_SLEEP
    SLEPT = lib.PERF_EVENT_SLEPT
    IMPORT = lib.PERF_EVENT_IMPORT
    IMPORTED = lib.PERF_EVENT_IMPORTED
    MEMORY = lib.PERF_EVENT_MEMORY
    CALL = lib.PERF_EVENT_CALL
    BATCH_ITEM = lib.PERF_EVENT_BATCH_ITEM
    BATCH_BEGIN = lib.PERF_EVENT_BATCH_BEGIN
    BATCH_END = lib.PERF_EVENT_BATCH_END
    SAMPLE = lib.PERF_EVENT_SAMPLE
    ALLOCATED = lib.PERF_EVENT_ALLOCATED
    STALL = lib.PERF_EVENT_STALL


# They say where in the code a thread was, and nothing about what ran: whoever follows schedulers skips them.
SAMPLES = frozenset({Code.SAMPLE, Code.ALLOCATED, Code.STALL})


class ActorKind(IntEnum):
    """What runs code."""

    MAIN = lib.PERF_ACTOR_MAIN
    THREAD = lib.PERF_ACTOR_THREAD
    TASK = lib.PERF_ACTOR_TASK
    CALLBACK = lib.PERF_ACTOR_CALLBACK
    TIMER = lib.PERF_ACTOR_TIMER
    IO = lib.PERF_ACTOR_IO
    WORK = lib.PERF_ACTOR_WORK


class Event(NamedTuple):
    """One event. Times in nanoseconds of the monotonic clock."""

    code: int
    block: int  # whose ring: the events of one come in order
    arg: int
    time: int
    cpu: int  # CPU time of the thread; 0: not read
    span: int  # innermost open span before the event; 0: none
    key: int
    more: int


def read_events(reader: Reader) -> Iterator[Event]:
    """The events of a reader's picture, ring by ring, each once: what is new since the last call."""
    batch = ffi.new("perf_event[]", BATCH)
    raw = ffi.buffer(batch)
    while count := lib.perf_reader_events(reader._get(), batch, BATCH):
        yield from map(Event._make, EVENT.iter_unpack(raw[: count * EVENT.size]))
