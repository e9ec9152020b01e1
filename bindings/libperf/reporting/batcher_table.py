"""Batchers for people: the table that `libperf report` has for them, one row each."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..units import count, printable, seconds, short
from .batchers import Batcher

__all__ = ["batcher_rows"]

LEAST_NAME = 12  # columns: before names get shorter than that, columns go


class Column(NamedTuple):
    """One column. `rank`: which go first when the terminal is narrow; 0 stays."""

    heading: str
    rank: int
    cell: Callable[[Batcher], str]
    style: str = ""


COLUMNS = [
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
        yield _table(rows, width)
    for each in batchers:
        if said := "; ".join(_said(each)):
            yield Text.assemble(("  batcher ", "dim"), f"{short(printable(each.name))}: {said}")


def _table(rows: list[Batcher], width: int) -> Table:
    names = [Text(short(printable(each.name)), "bold") for each in rows]
    columns = [column for column in COLUMNS if any(column.cell(each) != "–" for each in rows)]
    widest = max(name.cell_len for name in names)

    def needed() -> int:
        wide = (max(len(column.heading), *(len(column.cell(each)) for each in rows)) + 2 for column in columns)
        return max(LEAST_NAME, widest) + 1 + sum(wide)

    while needed() > width and any(column.rank for column in columns):
        least = min(column.rank for column in columns if column.rank)
        columns = [column for column in columns if column.rank != least]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("batcher", no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for name, each in zip(names, rows, strict=True):
        table.add_row(name, *(_styled(column, each) for column in columns))
    return table


def _styled(column: Column, batcher: Batcher) -> Text:
    text = column.cell(batcher)
    return Text(text, "dim" if text == "–" else column.style)


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
