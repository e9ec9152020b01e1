"""What a cache counts: for get_stats(), and as series in the segment, where `libperf report` finds them.

The series of a cache are `cache.<name>.<tier>.hits` and so on. A name is interned when it first has something to say: there
is room for a few thousand of them.
"""

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core import lib
from ..metrics import Histogram
from ..names import Kind, intern

if TYPE_CHECKING:
    from .flow import Flow

__all__ = ["CacheInfo", "Counts", "gather", "rate"]

PERCENTILES = (0.5, 0.95, 0.99)


class CacheInfo(NamedTuple):
    """As functools.lru_cache has it. hits: from any tier; misses: how often it was computed, or not found."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


def rate(hits: float, misses: float) -> float:
    return hits / (hits + misses) if hits + misses else 0.0


_all: "weakref.WeakSet[Counts]" = weakref.WeakSet()


class Counts:
    """Numbers that only grow, and timings. Threads: any; nothing gets lost."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._series: dict[str, int] = {}
        self._times: dict[str, Histogram] = {}
        _all.add(self)

    def __getitem__(self, what: str) -> int:
        return self._counts.get(what, 0)

    def skipped(self) -> dict[str, int]:
        """`skipped_<reason>`: how many values were handed out and not kept, for each reason there was."""
        with self._lock:
            return {what: number for what, number in self._counts.items() if what.startswith("skipped_")}

    def add(self, what: str, amount: int = 1) -> None:
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + amount
        lib.perf_metric_add(self.number(Kind.COUNTER, what), amount)

    def raise_to(self, what: str, total: int) -> None:
        """Somebody else counts it; this is where he is."""
        with self._lock:
            amount = total - self._counts.get(what, 0)
            if amount > 0:
                self._counts[what] = total
        if amount > 0:
            lib.perf_metric_add(self.number(Kind.COUNTER, what), amount)

    def set(self, what: str, value: float) -> None:
        lib.perf_metric_set(self.number(Kind.GAUGE, what), value)

    def time(self, what: str, ns: int) -> None:
        lib.perf_metric_record(self.number(Kind.TIMING, what), max(0, ns))
        with self._lock:
            times = self._times.get(what)
            if times is None:
                times = self._times[what] = Histogram()
            lib.perf_histogram_record(times._get(), max(0, ns))

    def percentiles(self) -> dict[str, float]:
        """`<tier>_get_p50` and so on, in seconds."""
        with self._lock:
            return {
                f"{what.replace('.', '_')}_p{round(q * 100)}": times.quantile(q)
                for what, times in self._times.items()
                for q in PERCENTILES
            }

    def number(self, kind: Kind, what: str) -> int:
        number = self._series.get(what)
        if number is None:
            number = self._series[what] = intern(kind, f"cache.{self.name}.{what}")
        return number

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


def _after_fork() -> None:
    for counts in list(_all):
        counts._after_fork()


os.register_at_fork(after_in_child=_after_fork)


def gather(flow: "Flow") -> dict[str, Any]:
    """All that is known of a cache; its gauges in the segment are brought up to date in passing."""
    counts, memory = flow.counts, flow.memory.stats()
    counts.raise_to("memory.evictions", int(memory["evictions"]))
    counts.set("memory.entries", memory["entries"])
    if flow.memory.max_weight:  # else nobody weighs them
        counts.set("memory.bytes", memory["bytes"])
    hits = {"memory": flow.memory.hits} | {tier.name: counts[f"{tier.name}.hits"] for tier in flow.tiers}
    misses = flow.memory.misses
    lookups = hits["memory"] + misses
    found = sum(hits.values())
    flights = flow.flights
    counts.raise_to("computed", flights.computed)
    counts.raise_to("flights", flights.started)
    counts.raise_to("waited", flights.waited)
    stats: dict[str, Any] = {
        "hits": found,
        "misses": lookups - found,
        "overall_hit_rate": rate(found, lookups - found),
        "l1_hit_rate": rate(hits["memory"], misses),
        "l2_hit_rate": rate(counts["disk.hits"], counts["disk.misses"]),
        "l3_hit_rate": rate(counts["redis.hits"], counts["redis.misses"]),
        "l1_hits": hits["memory"],
        "l1_misses": misses,
        **memory,
        "computed": flights.computed,
        "flights": flights.started,
        "waited": flights.waited,
        "stale_served": counts["stale"],
        "refreshes": counts["refreshes"],
        "failures": counts["failures"],
        "errors": counts["errors"],
        "unstorable": counts["unstorable"],
        "compressions": 0,
        **counts.skipped(),
    }
    for tier in flow.tiers:
        level = "l2" if tier.name == "disk" else "l3"
        stats[f"{level}_hits"], stats[f"{level}_misses"] = hits[tier.name], counts[f"{tier.name}.misses"]
        of_tier = tier.stats()
        stats |= {f"{tier.name}_{what}": value for what, value in of_tier.items()}
        for what in ("evictions", "errors"):
            counts.raise_to(f"{tier.name}.{what}", int(of_tier.get(what, 0)))
        for what in ("bytes", "entries"):
            if what in of_tier:
                counts.set(f"{tier.name}.{what}", of_tier[what])
    stats |= getattr(flow.values, "stats", dict)()
    return stats | counts.percentiles()
