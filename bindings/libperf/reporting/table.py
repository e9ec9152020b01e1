"""Reports for people: tables in a terminal, by rich."""

import io
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..analysis import Analysis
from ..memory.report import is_of_memory
from ..names import Kind
from ..profiler.hotspots import Hotspots, is_of_profile
from ..units import count, percent, printable, rate, seconds, short, size
from . import Call, Report, Row
from .batchers import is_of_batcher
from .caches import is_of_cache

TITLES = {
    Kind.GRAPH: "graph",
    Kind.NODE: "node",
    Kind.LLM: "llm",
    Kind.TOOL: "tool",
    Kind.RETRIEVER: "retriever",
    Kind.EMBEDDING: "embedding",
    Kind.REQUEST: "request",
    Kind.SPAN: "function",
    Kind.TIMING: "timing",
}
COLOURS = {Kind.GRAPH: "bold", Kind.NODE: "cyan", Kind.LLM: "magenta", Kind.TOOL: "yellow"}
OPEN_SHOWN = 20

LOSSES = {
    "dropped_records": "spans found no room in the ring",
    "dropped_values": "values or latencies found no room: counts and percentiles miss them",
    "dropped_attributes": "attributes found no room (8 to a span)",
    "cut_texts": "texts were cut at 200 bytes",
    "names_over": "names came after the table of 4,096 was full and are counted as (other)",
    "spans_unseen": "spans were open beyond 1,024 at a time and never visible as open",
    "frames_over": "samples found no room for their whole stack and are counted at their callers",
    "damaged": "parts of the file were damaged and skipped",
}


class Column(NamedTuple):
    """One column of the table. `rank`: which go first when the terminal is narrow; 0 stays."""

    heading: str
    rank: int
    cell: Callable[[Row], Text]


def _plain(text: str, dim: bool = False) -> Text:
    return Text(text, style="dim" if dim else "")


def _columns(rows: list[Row], lost: bool) -> list[Column]:
    """What there is to show, from left to right. A percentile is dim when there were too few calls for it to be
    anything but one of the slowest."""
    columns = [
        Column("calls", 0, lambda row: _plain(count(row.calls))),
        Column("errors", 0, lambda row: Text(count(row.errors), style="red" if row.errors else "dim")),
        Column("P50", 0, lambda row: _plain(seconds(row.p50))),
        Column("P95", 5, lambda row: _plain(seconds(row.p95), row.calls < 20)),
        Column("P99", 0, lambda row: _plain(seconds(row.p99), row.calls < 100)),
        Column("max", 6, lambda row: _plain(seconds(row.max))),
        Column("tokens in", 4, lambda row: _plain(count(row.input_tokens))),
        Column("out", 4, lambda row: _plain(count(row.output_tokens))),
        Column("allocated", 7, lambda row: _plain(size(row.allocated) if row.allocated else "–")),
        Column("calls/s", 3, lambda row: _plain(rate(row.per_second))),
        Column("", 1, lambda row: Text(bar(row.share), style="blue")),
        Column("share of wall", 0, lambda row: _plain(("≤ " if lost else "") + percent(row.share))),
    ]
    if not any(row.input_tokens or row.output_tokens for row in rows):
        columns = [column for column in columns if column.heading not in ("tokens in", "out")]
    if not any(row.allocated for row in rows):
        columns = [column for column in columns if column.heading != "allocated"]
    return columns


def operations(rows: list[Row], lost: bool, width: int) -> Table:
    """The table of operations, as many columns as fit into `width`."""
    names = [
        Text.assemble((f"{TITLES[row.kind]} ", "dim"), (short(row.name), COLOURS.get(row.kind, ""))) for row in rows
    ]
    columns = _columns(rows, lost)
    cells = {column: [column.cell(row) for row in rows] for column in columns}

    def needed() -> int:
        wide = (max(len(column.heading), *(len(cell) for cell in cells[column])) + 2 for column in columns)
        return max(len(name) for name in names) + sum(wide)

    while needed() > width and any(column.rank for column in columns):
        least = min(column.rank for column in columns if column.rank)
        columns = [column for column in columns if column.rank != least]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("operation", no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column.heading, justify="right" if column.heading else "left", no_wrap=True)
    for i, name in enumerate(names):
        table.add_row(name, *(cells[column][i] for column in columns))
    return table


def bar(share: float) -> str:
    """A share as a bar of eight characters."""
    full, part = divmod(round(share * 8 * 8), 8)
    return f"{'█' * full + ('▏▎▍▌▋▊▉'[part - 1] if part else ''):<8}"


def calls(title: str, found: list[Call]) -> Iterable[RenderableType]:
    if not found:
        return
    yield Text()
    yield Text(title, style="bold")
    for call in found:
        details = printable(" ".join(f"{name.rpartition('.')[2]}={value}" for name, value in call.attributes.items()))
        mark = {"error": " failed", "cancelled": " cancelled"}.get(call.status, "")
        yield Text.assemble(
            f"  {seconds(call.duration):>8}  ",
            (f"{TITLES[call.kind]} ", "dim"),
            (short(call.name), COLOURS.get(call.kind, "")),
            (mark, "red"),
            (f"  at {seconds(call.start)}  {details}", "dim"),
            no_wrap=True,
            overflow="ellipsis",
        )


def open_calls(report: Report) -> Iterable[RenderableType]:
    """The oldest of those that never ended: how long each lasted so far. A hung program may have a thousand."""
    title = "open now" if report.state == "running" else "still open at the end"
    yield from calls(f"{title}, {len(report.open):,}, oldest first", report.open[:OPEN_SHOWN])
    if (more := len(report.open) - OPEN_SHOWN) > 0:
        yield Text(f"            and {more:,} more: --json has all of them", style="dim")
    if report.open and report.state == "running":
        yield Text(f"  libperf top {report.info.pid} shows which is inside of which, and follows them", style="dim")


def notes(report: Report) -> Iterable[RenderableType]:
    """What a reader must know to take the numbers for what they are."""
    few = [row for row in report.rows if row.calls < 100]
    if few:
        yield Text("dim: with fewer than 20 (P95) or 100 (P99) calls it is one of the slowest calls", style="dim")
    if any(row.allocated for row in report.rows):
        yield Text("allocated: by the operation itself, without what it calls", style="dim")
    if report.lost:
        text = f"{report.lost:,} finished spans were overwritten before they were read: counts and percentiles include"
        yield Text(f"{text} them, the slowest calls do not, shares are upper bounds", style="yellow")
    for loss, number in report.info.losses.items():
        yield Text(f"{number:,} {LOSSES[loss]}", style="yellow")


def _has_row(series: str) -> bool:
    """A cache's, batcher's or function's row, or the line about allocations, says what it says."""
    return is_of_cache(series) or is_of_batcher(series) or is_of_memory(series) or is_of_profile(series)


def render(report: Report, width: int) -> RenderableType:
    """The whole report for a terminal of `width` columns, without where the trace lies."""
    info = report.info
    wall = f"  wall {seconds(report.wall)}" if report.wall else ""  # without a span there is none
    head = Text.assemble(
        ("libperf report", "bold"),
        f"  {info.service or info.command or 'process'}  pid {info.pid}  {report.state}{wall}",
    )
    parts: list[RenderableType] = [Text(), head, Text()]
    if report.rows:
        parts.append(operations(report.rows, bool(report.lost), width))
    else:
        parts.append(Text("no span was recorded: decorate functions with @libperf.trace, or libperf.instrument()"))
    if caches := report.caches:
        from .cache_table import cache_rows

        parts += [Text(), *cache_rows(caches, width)]
    if batchers := report.batchers:
        from .batcher_table import batcher_rows

        parts += [Text(), *batcher_rows(batchers, width)]
    if timings := [row for row in report.timings if not _has_row(row.name)]:
        parts += [Text(), operations(timings, True, width)]
    for name, value in [*report.counters.items(), *report.gauges.items()]:
        if not _has_row(name):
            parts.append(Text.assemble(("  metric ", "dim"), f"{name} = {value:,}"))
    if report.counters:
        from ..memory.table import allocated_rows

        parts += allocated_rows(report.counters, report.allocations)
    parts += calls("slowest calls", report.slowest)
    parts += open_calls(report)
    last = list(notes(report))
    return Group(*parts, *([Text()] if last else []), *last)


def render_text(report: Report, width: int = 120) -> str:
    """The report as plain text."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, force_terminal=False).print(render(report, width))
    return file.getvalue()


def print_report(
    report: Report, analysis: Analysis | None = None, found: Hotspots | None = None, *, stderr: bool = False
) -> Console:
    """Print to the terminal, as wide as it is; 120 columns where there is none. With an analysis: bottlenecks too; with
    hotspots: their table."""
    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(stderr=stderr, width=120)
    console.print(render(report, console.width))
    if found:
        from ..profiler.table import hotspots

        console.print()
        console.print(hotspots(found, console.width))
    if analysis:
        from ..analysis.table import bottlenecks

        console.print()
        console.print(bottlenecks(analysis, console.width))
    return console
