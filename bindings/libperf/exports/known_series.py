"""Which family the series of a cache, a batcher or an objective belongs to: `cache.users.memory.hits` is
`libperf_cache_hits_total{cache="users",tier="memory"}`."""

import re
from typing import Literal, NamedTuple

from ..reporting.batchers import SERIES as OF_BATCHER
from ..reporting.caches import OF_CACHE, OF_TIER

__all__ = ["KNOWN", "Home", "Known", "home_of"]

OF_SLO = re.compile(r"slo\.(.+)\.(calls|bad|limit|objective)", re.DOTALL)
What = Literal["counter", "gauge", "timing"]


class Known(NamedTuple):
    """A family that we write ourselves."""

    type: Literal["counter", "gauge", "histogram"]
    help: str
    unit: str = ""
    together: Literal["last", "sum"] = "last"  # of a gauge, over processes

    def begin(self, name: str) -> "tuple[str, Literal['counter', 'gauge', 'histogram'], str]":
        return name, self.type, self.help


class Home(NamedTuple):
    """Where a series belongs."""

    family: str
    labels: tuple[tuple[str, str], ...]


KNOWN: dict[str, Known] = {
    "libperf_cache_hits": Known("counter", "Lookups that a cache's tier answered."),
    "libperf_cache_misses": Known("counter", "Lookups that a cache's tier could not answer."),
    "libperf_cache_evictions": Known("counter", "Entries that had to go from a cache's tier for others."),
    "libperf_cache_errors": Known("counter", "Times that a cache's tier failed; each was a miss."),
    "libperf_cache_bytes": Known("gauge", "Bytes in a cache's tier.", "bytes", "sum"),
    "libperf_cache_entries": Known("gauge", "Entries in a cache's tier.", "", "sum"),
    "libperf_cache_get_seconds": Known("histogram", "How long a cache's tier took to answer.", "seconds"),
    "libperf_cache_computed": Known("counter", "Values that no tier of a cache had."),
    "libperf_cache_flights": Known(
        "counter", "Times that what memory did not have was asked of the tiers, or computed."
    ),
    "libperf_cache_waited": Known("counter", "Lookups that waited for the flight of another one."),
    "libperf_cache_stale": Known("counter", "Old values that were given meanwhile."),
    "libperf_cache_refreshes": Known("counter", "Values computed anew before they were too old."),
    "libperf_batcher_items": Known("counter", "Items that were taken into batches."),
    "libperf_batcher_weight": Known("counter", "What those items weighed."),
    "libperf_batcher_batches": Known("counter", "Batches."),
    "libperf_batcher_rejected": Known("counter", "Items that a full queue refused."),
    "libperf_batcher_cancelled": Known("counter", "Items that were cancelled."),
    "libperf_batcher_failed": Known("counter", "Items that failed."),
    "libperf_batcher_throttled": Known("counter", "Batches that the service refused for now."),
    "libperf_batcher_went": Known("counter", "Batches by the reason why they went."),
    "libperf_batcher_dropped": Known("counter", "Items that were given up, by the reason."),
    "libperf_batcher_wait_seconds": Known("histogram", "How long items waited until they were in a batch.", "seconds"),
    "libperf_batcher_service_seconds": Known("histogram", "How long batches took.", "seconds"),
    "libperf_batcher_base_seconds": Known(
        "gauge", "What a batch costs, whatever its size, as it was learned.", "seconds"
    ),
    "libperf_batcher_each_seconds": Known("gauge", "What an item more costs, as it was learned.", "seconds"),
    "libperf_slo_calls": Known("counter", "Calls that an objective has judged."),
    "libperf_slo_bad": Known("counter", "Of them, calls that failed or took too long; exact."),
    "libperf_slo_limit_seconds": Known("gauge", "A call may take so long.", "seconds"),
    "libperf_slo_objective_ratio": Known("gauge", "So many calls, of all, are to be good.", "ratio"),
}

_UNITS = {"get": "_seconds", "wait": "_seconds", "service": "_seconds", "base": "_seconds", "each": "_seconds"}
_UNITS |= {"limit": "_seconds", "objective": "_ratio"}
_TYPES = {"counter": "counter", "gauge": "gauge", "timing": "histogram"}


def home_of(series: str, what: What) -> Home | None:
    """None: nobody's but the user's."""
    home = _home_of(series)
    return home if home and KNOWN[home.family].type == _TYPES[what] else None


def _home_of(series: str) -> Home | None:
    first = series.partition(".")[0]
    if first == "cache":
        if found := OF_TIER.fullmatch(series):
            return _home("cache", found[3], ("cache", found[1]), ("tier", found[2]))
        if found := OF_CACHE.fullmatch(series):
            return _home("cache", found[2], ("cache", found[1]))
    elif first == "batcher" and (found := OF_BATCHER.fullmatch(series)):
        name, count, went, reason, dropped, drop, cost, time = found.groups()
        reasons = (("reason", reason or drop),) if went or dropped else ()
        return _home("batcher", count or went or dropped or cost or time, ("batcher", name), *reasons)
    elif first == "slo" and (found := OF_SLO.fullmatch(series)):
        return _home("slo", found[2], ("slo", found[1]))
    return None


def _home(part: str, what: str, *labels: tuple[str, str]) -> Home:
    return Home(f"libperf_{part}_{what}{_UNITS.get(what, '')}", labels)
