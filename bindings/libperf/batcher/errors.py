"""What can happen to an item of a batch, as exceptions."""

from ..errors import ClosedError, FullError, PerfError, TimedOutError

__all__ = ["BatchError", "BatcherClosed", "DeadlineExceeded", "ItemShed", "QueueFull"]


class BatchError(PerfError):
    """The batch of this item failed, or this item in it. `__cause__` is what the function raised; each item has its own.

    `index`: the item's place in the batch; `size`: how many items the batch had.
    """

    index: int
    size: int

    def __init__(self, message: str, index: int = 0, size: int = 0):
        super().__init__(message)
        self.index = index
        self.size = size

    def __reduce__(self) -> tuple[type, tuple[str, int, int]]:
        return type(self), (str(self), self.index, self.size)


class DeadlineExceeded(TimedOutError):
    """The item's time was over before its result was there, or could not have been enough."""


class QueueFull(FullError):
    """The queue is full. `retry_after`: seconds until there is probably room again; None: not known."""

    retry_after: float | None = None


class ItemShed(QueueFull):
    """The item was in the queue, and had to make room for another one."""


class BatcherClosed(ClosedError):
    """The processor is closed, or was closed before the item was processed."""
