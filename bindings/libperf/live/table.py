"""What processes do now, for people: lines of text for the screen of `libperf top`, and for its plain snapshots."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from rich.console import RenderableType
from rich.text import Text

from ..names import Kind
from ..reader import Record
from ..reporting.batcher_table import batcher_rows
from ..reporting.cache_table import cache_rows
from ..reporting.table import COLOURS, LOSSES, TITLES
from ..units import count, printable, rate, seconds, size
from . import SORTS, Picture
from .watched import Operation, Summary, Watched

__all__ = ["NOBODY", "View", "list_lines", "process_lines", "sorted_processes"]

NOBODY = "no process of yours records now: start one with libperf.instrument() or libperf run"
SPARKS = "▁▂▃▄▅▆▇█"
MINUTE = 60  # ticks of a spark line

T = TypeVar("T")
Lines = list[Text]


@dataclass(slots=True)
class View:
    """What somebody chose to see."""

    window_ns: int | None = None  # None: since each process began
    sort: str = SORTS[0]
    filter: str = ""
    chosen: int | None = None  # which line stands out; None: nobody chooses
    height: int | None = None  # of what may be written; None: as much as there is


class Column(NamedTuple, Generic[T]):
    """One column. `rank`: which go first when the terminal is narrow, the highest; 0 stays. `name`: what it holds may
    be cut to so many columns, before others go; it takes what they leave."""

    heading: str
    rank: int
    cell: Callable[[T], Text]
    name: int = 0


def _plain(text: str) -> Text:
    return Text(text, style="dim" if text == "–" else "")


def _red(number: int, text: str | None = None) -> Text:
    return Text(text or count(number), style="red") if number else Text("–", style="dim")


def _time(value: float | None, few: bool = False) -> Text:
    """Dim when there were too few calls for it to be anything but one of the slowest."""
    found = _plain("–" if value is None else seconds(value))
    if few:
        found.stylize("dim")
    return found


def _fit(columns: Sequence[Column[T]], cells: dict[str, list[Text]], width: int) -> list[tuple[Column[T], int]]:
    """The columns for which there is room, and how wide each is."""

    def needed(column: Column[T]) -> int:
        widest = max([len(column.heading), *(cell.cell_len for cell in cells[column.heading])])
        return min(widest, column.name or widest)

    columns = list(columns)
    while sum(needed(column) + 2 for column in columns) - 2 > width and any(column.rank for column in columns):
        most = max(column.rank for column in columns)
        columns = [column for column in columns if column.rank != most]
    left = width - sum(needed(column) + 2 for column in columns) + 2
    found = []
    for column in columns:
        wide = needed(column)
        if column.name:  # the first takes what it needs, the next what is left
            widest = max([len(column.heading), *(cell.cell_len for cell in cells[column.heading])])
            more = max(0, min(widest - wide, left))
            wide, left = wide + more, left - more
        found.append((column, wide))
    return found


def table(rows: Sequence[T], columns: Sequence[Column[T]], width: int, chosen: int | None = None) -> Lines:
    """A heading and a line for each row."""
    cells = {column.heading: [column.cell(row) for row in rows] for column in columns}
    fitting = _fit(columns, cells, width)

    def line(parts: Iterable[tuple[Text, Column[T], int]]) -> Text:
        found = Text(no_wrap=True, overflow="ellipsis")
        for number, (cell, column, wide) in enumerate(parts):
            cell.truncate(wide, overflow="ellipsis")
            found.append(" " * (2 if number else 0) + " " * (0 if column.name else wide - cell.cell_len))
            found.append_text(cell)
            found.append(" " * (wide - cell.cell_len if column.name else 0))
        found.truncate(width, overflow="ellipsis")
        return found

    head = line((Text(column.heading, style="bold"), column, wide) for column, wide in fitting)
    found = [head]
    for number in range(len(rows)):
        one = line((cells[column.heading][number], column, wide) for column, wide in fitting)
        if number == chosen:
            one.stylize("reverse")
        found.append(one)
    return found


def window(first: int, last: int, room: int, chosen: int | None) -> range:
    """Which of the places from first to last - 1 are shown, so that the chosen one is among them."""
    if last - first <= room:
        return range(first, last)
    begin = first if chosen is None else min(max(first, chosen - room // 2), last - room)
    return range(begin, begin + room)


# ---- all processes ----


class Line(NamedTuple):
    """A process of the list."""

    process: Watched
    summary: Summary

    @property
    def p95(self) -> float:
        return self.summary.busiest.p95 if self.summary.busiest else 0.0


PROCESSES: list[Column[Line]] = [
    Column("pid", 0, lambda line: Text(str(line.process.pid))),
    Column("program", 0, lambda line: _program(line.process), 10),
    Column("state", 0, lambda line: _state(line.process)),
    Column("up", 6, lambda line: _plain(span_of_time(line.process.until - line.process.start))),
    Column("CPU", 4, lambda line: _plain("–" if line.process.cpu is None else f"{line.process.cpu * 100:.0f} %")),
    Column("memory", 3, lambda line: _plain(size(line.process.usage.rss) if line.process.usage else "–")),
    Column("calls/s", 0, lambda line: _plain(rate(line.summary.per_second))),
    Column("err/s", 0, lambda line: _red(line.summary.errors, rate(line.summary.errors_per_second))),
    Column("open", 0, lambda line: _plain(count(line.process.open_count))),
    Column("oldest", 2, lambda line: _time(line.process.age(line.process.open[0]) if line.process.open else None)),
    Column("busiest", 1, lambda line: _busiest(line), 12),
    Column("P95", 1, lambda line: _time(line.summary.busiest.p95 if line.summary.busiest else None)),
    Column("lost", 5, lambda line: _red(sum(line.process.info.losses.values()))),
]


def _program(process: Watched) -> Text:
    name = printable(process.program).rpartition("/")[2]
    return Text(name, style="bold" if process.state == "running" else "dim")


def _state(process: Watched) -> Text:
    return Text(process.state, style="red" if process.state == "killed" else "")


def _busiest(line: Line) -> Text:
    row = line.summary.busiest
    return Text("–", style="dim") if row is None else _name(row.kind, row.name)


def _name(kind: Kind, name: str) -> Text:
    return Text.assemble((f"{TITLES.get(kind, '')} ", "dim"), (printable(name), COLOURS.get(kind, "")))


def span_of_time(ns: int) -> str:
    """12 s, 3 m 20 s, 2 h 5 m, 3 d 1 h."""
    left = max(0, ns) // 1_000_000_000
    for unit, more, length in (("d", "h", 86_400), ("h", "m", 3600), ("m", "s", 60)):
        if left >= length:
            part = {"h": 3600, "m": 60, "s": 1}[more]
            return f"{left // length} {unit} {left % length // part} {more}"
    return f"{left} s"


def matches(text: str, wanted: str) -> bool:
    return wanted.casefold() in text.casefold()


def sorted_processes(picture: Picture, view: View) -> list[Line]:
    """Those that the filter lets through, by what somebody chose; those that have ended last."""
    lines = [
        Line(process, process.summary(view.window_ns))
        for process in picture.processes
        if matches(f"{process.pid} {process.info.service} {process.info.command}", view.filter)
    ]
    keys: dict[str, Callable[[Line], float]] = {
        "time": lambda line: line.summary.busiest.total if line.summary.busiest else 0.0,
        "calls": lambda line: line.summary.per_second,
        "P95": lambda line: line.p95,
        "errors": lambda line: line.summary.errors,
    }
    return sorted(lines, key=lambda line: (line.process.ended is not None, -keys[view.sort](line), line.process.pid))


def list_lines(picture: Picture, lines: Sequence[Line], view: View, width: int) -> Lines:
    """The table of processes; below it what goes on in the chosen one, or in all."""
    if not lines:
        return [Text(f"no process matches {view.filter!r}" if view.filter and picture.processes else NOBODY)]
    notes = list(_notes(picture))
    told = {  # only when there is something to tell
        "lost": any(line.process.info.losses for line in lines),
        "state": any(line.process.state != "running" for line in lines),
    }
    columns = [column for column in PROCESSES if told.get(column.heading, True)]
    wanted = _open_wanted(lines, view)
    room, below = len(lines), len(wanted)
    if view.height is not None:
        left = max(1, view.height - 1 - len(notes))
        below = min(below, max(left // 3, left - len(lines) - 2)) if left > 5 else 0
        room = left - (below + 2 if below else 0)
    shown = window(0, len(lines), room, view.chosen)
    chosen = None if view.chosen is None else view.chosen - shown.start
    found = table([lines[at] for at in shown], columns, width, chosen)
    if below:
        found += [Text(), Text("open now, oldest first", style="bold")]
        found += [_open_line(process, record, width) for process, record in wanted[:below]]
    found += notes
    for line in found:
        line.truncate(width, overflow="ellipsis")
    return found


def _open_wanted(lines: Sequence[Line], view: View) -> list[tuple[Watched, Record]]:
    processes = [lines[view.chosen].process] if view.chosen is not None else [line.process for line in lines]
    found = [(process, record) for process in processes for record in process.innermost()[:20]]
    return sorted(found, key=lambda one: -one[0].age(one[1]))[:20]


def _open_line(process: Watched, record: Record, width: int) -> Text:
    """How long it has lasted, and what it is inside of."""
    found = Text.assemble(f"{seconds(process.age(record)):>8}  ", (f"{process.pid}  ", "dim"), no_wrap=True)
    for parent in process.parents(record):
        found.append_text(_name(parent.kind, parent.name)).append(" › ", style="dim")
    found.append_text(_name(record.kind, record.name)).append(_details(record), style="dim")
    found.truncate(width, overflow="ellipsis")
    return found


def _details(record: Record) -> str:
    return printable("".join(f"  {name.rpartition('.')[2]}={value}" for name, value in record.attributes.items()))


def _notes(picture: Picture) -> Iterable[Text]:
    if picture.more:
        yield Text(f"and {picture.more:,} more processes, that do less", style="dim")
    for number, (path, why) in enumerate(sorted(picture.skipped.items())):
        if number == 2:
            yield Text(f"and {len(picture.skipped) - 2} more files that cannot be read", style="yellow")
            break
        told = why if str(path) in why else f"{path}: {why}"
        yield Text(f"skipped: {printable(told)}", style="yellow", no_wrap=True, overflow="ellipsis")


# ---- one process ----

OPERATIONS: list[Column[Operation]] = [
    Column("operation", 0, lambda each: _name(each.row.kind, each.row.name), 22),
    Column("open", 0, lambda each: _plain(count(each.open))),
    Column("calls/s", 0, lambda each: _plain(rate(each.row.per_second))),
    Column("calls", 3, lambda each: _plain(count(each.row.calls))),
    Column("errors", 0, lambda each: _red(each.row.errors)),
    Column("P50", 0, lambda each: _time(each.row.p50 if each.row.calls else None)),
    Column("P95", 0, lambda each: _time(each.row.p95 if each.row.calls else None, each.row.calls < 20)),
    Column("P99", 1, lambda each: _time(each.row.p99 if each.row.calls else None, each.row.calls < 100)),
    Column("max", 4, lambda each: _time(each.row.max if each.row.calls else None)),
    Column("tokens", 2, lambda each: _plain(count(each.row.input_tokens + each.row.output_tokens))),
    Column("calls ever", 5, lambda each: _plain(count(each.calls))),
    Column("errors ever", 6, lambda each: _red(each.errors)),
]


def operations_of(process: Watched, view: View) -> list[Operation]:
    """Those that the filter lets through, by what somebody chose."""
    keys: dict[str, Callable[[Operation], float]] = {
        "time": lambda each: each.row.total,
        "calls": lambda each: each.row.per_second,
        "P95": lambda each: each.row.p95,
        "errors": lambda each: each.row.errors,
    }
    found = [each for each in process.operations(view.window_ns) if matches(each.row.name, view.filter)]
    return sorted(found, key=lambda each: (-keys[view.sort](each), -each.open, -each.calls, each.row.name))


def process_lines(process: Watched, view: View, width: int) -> list[RenderableType]:
    """Everything about one process: what it takes, its operations, open spans as a tree, caches, batchers, losses."""
    operations = operations_of(process, view)
    chosen = None if view.chosen is None or not operations else min(view.chosen, len(operations) - 1)
    found: list[RenderableType] = [*_about(process, width), *_sparks(process, operations, chosen, width), Text()]
    tree = open_tree(process, width)
    tables = [
        *cache_rows(process.caches(view.window_ns), width),
        *batcher_rows(process.batchers(view.window_ns), width),
    ]
    left = None if view.height is None else max(8, view.height - len(found))
    room = len(operations) if left is None else max(3, left - 3 - min(len(tree) + 1, left // 3) - 6 * bool(tables))
    if operations:
        columns = [each for each in OPERATIONS if each.heading != "tokens" or _has_tokens(operations)]
        shown = window(0, len(operations), room, chosen)
        mark = None if chosen is None else chosen - shown.start
        found += table([operations[at] for at in shown], columns, width, mark)
        if hidden := len(operations) - len(shown):
            found.append(Text(f"and {hidden} more", style="dim"))
    else:
        found.append(Text("no operation matches" if view.filter else "no span was recorded yet"))
    if tree:
        least = None if view.height is None else max(4, view.height - len(found) - 1 - 7 * bool(tables))
        found += [Text(), *_cut(tree, least)]
    return found + ([Text(), *tables] if tables else [])


def _cut(lines: Lines, room: int | None) -> Lines:
    if room is None or len(lines) <= room:
        return lines
    return [*lines[: room - 1], Text(f"          and {len(lines) - room + 1} more", style="dim")]


def _has_tokens(operations: list[Operation]) -> bool:
    return any(each.row.input_tokens or each.row.output_tokens for each in operations)


def _about(process: Watched, width: int) -> Lines:
    facts = [process.state, f"up {span_of_time(process.until - process.start)}"]
    if process.cpu is not None:
        facts.append(f"CPU {process.cpu * 100:.0f} %")
    if process.usage:
        facts.append(f"memory {size(process.usage.rss)}")
    facts.append(f"{process.open_count:,} open")
    found = Text.assemble(
        (f"{process.pid} ", "dim"), _program(process), "  ", "  ".join(facts), no_wrap=True, overflow="ellipsis"
    )
    losses = [
        Text(f"{number:,} {LOSSES.get(loss, loss)}", style="yellow", no_wrap=True, overflow="ellipsis")
        for loss, number in process.info.losses.items()
    ]
    return [found, *losses]


def _sparks(process: Watched, operations: list[Operation], chosen: int | None, width: int) -> Lines:
    """The last minute of the chosen operation, or of the first one."""
    if not operations:
        return []
    row = operations[chosen or 0].row
    ticks = process.ticks_of(row.kind, row.name)[-min(MINUTE, max(5, (width - 50) // 2)) :]
    calls, p95 = [tick.per_second for tick in ticks], [tick.p95 for tick in ticks]
    last = next((value for value in reversed(p95) if value is not None), None)
    found = Text.assemble(
        ("calls/s ", "dim"), (spark(calls), "green"), f" {rate(calls[-1]) if calls else '–'}   ",
        ("P95 ", "dim"), (spark(p95), "magenta"), f" {'–' if last is None else seconds(last)}   ",
        _name(row.kind, row.name), no_wrap=True,
    )  # fmt: skip
    found.truncate(width, overflow="ellipsis")
    return [found]


def spark(values: Sequence[float | None]) -> str:
    """Values as bars of one character, the highest as high as can be; None is a gap."""
    most = max((value for value in values if value is not None), default=0.0)

    def bar(value: float | None) -> str:
        if value is None:
            return " "
        return SPARKS[0] if value <= 0 or most <= 0 else SPARKS[min(7, int(value / most * 7.999))]

    return "".join(map(bar, values))


def open_tree(process: Watched, width: int) -> Lines:
    """Open spans below those that they are inside of, oldest first."""
    if not process.open:
        return []
    title = f"open now, {process.open_count:,}, oldest first"
    if len(process.open) < process.open_count:
        title += f" (the {len(process.open)} oldest, with those around them)"
    known = {record.id for record in process.open}
    inside: dict[int, list[Record]] = {}
    for record in process.open:
        inside.setdefault(record.parent if record.parent in known else 0, []).append(record)
    found = [Text(title, style="bold")]
    seen: set[int] = set()  # a damaged file may have circles
    waiting = [(record, 0) for record in reversed(inside.get(0, []))]
    while waiting:
        record, depth = waiting.pop()
        if record.id in seen:
            continue
        seen.add(record.id)
        line = Text.assemble(f"{seconds(process.age(record)):>8}  ", "  " * min(depth, 20), no_wrap=True)
        line.append_text(_name(record.kind, record.name)).append(_details(record), style="dim")
        line.truncate(width, overflow="ellipsis")
        found.append(line)
        waiting += [(child, depth + 1) for child in reversed(inside.get(record.id, []))]
    return found
