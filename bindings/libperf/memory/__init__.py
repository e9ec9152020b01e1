"""`libperf.memory`: what a program allocates, by operation and by line; how much memory it has, and how much is left.

>>> from libperf import memory
>>> with memory.counting():                 # or LIBPERF_MEMORY=1, before the program's first line
...     before = memory.take_snapshot()
...     work()
...     print(memory.take_snapshot().compare(before))
>>> memory.usage().rss, memory.pressure().level

While allocations are counted, each span has what was allocated while it was the current one ("alloc.bytes" and
"alloc.blocks"; what spans inside of it allocate is theirs), and of a sample of the blocks it is known where in the code
they come from and whether they still live. While they are not, nothing costs anything.

Counted is what goes through Python's allocator: all objects, their buffers, lists and texts. Not counted is what
libraries ask of the system themselves (numpy's arrays, models); `usage()` has it.
"""

import atexit
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .. import _allocations
from ..errors import ClosedError, PerfError, StartedError, check
from .levels import Level, Pressure, on_pressure, pressure
from .process import Usage, usage
from .snapshot import Comparison, Growth, Place, Snapshot, read_snapshot

__all__ = [
    "Comparison",
    "Counts",
    "Growth",
    "Level",
    "Place",
    "Pressure",
    "Snapshot",
    "Usage",
    "counting",
    "counts",
    "is_counting",
    "on_pressure",
    "pressure",
    "start_counting",
    "stop_counting",
    "take_snapshot",
    "usage",
]

logger = logging.getLogger("libperf")

SAMPLE_BYTES = 512 * 1024
MAX_BLOCKS = 65536
_SAMPLE_MOST, _BLOCKS_MOST = 2**40, 2**24  # what heap.h takes

_lock = threading.Lock()
_whole_program = False  # LIBPERF_MEMORY: counted from before the first line on
_asked = False  # by start_counting()
_sample_bytes = 0  # of what is counted now


class Counts(NamedTuple):
    """What was allocated since counting began. A block that is resized counts as a new one of its new size."""

    bytes: int
    blocks: int
    other_bytes: int  # of them, while no span was open that could be given them
    other_blocks: int
    raw_bytes: int  # beside them: by threads that do not hold the GIL, and other interpreters
    raw_blocks: int
    live: int  # sampled blocks that were not freed yet
    taken: int  # samples
    dropped: int  # samples that found no room: snapshots miss them


def start_counting(*, sample_bytes: int = SAMPLE_BYTES, max_blocks: int = MAX_BLOCKS, seed: int = 0) -> None:
    """Count allocations from now on, in all threads.

    sample_bytes: of so many bytes one is looked at, on average: the block that it is in stands for about as much. 0: no
                  samples, and so no lines and no snapshots; 1 to 2**40
    max_blocks:   sampled blocks that are kept at a time (48 bytes each); 1 to 2**24
    seed:         of what is left to chance; 0: another one each time
    Raises StartedError when it is on already (under LIBPERF_MEMORY=1 it is that from the start on, which is no error:
    its settings stay), ValueError for numbers out of range. Other libraries may come into Python's allocator and leave it
    in any order (tracemalloc does). Threads: any. A forked child goes on counting, from zero.
    """
    global _asked
    sample_bytes = _whole("sample_bytes", sample_bytes, 0, _SAMPLE_MOST)
    max_blocks = _whole("max_blocks", max_blocks, 1, _BLOCKS_MOST)
    seed = _whole("seed", seed, 0, 2**64 - 1)
    with _lock:
        if _asked:
            raise StartedError("allocations are being counted already: stop_counting() first, or leave this start out")
        if not _whole_program:
            _start(sample_bytes, max_blocks, seed)
        _asked = True


def stop_counting() -> None:
    """Count no more; nothing happens when it is not on. What was counted stays in the report; snapshots that were taken
    stay. Under LIBPERF_MEMORY=1 the program is counted to its end. Threads: any, also another than the one that
    started."""
    global _asked
    with _lock:
        _asked = False
        if not _whole_program:
            _stop()


@contextmanager
def counting(*, sample_bytes: int = SAMPLE_BYTES, max_blocks: int = MAX_BLOCKS, seed: int = 0) -> Iterator[None]:
    """Count while a block runs; see start_counting()."""
    start_counting(sample_bytes=sample_bytes, max_blocks=max_blocks, seed=seed)
    try:
        yield
    finally:
        stop_counting()


def is_counting() -> bool:
    """Whether allocations are counted now. False, too, when a library that was in Python's allocator before has left
    it, and has put back what it found there."""
    return _allocations.counting() and _allocations.hooked() > 0


def counts() -> Counts:
    """What was counted so far; after stop_counting(), until the next start."""
    return Counts(**_allocations.counts())


def take_snapshot() -> Snapshot:
    """What lives of what was allocated since counting began, by line. It is known from a sample, so numbers are
    estimates: `plus_minus` says how good. Takes milliseconds.

    Raises ClosedError while nothing is counted, or without samples.
    """
    if not _allocations.counting():
        raise ClosedError("allocations are not counted: memory.start_counting() first, or LIBPERF_MEMORY=1")
    if not _sample_bytes:
        raise ClosedError("allocations are counted without samples: start_counting(sample_bytes=524288)")
    return read_snapshot(_allocations.live(), _sample_bytes)


def count_program() -> None:
    """Count a whole program; called before its first line. It runs, too, where that cannot be done."""
    global _whole_program
    with _lock:
        try:
            _start(SAMPLE_BYTES, MAX_BLOCKS, 0)
            _whole_program = True
        except PerfError as error:
            logger.warning("LIBPERF_MEMORY: %s", error)


def _start(sample_bytes: int, max_blocks: int, seed: int) -> None:
    global _sample_bytes
    check(_allocations.start(sample_bytes, seed, max_blocks), f"start_counting(max_blocks={max_blocks})")
    _sample_bytes = sample_bytes


def _stop() -> None:
    _allocations.stop()


def _whole(name: str, value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name}={value!r} is not a whole number from {least:,} to {most:,}")
    return value


def _after_fork() -> None:
    global _lock
    _allocations.after_fork()
    _lock = threading.Lock()  # whoever held it is not here


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_stop)  # what is counted later nobody could read; and others may leave the allocator in any order
