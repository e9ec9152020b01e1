"""Bottlenecks for people: the table that `libperf run` and `libperf report` end with."""

import io
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..units import printable, seconds, short
from . import RELIABLE_ERROR, Analysis
from .bottlenecks import Bottleneck
from .classes import TIER

__all__ = ["bottlenecks"]

ROWS = 8
ADVICE = 3
LEAST_GAIN = 0.01
LEAST_NAME = 16  # columns: before names get shorter than that, the class goes

TITLES = {"span": "function", "import": "", "limiter": ""}
FIXES = {
    "faster": "2× faster",
    "cache": "cached",
    "batch": "batches of {to}",
    "move to start": "done at start",
    "capacity": "capacity {to}",
    "workers": "{to} workers",
    "hold": "held half as long",
    "rate": "twice the rate",
}


def bottlenecks(analysis: Analysis, width: int) -> RenderableType:
    """The table, what to do about its first rows, and whether to believe it."""
    found = [each for each in analysis.bottlenecks if each.gain >= LEAST_GAIN][:ROWS]
    parts: list[RenderableType] = [*_deadlocks(analysis)]
    if parts:
        parts.append(Text())
    if found:
        parts += [_table(found, width), _advice(found[:ADVICE]), Text()]
    else:
        parts.append(Text("no bottleneck: nothing that was recorded would save 1 % of the time"))
    parts.append(_trust(analysis, bool(found)))
    if analysis.startup >= 0.01:
        parts.append(Text(f"imports before the program's own work: {seconds(analysis.startup)}, not counted", "dim"))
    return Group(*parts)


def render_text(analysis: Analysis, width: int = 120) -> str:
    """The same as plain text."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, force_terminal=False).print(bottlenecks(analysis, width))
    return file.getvalue()


# ---- the table ----


class Column(NamedTuple):
    """One column. `rank`: which go first when the terminal is narrow; 0 stays."""

    heading: str
    rank: int
    cell: Callable[[Bottleneck], Text]
    is_text: bool = False


def _name(each: Bottleneck) -> Text:
    kind = "" if TIER.fullmatch(each.name) else TITLES.get(each.kind, each.kind)
    return Text.assemble((f"{kind} " if kind else "", "dim"), (short(printable(each.name)), "bold"))


def _where(each: Bottleneck) -> Text:
    known = each.where.endswith(each.name)  # who has no name is called by its line
    return Text("" if known else printable(PurePath(each.where).name), "dim")


def _gain(each: Bottleneck) -> Text:
    spread = round((each.gain_high - each.gain_low) / 2 * 100)
    text = f"−{each.gain * 100:.0f} %" + (f" ± {spread}" if spread else "") + (" (tie)" if each.ties else "")
    return Text(text, "green" if each.reliable else "dim")


def _percent(share: float | None) -> Text:
    return Text("–" if share is None else f"{share * 100:.0f} %")


COLUMNS = [
    Column("where", 3, _where, is_text=True),
    Column("share", 2, lambda each: _percent(each.share)),
    Column("on path", 1, lambda each: _percent(each.on_path)),
    Column("saves", 0, _gain),
    Column(
        "if", 0, lambda each: Text(FIXES.get(each.fix["action"], each.fix["action"]).format(**each.fix)), is_text=True
    ),
    Column("class", 4, lambda each: Text(each.category, "" if each.category == "critical" else "yellow"), is_text=True),
]


def _table(found: list[Bottleneck], width: int) -> Table:
    """As many columns as fit."""
    cells = {column.heading: [column.cell(each) for each in found] for column in COLUMNS}
    columns = [column for column in COLUMNS if any(cells[column.heading])]
    names = [_name(each) for each in found]
    widest = max(name.cell_len for name in names)

    def room() -> int:
        """For names."""
        wide = (max(len(c.heading), *(cell.cell_len for cell in cells[c.heading])) + 2 for c in columns)
        return width - 3 - sum(wide)

    for rank in (1, 2, 3, 4):
        if room() < (widest if rank < 4 else min(widest, LEAST_NAME)):
            columns = [column for column in columns if column.rank != rank]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("bottlenecks", header_style="bold", no_wrap=True, overflow="ellipsis", max_width=max(room(), 1))
    for column in columns:
        table.add_column(column.heading, justify="left" if column.is_text else "right", no_wrap=True)
    for number, name in enumerate(names):
        table.add_row(str(number + 1), name, *(cells[column.heading][number] for column in columns))
    return table


def _advice(found: list[Bottleneck]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", style="bold")
    grid.add_column(overflow="fold")
    for number, each in enumerate(found, 1):
        grid.add_row(str(number), Group(Text(printable(each.why), "dim"), Text(f"→ {printable(each.advice)}")))
    return grid


# ---- whether to believe it ----


def _deadlocks(analysis: Analysis) -> Iterable[Text]:
    for each in analysis.deadlocks:
        *others, last = (f"'{printable(lock)}'" for lock in each.locks)
        if others:
            what, fix = f"holders of {', '.join(others)} and {last} wait for each other", "take locks in the same order"
        else:
            what, fix = f"holder of {last} waits for it itself", "take it once"
        how_long = f", {seconds(each.seconds)} long" if each.seconds else ""
        yield Text(f"deadlock: the {what}{how_long}: {fix}", "bold red")


def _trust(analysis: Analysis, any_found: bool) -> Text:
    off = f"replay of the unchanged run: {analysis.self_replay_error * 100:.1f} % off"
    if analysis.reliable:
        return Text(off + " — the numbers above can be trusted" * any_found, "dim")
    if analysis.stuck:
        why = "it never came to its end: a deadlock, or something that is not understood"
    elif analysis.lost:
        why = f"{analysis.lost:,} events were lost"
    elif analysis.deadlocks:
        why = "a deadlock lasts until somebody gives up, however fast the rest is"
    else:
        why = f"more than {RELIABLE_ERROR * 100:.0f} %"
    return Text(f"{off} — not reliable: {why}", "bold red")
