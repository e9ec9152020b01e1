"""Caches for people: the table that `libperf report` has for them, one row a cache and tier."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..units import count, percent, printable, seconds, short, size
from .caches import Cache, Tier

__all__ = ["cache_rows"]

LEAST_NAME = 12  # columns: before names get shorter than that, columns go


class Column(NamedTuple):
    """One column. `rank`: which go first when the terminal is narrow; 0 stays."""

    heading: str
    rank: int
    cell: Callable[[Tier], str]
    style: str = ""


COLUMNS = [
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
        yield _table(rows, width)
    for cache in caches:
        if said := ", ".join(_said(cache)):
            yield Text.assemble(("  cache ", "dim"), f"{short(printable(cache.name))}: {said}")


def _table(rows: list[tuple[Cache, Tier]], width: int) -> Table:
    names = [Text.assemble((short(printable(cache.name)), "bold"), f" {tier.name}") for cache, tier in rows]
    columns = [column for column in COLUMNS if any(column.cell(tier) != "–" for _, tier in rows)]
    widest = max(name.cell_len for name in names)

    def needed() -> int:
        wide = (max(len(column.heading), *(len(column.cell(tier)) for _, tier in rows)) + 2 for column in columns)
        return max(LEAST_NAME, widest) + 1 + sum(wide)

    while needed() > width and any(column.rank for column in columns):
        least = min(column.rank for column in columns if column.rank)
        columns = [column for column in columns if column.rank != least]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("cache", no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for name, (_, tier) in zip(names, rows, strict=True):
        table.add_row(name, *(_styled(column, tier) for column in columns))
    return table


def _styled(column: Column, tier: Tier) -> Text:
    text = column.cell(tier)
    return Text(text, "dim" if text == "–" else column.style)


def _said(cache: Cache) -> Iterable[str]:
    if cache.computed:
        yield f"{cache.computed:,} computed"
    if cache.waited:
        yield f"{cache.waited:,} waited for another's"
    if cache.stale:
        yield f"{cache.stale:,} stale answers"
    if cache.refreshes:
        yield f"{cache.refreshes:,} refreshed early"
