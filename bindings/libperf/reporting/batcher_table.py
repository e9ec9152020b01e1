"""Batchers for people: the table that `libperf report` has for them, one row each."""

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from ..units import count, printable, seconds, short
from .batchers import Batcher
from .columns import Column, fitting_table

__all__ = ["batcher_rows"]

COLUMNS: list[Column[Batcher]] = [
    Column("items", 0, lambda each: count(each.items)),
    Column("batches", 0, lambda each: count(each.batches)),
    Column("size", 0, lambda each: "–" if each.size is None else f"{each.size:.1f}"),
    Column("wait P50", 2, lambda each: _time(each, "wait", "p50")),
    Column("wait P95", 0, lambda each: _time(each, "wait", "p95")),
    Column("service P50", 1, lambda each: _time(each, "service", "p50")),
    Column("service P95", 3, lambda each: _time(each, "service", "p95")),
    Column("cost of n", 4, lambda each: _cost(each)),
    Column("dropped", 0, lambda each: count(sum(each.dropped.values()) + each.rejected), "red"),
    Column("failed", 0, lambda each: count(each.failed), "red"),
]


def _time(batcher: Batcher, which: str, quantile: str) -> str:
    row = getattr(batcher, which)
    return "–" if row is None else seconds(getattr(row, quantile))


def _cost(batcher: Batcher) -> str:
    if batcher.base is None or batcher.each is None:
        return "–"
    return f"{seconds(batcher.base)} + {seconds(batcher.each)}·n"


def batcher_rows(batchers: list[Batcher], width: int) -> Iterable[RenderableType]:
    """The table, as many columns as fit; and why batches went, and items were given up."""
    if rows := [each for each in batchers if each.batches or each.rejected or each.dropped]:
        names = [Text(short(printable(each.name)), "bold") for each in rows]
        yield fitting_table("batcher", names, rows, COLUMNS, width)
    for each in batchers:
        if said := "; ".join(_said(each)):
            yield Text.assemble(("  batcher ", "dim"), f"{short(printable(each.name))}: {said}")


def _said(batcher: Batcher) -> Iterable[str]:
    if batcher.went:
        yield f"went {_counted(batcher.went)}"
    given_up = batcher.dropped | {"rejected": batcher.rejected, "cancelled": batcher.cancelled}
    if any(given_up.values()):
        yield f"gave up {_counted(given_up)}"
    if batcher.throttled:
        yield f"{batcher.throttled:,} batches were refused by the service"


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items() if number)
