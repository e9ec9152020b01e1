"""Numbers out of a run."""

from collections import Counter
from typing import Any

from .engine import Fate, Run, SimulationError

__all__ = ["calls_per_1000", "check", "goodput", "latencies", "mean", "mean_batch", "quantile", "summary"]


def latencies(run: Run, priority: int | None = None) -> list[int]:
    """From arrival to result, in ns, ascending: of all items that were done, or those of one priority."""
    times, priorities = run.trace.times, run.trace.priorities
    return sorted(
        end - times[item]
        for item, (fate, end) in enumerate(zip(run.fates, run.ended, strict=True))
        if fate is Fate.DONE and (priority is None or priorities[item] == priority)
    )


def mean(values: list[int]) -> float:
    """In seconds."""
    return sum(values) / len(values) / 1e9 if values else 0.0


def quantile(ascending: list[int], share: float) -> float:
    """In seconds."""
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)] / 1e9 if ascending else 0.0


def mean_batch(run: Run) -> float:
    return sum(run.sizes) / len(run.sizes) if run.sizes else 0.0


def calls_per_1000(run: Run) -> float:
    """Batches by a thousand items done."""
    done = sum(fate is Fate.DONE for fate in run.fates)
    return 1000 * len(run.sizes) / done if done else 0.0


def goodput(run: Run, priority: int | None = None) -> float:
    """Share of the items that arrived whose result was there by their deadline."""
    trace = run.trace
    chosen = [item for item in range(trace.items) if priority is None or trace.priorities[item] == priority]
    good = sum(run.fates[item] is Fate.DONE and run.ended[item] <= trace.deadline(item) for item in chosen)
    return good / len(chosen) if chosen else 0.0


def check(run: Run) -> None:
    """Each item ended exactly once (the engine looks at every end), none before it came, and Little's law holds: items
    in the system, measured over time, are arrivals a second times the mean time that they were there."""
    times = run.trace.times
    counts = Counter(run.fates)
    if counts[Fate.PENDING] or sum(counts.values()) != len(times):
        raise SimulationError(f"{run.policy.name}: {counts[Fate.PENDING]} items never ended")
    stays = [end - time for end, time in zip(run.ended, times, strict=True)]
    if min(stays, default=0) < 0 or any(0 < taken < time for taken, time in zip(run.taken, times, strict=True)):
        raise SimulationError(f"{run.policy.name}: something happened before its item came")
    if abs(run.area - sum(stays)) > 0.02 * run.area:
        raise SimulationError(f"{run.policy.name}: {run.area} item-ns in the system, {sum(stays)} of items")


def summary(run: Run) -> dict[str, Any]:
    """A row of a table. Latencies are of the items that were done."""
    check(run)
    found, counts = latencies(run), Counter(run.fates)
    row: dict[str, Any] = {
        "policy": run.policy.name,
        "seed": run.trace.seed,
        "arrivals": run.trace.items,
        "mean_ms": round(mean(found) * 1e3, 3),
        "p50_ms": round(quantile(found, 0.5) * 1e3, 3),
        "p95_ms": round(quantile(found, 0.95) * 1e3, 3),
        "p99_ms": round(quantile(found, 0.99) * 1e3, 3),
        "batch": round(mean_batch(run), 2),
        "calls": len(run.sizes),
    }
    for fate in (Fate.FAILED, Fate.CANCELLED, Fate.DROPPED, Fate.REJECTED):
        row[fate.name.lower()] = counts[fate]
    if run.trace.within:
        row["on_time"] = round(goodput(run) * 100, 2)
    return row
