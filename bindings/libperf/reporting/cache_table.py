"""Caches for people: the table that `libperf report` has for them, one row a cache and tier."""

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from ..units import count, percent, printable, seconds, short, size
from .caches import Cache, Tier
from .columns import Column, fitting_table

__all__ = ["cache_rows"]

COLUMNS: list[Column[Tier]] = [
    Column("hits", 0, lambda tier: count(tier.hits)),
    Column("misses", 0, lambda tier: count(tier.misses)),
    Column("hit rate", 0, lambda tier: "–" if tier.hit_rate is None else percent(tier.hit_rate)),
    Column("P50", 4, lambda tier: _time(tier.p50)),
    Column("P95", 2, lambda tier: _time(tier.p95)),
    Column("P99", 5, lambda tier: _time(tier.p99)),
    Column("entries", 1, lambda tier: "–" if tier.entries is None else f"{tier.entries:,}"),
    Column("size", 6, lambda tier: "–" if tier.bytes is None else size(tier.bytes)),
    Column("evicted", 3, lambda tier: count(tier.evictions)),
    Column("errors", 0, lambda tier: count(tier.errors), "red"),
]


def _time(value: float | None) -> str:
    return "–" if value is None else seconds(value)


def cache_rows(caches: list[Cache], width: int) -> Iterable[RenderableType]:
    """The table, as many columns as fit; and what the caches computed."""
    rows = [(cache, tier) for cache in caches for tier in cache.tiers]
    if rows:
        names = [Text.assemble((short(printable(cache.name)), "bold"), f" {tier.name}") for cache, tier in rows]
        yield fitting_table("cache", names, [tier for _, tier in rows], COLUMNS, width)
    for cache in caches:
        if said := ", ".join(_said(cache)):
            yield Text.assemble(("  cache ", "dim"), f"{short(printable(cache.name))}: {said}")


def _said(cache: Cache) -> Iterable[str]:
    if cache.computed:
        yield f"{cache.computed:,} computed"
    if cache.waited:
        yield f"{cache.waited:,} waited for another's"
    if cache.stale:
        yield f"{cache.stale:,} stale answers"
    if cache.refreshes:
        yield f"{cache.refreshes:,} refreshed early"
