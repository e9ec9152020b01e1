"""Differences for people: the table that `libperf diff` prints."""

import io
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..units import percent, printable, seconds, short
from . import Change, Difference
from .comparing import Comparison

__all__ = ["print_difference", "render", "render_text"]

LEAST_NAME = 16  # columns: before names get shorter than that, others go
LEAST_VERDICT = 13  # columns: from there on it takes several lines
LISTED = 12  # operations of one side only
COLOURS = {"regression": "bold red", "improvement": "green", "undecided": "yellow"}
WORSE = {"shift": "slower", "tail": "slower tail", "errors": "more errors", "misses": "more misses"}
BETTER = {"shift": "faster", "tail": "shorter tail", "errors": "fewer errors", "misses": "fewer misses"}
UNTIMED = ("errors", "misses")


class Column(NamedTuple):
    """One column. `rank`: which go first when the terminal is narrow; 0 stays."""

    heading: str
    rank: int
    cell: Callable[[Change], Text]
    is_text: bool = False


# ---- cells ----


def _name(change: Change) -> Text:
    kind = "function" if change.kind == "span" else change.kind
    return Text.assemble((f"{kind} ", "dim"), (short(printable(change.name)), "bold"))


def _arrow(old: str, new: str, style: str = "") -> Text:
    return Text(f"{old} → {new}" if old != new else old, style)


def _calls(change: Change) -> Text:
    return _arrow(f"{change.old.calls:,}", f"{change.new.calls:,}")


def _runs(change: Change) -> Text:
    return _arrow(f"{change.old.runs}", f"{change.new.runs}")


def _p50(change: Change) -> Text:
    return _times(change, "shift", change.old.p50, change.new.p50)


def _p99(change: Change) -> Text:
    return _times(change, "tail", change.old.p99, change.new.p99)


def _times(change: Change, what: str, old: float | None, new: float | None) -> Text:
    """What was compared, where it was."""
    if old is None or new is None:
        return Text("")
    if found := change.comparison(what):
        return _arrow(seconds(found.old), seconds(found.new))
    return Text("") if change.comparisons else _arrow(seconds(old), seconds(new), "dim")


def _more(ratio: float) -> str:
    """A ratio as people say it: +20 %, −3 %, ×4.1."""
    if math.isinf(ratio) or math.isnan(ratio):
        return "∞" if ratio > 0 else "?"
    if ratio >= 2:
        return f"×{ratio:.1f}" if ratio < 99.5 else f"×{ratio:,.0f}"
    change = (ratio - 1) * 100
    digits = 1 if 0.05 <= abs(change) < 1.95 else 0
    text = f"{change:+.{digits}f} %".replace("-", "−")
    return "0 %" if float(f"{change:.{digits}f}") == 0 else text


def _bounds(comparison: Comparison) -> str:
    return f"{_more(comparison.low)} … {_more(comparison.high)}"


def _changed(what: str, bounds: bool) -> Callable[[Change], Text]:
    def cell(change: Change) -> Text:
        found = change.comparison(what)
        if not found:
            return Text("")
        style = {"worse": "bold red", "better": "green"}.get(found.verdict, "")
        return Text(_bounds(found), "dim") if bounds else Text(_more(found.ratio), style)

    return cell


def _wrong(change: Change) -> Text:
    """Errors, or misses of a cache."""
    if not (change.old.wrong or change.new.wrong):
        return Text("")
    old, new = (percent(side.wrong / max(1, side.calls)) for side in (change.old, change.new))
    verdict = next((each.verdict for each in change.comparisons if each.what in UNTIMED), "")
    new += " missed" if change.kind == "cache" else ""
    return _arrow(old, new, {"worse": "bold red", "better": "green"}.get(verdict, ""))


def verdict_of(change: Change) -> str:
    """In words."""
    if change.verdict == "undecided":
        what = "runs" if max(change.old.runs, change.new.runs) > 1 else "calls"
        return f"needs +{change.needs[0]:,} and +{change.needs[1]:,} {what}"
    said = [_said(each) for each in change.comparisons if each.verdict != "same"]
    return ", ".join(said) if said else "same"


def _said(comparison: Comparison) -> str:
    if comparison.verdict == "worse":
        return WORSE.get(comparison.what) or f"more {printable(comparison.what)}"
    return BETTER.get(comparison.what) or f"less {printable(comparison.what)}"


COLUMNS = [
    Column("runs", 4, _runs),
    Column("calls", 3, _calls),
    Column("P50", 5, _p50),
    Column("change", 0, _changed("shift", False)),
    Column("surely", 6, _changed("shift", True)),
    Column("P99", 7, _p99),
    Column("P99 changes", 1, _changed("tail", False)),
    Column("surely ", 8, _changed("tail", True)),
    Column("errors", 2, _wrong),
    Column("", 0, lambda change: Text(verdict_of(change), COLOURS.get(change.verdict, "dim")), is_text=True),
]

# ---- the table ----


def _table(changes: list[Change], by_runs: bool, width: int) -> Table:
    """As many columns as fit."""
    cells = {column: [column.cell(change) for change in changes] for column in COLUMNS}
    columns = [column for column in COLUMNS if any(cells[column]) and (by_runs or column.heading != "runs")]
    names = [_name(change) for change in changes]
    widest = max(name.cell_len for name in names)

    def wide(column: Column, least: bool) -> int:
        cell = max(len(column.heading), *(cell.cell_len for cell in cells[column]))
        return 2 + (min(cell, LEAST_VERDICT) if column.is_text and least else cell)

    def room(least: bool = False) -> int:
        """For names; `least`: verdicts may take several lines."""
        return width - 2 - sum(wide(column, least) for column in columns)

    # what is only good to know goes before a verdict is broken, what says how much after it
    for rank in (8, 7, 6, 5, 4, 3, 2, 1):
        if room(least=rank < 5) < (widest if rank > 4 else min(widest, LEAST_NAME)):
            columns = [column for column in columns if column.rank != rank]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("operation", no_wrap=True, overflow="ellipsis", max_width=max(room(least=True), 1))
    for column in columns:
        table.add_column(
            column.heading.strip(),
            justify="left" if column.is_text else "right",
            no_wrap=not column.is_text,
            overflow="fold" if column.is_text else "ellipsis",
            min_width=wide(column, True) - 2,
        )
    for i, name in enumerate(names):
        table.add_row(name, *(cells[column][i] for column in columns))
    return table


def _quantities(difference: Difference) -> Iterator[Text]:
    """What changed by more than the threshold: tokens, bytes."""
    least = 1 + difference.settings.threshold
    for change in difference.changes:
        for what, (old, new) in change.quantities.items():
            if change.verdict in ("new", "gone") or 1 / least < (new / old if old else math.inf if new else 1) < least:
                continue
            found = change.comparison(what)
            said = "not tested: one run a side" if not found else {"same": "may be chance"}.get(found.verdict, "sure")
            by = f"{old:,.4g} → {new:,.4g} a call ({_more(new / old if old else math.inf)}; {said})"
            yield Text.assemble(
                ("  quantity ", "dim"), f"{short(printable(change.name))} {short(printable(what))}: {by}"
            )


def _listed(title: str, changes: list[Change]) -> Iterator[Text]:
    if changes:
        named = [f"{_name(each).plain} ({max(each.old.calls, each.new.calls):,} calls)" for each in changes[:LISTED]]
        more = f" and {len(changes) - LISTED:,} more" if len(changes) > LISTED else ""
        yield Text.assemble((f"  {title} ", "bold"), ", ".join(named) + more)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _summary(difference: Difference) -> Text:
    settings = difference.settings
    rules = f"changes of {settings.threshold * 100:g} % and more; any false alarm in {settings.alpha * 100:g} % of comparisons"
    verdict = difference.verdict
    if verdict == "undecided":
        if not difference.changes:
            return Text("nothing was recorded on either side", "bold yellow")
        return Text("nothing could be compared: no operation has enough calls on both sides", "bold yellow")
    said = f"{_counted(len(difference.regressions), 'regression')} in {_counted(difference.compared, 'operation')}"
    better = f", {_counted(len(difference.improvements), 'improvement')}" if difference.improvements else ""
    style = "bold red" if verdict == "regression" else "green"
    return Text.assemble((said + better, style), (f"  ({rules})", "dim"))


def _side(labels: tuple[str, ...]) -> str:
    return printable(labels[0]) if len(labels) == 1 else f"{len(labels)} runs ({printable(labels[0])} …)"


def render(difference: Difference, width: int) -> RenderableType:
    """The whole of it for a terminal of `width` columns."""
    head = Text.assemble(("libperf diff", "bold"), f"  {_side(difference.old)} → {_side(difference.new)}")
    parts: list[RenderableType] = [Text(), head, Text()]
    both = [change for change in difference.changes if change.verdict not in ("new", "gone")]
    if both:
        parts += [_table(both, difference.by_runs, width), Text()]
    lists: Iterable[Text] = (
        *_quantities(difference),
        *_listed("new", difference._with("new")),
        *_listed("gone", difference._with("gone")),
    )
    parts += [*lists, *([Text()] if lists else []), _summary(difference)]
    parts += [Text(printable(note), "dim") for note in difference.notes]
    return Group(*parts)


def render_text(difference: Difference, width: int = 120) -> str:
    """As plain text."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, force_terminal=False).print(render(difference, width))
    return file.getvalue()


def print_difference(difference: Difference) -> None:
    """Print to the terminal, as wide as it is; 120 columns where there is none."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=120)
    console.print(render(difference, console.width))
