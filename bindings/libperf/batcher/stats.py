"""What a BatchProcessor tells of itself: seconds and names in place of nanoseconds and numbers."""

from typing import Any, TypedDict

from .._batcher import Queue
from .._core import lib
from .priority import Priority

__all__ = ["BatchStats", "CostModel", "Percentiles", "make_stats"]

REASONS = {
    getattr(lib, f"PERF_BATCH_REASON_{name.upper()}"): name
    for name in ("full", "idle", "enough", "wait", "deadline", "drain", "isolated", "nested")
}


class Percentiles(TypedDict):
    """Seconds, but for what is asked above all: the middle, and the late ones."""

    p50: float
    p95: float
    p99: float


class CostModel(TypedDict):
    """What a batch takes: base + each * n seconds, n items or weight; 19 of 20 take at most `margin` more."""

    known: bool
    base: float
    each: float
    margin: float
    observed: int


class BatchStats(TypedDict):
    """`BatchProcessor.get_stats()`. Times are in seconds."""

    # items
    submitted: int
    finished: int
    failed: int  # of those, because their whole batch did, or was refused too often
    cancelled: int
    blocked: int
    queued: int
    running: int
    queued_weight: int
    queued_by_priority: dict[str, int]
    drops: dict[str, int]  # expired, infeasible, shed, closed, rejected
    orphaned: int  # results whose event loop was closed before they came
    # batches
    batches: int
    batches_failed: int
    batches_throttled: int
    batches_isolated: int
    dispatch_reasons: dict[str, int]
    avg_batch_size: float
    avg_batch_weight: float
    # seconds; wait: of an item, until it is in a batch; process: of a batch, a call of the function; total: of an item, both
    avg_wait_time: float
    avg_process_time: float
    max_wait_time: float
    max_process_time: float
    wait_time: Percentiles
    process_time: Percentiles
    total_time: Percentiles
    # what was learned
    cost_model: CostModel
    arrivals_per_second: float
    concurrency: int
    min_batch_size: int
    max_batch_size: int
    calls_per_second: float | None  # the rate that being refused (429) has left; None: no bound
    paused: bool  # Retry-After
    target_missed: bool  # P95 of total_time, of the last 500 items or so, is above target_latency, for as many by now


def make_stats(queue: Queue, now_ns: int) -> BatchStats:
    found: dict[str, Any] = queue.stats()
    batches, taken = found["batches"], found["items_taken"]
    return BatchStats(
        submitted=found["submitted"],
        finished=found["finished"],
        failed=found["failed"],
        cancelled=found["cancelled"],
        blocked=found["blocked"],
        queued=found["queued"],
        running=found["running"],
        queued_weight=found["queued_weight"],
        queued_by_priority={priority.name: found["queued_by_priority"][priority] for priority in Priority},
        drops={name: found[name] for name in ("expired", "infeasible", "shed", "closed", "rejected")},
        orphaned=queue.orphaned,
        batches=batches,
        batches_failed=found["batches_failed"],
        batches_throttled=found["batches_throttled"],
        batches_isolated=found["batches_isolated"],
        dispatch_reasons={name: found["reasons"][number] for number, name in REASONS.items()},
        avg_batch_size=_mean(taken, batches),
        avg_batch_weight=_mean(found["weight_taken"], batches),
        avg_wait_time=_mean(found["wait_ns"], taken) / 1e9,
        avg_process_time=_mean(found["batch_ns"], found["batches_done"]) / 1e9,
        max_wait_time=found["wait_max_ns"] / 1e9,
        max_process_time=found["batch_max_ns"] / 1e9,
        wait_time=_percentiles(found, "wait"),
        process_time=_percentiles(found, "batch"),
        total_time=_percentiles(found, "total"),
        cost_model=CostModel(
            known=bool(found["known"]),
            base=found["base_ns"] / 1e9,
            each=found["each_ns"] / 1e9,
            margin=found["margin_ns"] / 1e9,
            observed=found["observed"],
        ),
        arrivals_per_second=found["arrivals_per_s"],
        concurrency=found["concurrency"],
        min_batch_size=found["min_items"],
        max_batch_size=found["max_items"],
        calls_per_second=found["calls_per_s"] or None,
        paused=found["paused_until_ns"] > now_ns,
        target_missed=bool(found["target_missed"]),
    )


def _mean(total: float, count: int) -> float:
    return total / count if count > 0 else 0.0


def _percentiles(found: dict[str, Any], of: str) -> Percentiles:
    return Percentiles(
        p50=found[f"{of}_p50_ns"] / 1e9, p95=found[f"{of}_p95_ns"] / 1e9, p99=found[f"{of}_p99_ns"] / 1e9
    )
