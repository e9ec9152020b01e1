"""Caches in a report: one row a cache and tier, made of the series that caches write.

| series of cache NAME | kind |
|---|---|
| `cache.NAME.TIER.hits`, `.misses`, `.evictions`, `.errors` | counters |
| `cache.NAME.TIER.bytes`, `.entries` | gauges |
| `cache.NAME.TIER.get` | timing |
| `cache.NAME.computed`, `.flights`, `.waited`, `.stale`, `.refreshes` | counters |
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import Row

__all__ = ["Cache", "Tier", "find_caches", "is_of_cache"]

TIERS = ("memory", "disk", "redis")  # as they are asked
OF_TIER = re.compile(rf"cache\.(.+)\.({'|'.join(TIERS)})\.(hits|misses|evictions|errors|bytes|entries|get)", re.DOTALL)
OF_CACHE = re.compile(r"cache\.(.+)\.(computed|flights|waited|stale|refreshes)", re.DOTALL)


@dataclass(slots=True)
class Tier:
    """What a tier did since the program began. Percentiles in seconds, of answers; None: it was not measured."""

    name: str
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    errors: int = 0
    entries: int | None = None
    bytes: int | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None

    @property
    def hit_rate(self) -> float | None:
        """Of those that asked; None: nobody did."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "tier": self.name,
            "hits": self.hits,
            "misses": self.misses,
            "hit_rate": self.hit_rate,
            "evictions": self.evictions,
            "errors": self.errors,
            "entries": self.entries,
            "bytes": self.bytes,
            "p50_s": self.p50,
            "p95_s": self.p95,
            "p99_s": self.p99,
        }


@dataclass(slots=True)
class Cache:
    """A cache and its tiers, in the order in which they are asked."""

    name: str
    computed: int = 0  # values: neither memory nor a shared tier had them
    flights: int = 0  # what memory did not have was asked of the tiers, and computed, for all who wanted it
    waited: int = 0  # for the flight of another
    stale: int = 0  # old answers that were given meanwhile
    refreshes: int = 0  # computed anew before they were too old
    tiers: list[Tier] = field(default_factory=list)

    def tier(self, name: str) -> Tier:
        for known in self.tiers:
            if known.name == name:
                return known
        self.tiers.append(Tier(name))
        self.tiers.sort(key=lambda tier: TIERS.index(tier.name))
        return self.tier(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `--json` writes it (docs/json.md)."""
        fields = ("name", "computed", "flights", "waited", "stale", "refreshes")
        return {name: getattr(self, name) for name in fields} | {"tiers": [tier.to_dict() for tier in self.tiers]}


def is_of_cache(series: str) -> bool:
    """Whether a row of a cache says what the series says."""
    return bool(OF_TIER.fullmatch(series) or OF_CACHE.fullmatch(series))


def find_caches(counters: Mapping[str, int], gauges: Mapping[str, float], timings: "Iterable[Row]") -> list[Cache]:
    """By name."""
    caches: dict[str, Cache] = {}
    for name, value in [*counters.items(), *gauges.items()]:
        if found := OF_TIER.fullmatch(name):
            tier = caches.setdefault(found[1], Cache(found[1])).tier(found[2])
            if hasattr(tier, found[3]):
                setattr(tier, found[3], _whole(value))
        elif found := OF_CACHE.fullmatch(name):
            setattr(caches.setdefault(found[1], Cache(found[1])), found[2], _whole(value))
    for row in timings:
        if (found := OF_TIER.fullmatch(row.name)) and found[3] == "get":
            tier = caches.setdefault(found[1], Cache(found[1])).tier(found[2])
            tier.p50, tier.p95, tier.p99 = row.p50, row.p95, row.p99
    return [caches[name] for name in sorted(caches)]


def _whole(value: float) -> int:
    """A gauge holds what it was given."""
    return int(value) if abs(value) < 2**63 else 0  # neither NaN nor infinite
