"""The queue that the batcher uses, as a policy: perf_batch_queue, told the time instead of looking at a clock."""

from typing import Any

from ..._core import ffi, lib
from ...errors import check
from .engine import Batch, SimulationError
from .workloads import Agents, Cost, Trace

__all__ = ["Ours"]


class Ours:
    """`most` items a batch, `slots` batches at a time (0: it finds out), and a queue that is never full; `settings` are others
    of perf_batch_config, by name."""

    drains = False

    def __init__(
        self,
        trace: Trace,
        most: int,
        slots: int = 1,
        cost: Cost | None = None,
        name: str = "libperf",
        **settings: int,
    ) -> None:
        """cost: what it knows from the beginning; else it learns."""
        self.name = name
        self._trace = trace
        config, out = ffi.new("perf_batch_config *"), ffi.new("perf_batch_queue **")
        lib.perf_batch_config_init(config)
        settings = {"max_items": most, "concurrency": slots, "max_queued": 10_000_000, **settings}
        for field, value in settings.items():
            setattr(config, field, value)
        check(lib.perf_batch_queue_create(config, out), f"a queue with {settings}")
        self._items = ffi.new("perf_batch_item[]", trace.total if isinstance(trace, Agents) else trace.items)
        self._queue = ffi.gc(out[0], lib.perf_batch_queue_destroy)
        if cost:
            model = lib.perf_batch_queue_cost(self._queue)
            check(lib.perf_batch_cost_fix(model, cost.base * 1e9, cost.each * 1e9), f"{cost}")
        self._next, self._spare = ffi.new("perf_batch *"), list[Any]()

    def submit(self, item: int, now: int) -> bool:
        trace, it = self._trace, self._items + item
        it.priority = trace.priorities[item] if trace.priorities else lib.PERF_PRIORITY_NORMAL
        if trace.within:
            it.deadline_ns = trace.deadline(item)
        if trace.weights:
            it.weight = trace.weights[item]
        error = lib.perf_batch_queue_submit_at(self._queue, it, now)
        if error == lib.PERF_ERR_FULL:
            return False
        check(error, f"item {item}")
        return True

    def cancel(self, item: int, now: int) -> bool:
        return bool(lib.perf_batch_queue_cancel_at(self._queue, self._items + item, now))

    def take(self, now: int) -> Batch | None:
        batch = self._next
        if not lib.perf_batch_queue_take_at(self._queue, batch, now):
            return None
        self._next = self._spare.pop() if self._spare else ffi.new("perf_batch *")
        found, items, it = list[int](), self._items, batch.first
        while it:
            found.append(it - items)
            it = it.next
        if len(found) != batch.items:
            raise SimulationError(f"a batch of {batch.items} items leads to {len(found)}")
        return Batch(found, batch)

    def done(self, batch: Batch, failed: bool, now: int) -> list[int]:
        outcome = lib.PERF_BATCH_FAILED if failed else lib.PERF_BATCH_OK
        lib.perf_batch_queue_done_at(self._queue, batch.handle, outcome, 0, now)
        self._spare.append(batch.handle)
        if not failed:
            return []
        return [item for item in batch.items if self._items[item].state == lib.PERF_BATCH_ISOLATED]

    def dropped(self, now: int) -> list[int]:
        found, items = list[int](), self._items
        while it := lib.perf_batch_queue_dropped_at(self._queue, now):
            found.append(it - items)
        return found

    def wake(self, now: int) -> int:
        return int(lib.perf_batch_queue_wake_at(self._queue, now))

    def close(self) -> None:
        lib.perf_batch_queue_close(self._queue)

    def stats(self) -> Any:
        """perf_batch_stats, now."""
        out = ffi.new("perf_batch_stats *")
        lib.perf_batch_queue_stats_now(self._queue, out)
        return out
