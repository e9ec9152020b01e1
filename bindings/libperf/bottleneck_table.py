"""Bottlenecks for people: the table that `libperf run` and `libperf report` end with."""

from collections.abc import Callable
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .analysis import RELIABLE_ERROR, Analysis
from .bottlenecks import Bottleneck
from .table import NAME_WIDTH, printable, seconds

__all__ = ["bottlenecks"]

ROWS = 8
ADVICE = 3
LEAST_GAIN = 0.01


def bottlenecks(analysis: Analysis, width: int) -> RenderableType:
    """The table, what to do about its first rows, and whether to believe it."""
    found = [each for each in analysis.bottlenecks if each.gain >= LEAST_GAIN][:ROWS]
    if not found:
        return Group(Text("no bottleneck: nothing that was recorded would save 1 % of the time"), _trust(analysis))
    parts: list[RenderableType] = [_table(found, width)]
    for number, each in enumerate(found[:ADVICE], 1):
        why = Text.assemble((f"{number} ", "bold"), (printable(each.why), "dim"))
        parts += [Padding(why, (0, 0, 0, 1)), Padding(Text(f"→ {printable(each.advice)}"), (0, 0, 0, 3))]
    parts.append(Text())
    parts.append(_trust(analysis))
    if analysis.startup >= 0.01:
        parts.append(Text(f"imports before the program's own work: {seconds(analysis.startup)}, not counted", "dim"))
    return Group(*parts)


class Column(NamedTuple):
    """One column. `rank`: which go first when the terminal is narrow; 0 stays."""

    heading: str
    rank: int
    cell: Callable[[Bottleneck], Text]


COLUMNS = [
    Column("share", 1, lambda each: Text(f"{each.share * 100:.0f} %")),
    Column("on path", 2, lambda each: Text("–" if each.on_path is None else f"{each.on_path * 100:.0f} %")),
    Column("saves", 0, lambda each: _gain(each)),
    Column("if", 0, lambda each: Text(_fix(each))),
    Column("class", 0, lambda each: Text(each.category, style="yellow" if each.category != "critical" else "")),
]
LEFT = ("if", "class")


def _table(found: list[Bottleneck], width: int) -> Table:
    """As many columns as fit."""
    columns = COLUMNS

    def needed() -> int:
        cells = (max(len(column.heading), *(column.cell(each).cell_len for each in found)) for column in columns)
        return 3 + max(_name(each).cell_len for each in found) + sum(2 + wide for wide in cells)

    while needed() > width and any(column.rank for column in columns):
        least = min(column.rank for column in columns if column.rank)
        columns = [column for column in columns if column.rank != least]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("bottlenecks", header_style="bold", no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column.heading, justify="left" if column.heading in LEFT else "right", no_wrap=True)
    for number, each in enumerate(found, 1):
        table.add_row(str(number), _name(each), *(column.cell(each) for column in columns))
    return table


def _name(each: Bottleneck) -> Text:
    name = printable(each.name)
    if len(name) > NAME_WIDTH:
        name = name[: NAME_WIDTH - 1] + "…"
    kind = {"span": "function", "import": "", "limiter": ""}.get(each.kind, each.kind)
    where = "" if each.where.endswith(each.name) else f"  {each.where}"
    return Text.assemble((f"{kind} " if kind else "", "dim"), (name, "bold"), (where, "dim"))


def _gain(each: Bottleneck) -> Text:
    spread = round((each.gain_high - each.gain_low) / 2 * 100)
    text = f"−{each.gain * 100:.0f} %" + (f" ± {spread}" if spread else "")
    return Text(text + (" (tie)" if each.ties else ""), style="green" if each.reliable else "dim")


def _fix(each: Bottleneck) -> str:
    words = {
        "faster": "2× faster",
        "move to start": "done at start",
        "capacity": f"capacity {each.fix['to']}",
        "workers": f"{each.fix['to']} workers",
        "hold": "held half as long",
        "rate": "twice the rate",
    }
    return words.get(str(each.fix["action"]), str(each.fix["action"]))


def _trust(analysis: Analysis) -> Text:
    error = analysis.self_replay_error
    off = f"replay of the unchanged run: {error * 100:.1f} % off"
    if analysis.reliable:
        return Text(f"{off} — the numbers above can be trusted", style="dim")
    if analysis.stuck:
        why = "it never came to its end: a deadlock, or something that is not understood"
    elif analysis.lost:
        why = f"{analysis.lost:,} events were lost"
    else:
        why = f"more than {RELIABLE_ERROR * 100:.0f} %"
    return Text(f"{off} — not reliable: {why}", style="bold red")
