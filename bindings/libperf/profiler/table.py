"""Hotspots for people: the table of functions, and who held event loops up."""

import io
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..units import printable, seconds, short
from .hotspots import Hotspot, Hotspots

__all__ = ["hotspots", "render_text"]

ROWS = 10
PLACES = 3  # of stalls


class Column(NamedTuple):
    """One column. `rank`: which go first when the terminal is narrow; 0 stays."""

    heading: str
    rank: int
    cell: Callable[[Hotspot], str]


def _bytes(value: int | None) -> str:
    if value is None:
        return "–"
    return f"{value / 2**20:,.1f} MiB" if value >= 2**20 else f"{value / 2**10:,.1f} KiB"


def _gain(row: Hotspot) -> str:
    return "–" if row.what_if is None else f"−{row.what_if * 100:.0f} %"


COLUMNS = [
    Column("score", 0, lambda row: f"{row.score:.1f}"),
    Column("cumulative", 0, lambda row: seconds(row.total)),
    Column("self", 1, lambda row: seconds(row.own)),
    Column("calls", 2, lambda row: "–" if row.calls is None else f"{row.calls:,}"),
    Column("memory", 3, lambda row: _bytes(row.memory)),
    Column("wait", 4, lambda row: "–" if row.wait is None else seconds(row.wait)),
    Column("saves if 2× faster", 5, _gain),
]


def hotspots(found: Hotspots, width: int, top: int = ROWS) -> RenderableType:
    """The table, as many columns as fit into `width`, and the stalls."""
    parts: list[RenderableType] = []
    rows = found.rows[:top]
    if rows:
        parts.append(_table(rows, width))
        if len(found.rows) > len(rows):
            parts.append(Text(f"and {len(found.rows) - len(rows):,} functions more", "dim"))
    if found.samples:
        parts.append(Text(f"{found.samples:,} samples of {seconds(found.cpu)} CPU time; waits are not sampled", "dim"))
    parts += _stalls(found)
    if not parts:
        parts.append(Text("no sample and no profiled call: nothing used the CPU, or it was not sampled"))
    return Group(*parts)


def _place(file: str, line: int) -> str:
    return f"{PurePath(file).name or file}:{line}"


def _table(rows: list[Hotspot], width: int) -> Table:
    columns = [column for column in COLUMNS if any(column.cell(row) != "–" for row in rows)]
    names = [
        Text.assemble((printable(_place(row.file, row.line)) + " ", "dim"), short(printable(row.function)))
        for row in rows
    ]

    def needed() -> int:
        wide = (max(len(c.heading), *(len(c.cell(row)) for row in rows)) + 2 for c in columns)
        return max(name.cell_len for name in names) + 4 + sum(wide)

    while needed() > width and any(column.rank for column in columns):
        most = max(column.rank for column in columns)
        columns = [column for column in columns if column.rank != most]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("functions", no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for number, (name, row) in enumerate(zip(names, rows, strict=True), 1):
        table.add_row(str(number), name, *(column.cell(row) for column in columns))
    return table


def _stalls(found: Hotspots) -> Iterable[Text]:
    if not found.stalls:
        return
    times = sum(stall.times for stall in found.stalls)
    worst = found.stalls[0]
    text = f"event loop held up {times:,} time{'s' * (times != 1)}, worst {seconds(worst.worst)}"
    yield Text(f"{text} {_at(worst.frame)}", "bold yellow")
    for stall in found.stalls[1:PLACES]:
        yield Text(f"  also {stall.times:,} × up to {seconds(stall.worst)} {_at(stall.frame)}", "yellow")


def _at(frame: "tuple[str, str, int] | None") -> str:
    if frame is None:
        return "by something that was over before it was looked at"
    function, file, line = frame
    return printable(f"at {_place(file, line)} {function}")


def render_text(found: Hotspots, width: int = 120, top: int = ROWS) -> str:
    """As plain text."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, force_terminal=False).print(hotspots(found, width, top))
    return file.getvalue()
