"""How urgent an item is."""

from enum import IntEnum

from .._core import lib

__all__ = ["Priority"]


class Priority(IntEnum):
    """The smaller goes first, but nobody starves: an item is overtaken only by more urgent ones that come soon after it.

    How soon is the difference of the priorities' `aging`: 0, 0.1, 1 and 10 seconds.
    """

    CRITICAL = lib.PERF_PRIORITY_CRITICAL
    HIGH = lib.PERF_PRIORITY_HIGH
    NORMAL = lib.PERF_PRIORITY_NORMAL
    LOW = lib.PERF_PRIORITY_LOW
