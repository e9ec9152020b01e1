"""Batchers in a report: one row each, made of the series that they write.

| series of batcher NAME | kind |
|---|---|
| `batcher.NAME.items`, `.weight`, `.batches` | counters: what was taken |
| `batcher.NAME.went.REASON` | counters: batches, by why they went |
| `batcher.NAME.dropped.REASON` | counters: items that were given up |
| `batcher.NAME.rejected`, `.cancelled`, `.failed` | counters: items |
| `batcher.NAME.throttled` | counter: batches that the service refused |
| `batcher.NAME.wait`, `.service` | timings: of an item until it is in a batch; of a batch |
| `batcher.NAME.base`, `.each` | gauges, seconds: what a batch costs, and an item more |
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import Row

__all__ = ["DROPS", "REASONS", "Batcher", "find_batchers", "is_of_batcher"]

REASONS = ("full", "idle", "enough", "wait", "deadline", "drain", "isolated", "nested")  # by perf_batch_reason
DROPS = ("expired", "infeasible", "shed", "closed")  # by perf_batch_drop, from 1 on
COUNTS = ("items", "weight", "batches", "rejected", "cancelled", "failed", "throttled")
COSTS = ("base", "each")
TIMES = ("wait", "service")
SERIES = re.compile(
    rf"batcher\.(.+)\.(?:({'|'.join(COUNTS)})|(went)\.({'|'.join(REASONS)})|(dropped)\.({'|'.join(DROPS)})"
    rf"|({'|'.join(COSTS)})|({'|'.join(TIMES)}))",
    re.DOTALL,
)


@dataclass(slots=True)
class Batcher:
    """What a batcher did since the program began. Seconds; None: it was not measured."""

    name: str
    items: int = 0
    weight: int = 0
    batches: int = 0
    rejected: int = 0
    cancelled: int = 0
    failed: int = 0
    throttled: int = 0
    went: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    base: float | None = None  # of a batch, whatever its size
    each: float | None = None  # of an item more, or of one of weight
    wait: "Row | None" = None
    service: "Row | None" = None

    @property
    def size(self) -> float | None:
        """Items in a batch, on the average; None: there was none."""
        return self.items / self.batches if self.batches else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `--json` writes it (docs/json.md)."""
        found: dict[str, Any] = {"name": self.name, "mean_size": self.size}
        found |= {name: getattr(self, name) for name in COUNTS}
        found |= {"went": self.went, "dropped": self.dropped, "base_s": self.base, "each_s": self.each}
        for name in TIMES:
            row = getattr(self, name)
            found |= {f"{name}_{q}_s": getattr(row, q) if row else None for q in ("p50", "p95", "p99")}
        return found


def is_of_batcher(series: str) -> bool:
    """Whether a row of a batcher says what the series says."""
    return bool(SERIES.fullmatch(series))


def find_batchers(counters: Mapping[str, int], gauges: Mapping[str, float], timings: "Iterable[Row]") -> list[Batcher]:
    """By name."""
    found: dict[str, Batcher] = {}

    def take(series: str, value: Any, kinds: str) -> None:
        if not (match := SERIES.fullmatch(series)):
            return
        name, count, went, reason, dropped, drop, cost, time = match.groups()
        batcher = found.setdefault(name, Batcher(name))
        if kinds == "counter" and went:
            batcher.went[reason] = value
        elif kinds == "counter" and dropped:
            batcher.dropped[drop] = value
        elif (kinds == "counter" and count) or (kinds == "gauge" and cost) or (kinds == "timing" and time):
            setattr(batcher, count or cost or time, value)

    for series, value in counters.items():
        take(series, value, "counter")
    for series, gauge in gauges.items():
        take(series, gauge if 0 <= gauge < float("inf") else None, "gauge")
    for row in timings:
        take(row.name, row, "timing")
    for batcher in found.values():
        batcher.went = {reason: batcher.went[reason] for reason in REASONS if reason in batcher.went}
        batcher.dropped = {drop: batcher.dropped[drop] for drop in DROPS if drop in batcher.dropped}
    return [found[name] for name in sorted(found)]
