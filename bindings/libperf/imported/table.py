"""The lines of each operation, for people."""

import io
from collections.abc import Iterable
from pathlib import PurePath

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..samples import Frame
from ..units import percent, printable, seconds, short, size
from . import Joined

__all__ = ["joined", "render_text"]

OPERATIONS = 10
LINES = 3  # of each


def joined(found: Joined, width: int = 120) -> RenderableType:
    """The table in that many columns of a terminal, and where it comes from. Places give way to names and numbers."""
    rows: list[tuple[Text, Text, str, str]] = []
    for operation in found.operations[:OPERATIONS]:
        rows.append(
            (Text(short(printable(operation.name)), "bold"), Text("all", "dim"), *_numbers(found, operation.weight))
        )
        rows += [(Text(), _place(line.frame), *_numbers(found, line.weight)) for line in operation.lines[:LINES]]
    headings = ("operation", "lines", _heading(found), "share")
    wide = [max(len(heading), *(_width(row[i]) for row in rows)) for i, heading in enumerate(headings)]
    wide[1] = max(5, min(wide[1], width - wide[0] - wide[2] - wide[3] - 2 * len(headings)))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for heading, columns in zip(headings, wide, strict=True):
        right = heading not in ("operation", "lines")
        table.add_column(
            heading, justify="right" if right else "left", no_wrap=True, overflow="ellipsis", width=columns
        )
    for row in rows:
        table.add_row(*row)
    parts: list[RenderableType] = [table]
    if len(found.operations) > OPERATIONS:
        parts.append(Text(f"and {len(found.operations) - OPERATIONS:,} operations more", "dim"))
    return Group(*parts, *(Text(line, "dim") for line in _origin(found)))


def _heading(found: Joined) -> str:
    return {"bytes": "allocated", "samples": "samples"}.get(found.unit, "time")


def _amount(found: Joined, weight: float) -> str:
    if found.unit == "samples":
        return f"{weight:,.0f}"
    return size(weight) if found.unit == "bytes" else seconds(weight)


def _width(cell: Text | str) -> int:
    return cell.cell_len if isinstance(cell, Text) else len(cell)


def _numbers(found: Joined, weight: float) -> tuple[str, str]:
    return _amount(found, weight), percent(weight / found.weight if found.weight else 0.0)


def _place(frame: Frame) -> Text:
    name = PurePath(frame.file).name or frame.file
    place = f"{name}:{frame.line}" if frame.line else name
    return Text.assemble((printable(place) + " " if place else "", "dim"), short(printable(frame.function)))


def _origin(found: Joined) -> Iterable[str]:
    """What was joined, how, and how sure that is."""
    file = printable(PurePath(found.file).name)
    whole = _amount(found, found.weight)
    total = "" if found.unit == "samples" else f", {whole}"
    noun = "stacks" if found.format == "chrometrace" else "samples"
    yield f"{found.samples:,} {noun} of {printable(found.tool)} ({file}, {printable(found.format)}{total}), joined by {found.joined_by}"
    if clock := found.clock:
        spread = f", within {seconds(clock.spread / 1e9)}" if clock.spread else ""
        yield f"zero of the file: {clock.how}{spread}; {clock.covered:.0%} of the samples lie in the recording"
        if clock.agreement is None:
            yield "nothing confirms it: too few samples lie in a function that a span is named after"
        else:
            yield f"{clock.agreement:.0%} of those in functions that spans are named after lie in such a span"
    else:
        yield "it has no times: a sample belongs to the innermost function of its stack that a span is named after"
    yield from map(printable, found.notes)


def render_text(found: Joined, width: int = 120) -> str:
    """As plain text."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, force_terminal=False).print(joined(found, width))
    return file.getvalue()
