"""A table that gives up columns where the terminal is narrow: of caches, of batchers."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

__all__ = ["Column", "fitting_table"]

T = TypeVar("T")
LEAST_NAME = 12  # columns: before names get shorter than that, columns go


class Column(NamedTuple, Generic[T]):
    """One column. `rank`: which go first when the terminal is narrow, the lowest; 0 stays. A cell of "–": nothing is known."""

    heading: str
    rank: int
    cell: Callable[[T], str]
    style: str = ""


def fitting_table(
    heading: str, names: Sequence[Text], rows: Sequence[T], columns: Sequence[Column[T]], width: int
) -> Table:
    """A row for each name, and as many columns as fit, of those in which something is known."""
    shown = [column for column in columns if any(column.cell(row) != "–" for row in rows)]
    widest = max(name.cell_len for name in names)

    def needed() -> int:
        wide = (max(len(column.heading), *(len(column.cell(row)) for row in rows)) + 2 for column in shown)
        return max(LEAST_NAME, widest) + 1 + sum(wide)

    while needed() > width and any(column.rank for column in shown):
        least = min(column.rank for column in shown if column.rank)
        shown = [column for column in shown if column.rank != least]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column(heading, no_wrap=True, overflow="ellipsis")
    for column in shown:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for name, row in zip(names, rows, strict=True):
        table.add_row(name, *(_styled(column, column.cell(row)) for column in shown))
    return table


def _styled(column: Column[T], text: str) -> Text:
    return Text(text, "dim" if text == "–" else column.style)
