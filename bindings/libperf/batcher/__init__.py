"""Calls that many make at once, made together: BatchProcessor, @batched."""

from .._batcher import BatchFuture
from .decorator import Batched, batched
from .errors import BatcherClosed, BatchError, DeadlineExceeded, ItemShed, QueueFull
from .maps import BatchMap
from .priority import Priority
from .processor import BatchProcessor
from .stats import BatchStats

__all__ = [
    "BatchError",
    "BatchFuture",
    "BatchMap",
    "BatchProcessor",
    "BatchStats",
    "Batched",
    "BatcherClosed",
    "DeadlineExceeded",
    "ItemShed",
    "Priority",
    "QueueFull",
    "batched",
]
