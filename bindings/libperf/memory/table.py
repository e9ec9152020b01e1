"""Memory for people: snapshots, what has grown, and which lines allocate most."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..samples import Frame
from ..units import percent, printable, size
from .report import BLOCKS, BYTES, OTHER, Allocation, caller_of
from .snapshot import Comparison, Place, Snapshot

__all__ = ["allocated_rows", "comparison_rows", "render_text", "snapshot_rows"]

WIDTH = 100
FILE_WIDTH = 44
LIBRARIES = re.compile(r"^.*/lib/python3\.\d+\w*/(site-packages/|dist-packages/)?")


def render_text(rows: Iterable[RenderableType], width: int = WIDTH) -> str:
    """As plain text."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, force_terminal=False).print(Group(*rows))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def snapshot_rows(snapshot: Snapshot) -> Iterator[RenderableType]:
    """The lines whose blocks live."""
    rows = [
        (_size(place.bytes), _size(place.plus_minus), f"{place.blocks:,}", f"{place.samples:,}", _where(place))
        for place in snapshot.top()
    ]
    head = f"  about {size(snapshot.bytes)} live, of what was allocated since counting began"
    yield Text.assemble(("memory", "bold"), head)
    yield from _table(("live", "±", "blocks", "samples", "where"), rows)
    yield Text()
    yield Text(_estimated(snapshot.sample_bytes), style="dim")


def comparison_rows(comparison: Comparison) -> Iterator[RenderableType]:
    """What has changed; dim, where that may be chance."""
    rows: list[tuple[str | Text, ...]] = []
    for row in comparison.top():
        if row.growth or row.plus_minus:
            style = "" if row.is_certain else "dim"
            cells = _signed(row.growth), _size(row.plus_minus), _size(row.before), _size(row.after)
            rows.append((*(Text(cell, style) for cell in cells), _where(row.place)))
    yield Text.assemble(("memory", "bold"), f"  changed by about {_signed(comparison.growth)}")
    yield from _table(("growth", "±", "before", "now", "where"), rows)
    yield Text()
    yield Text(_estimated(comparison.newer.sample_bytes), style="dim")


def allocated_rows(counters: Mapping[str, int], lines: list[Allocation]) -> Iterator[RenderableType]:
    """Of a report: what was allocated in all, and the lines that did most of it; nothing, where it was not counted."""
    if BYTES not in counters:
        return
    other = counters.get(OTHER, 0)
    outside = f", {size(other)} of it in no span" if other else ""
    words = f"allocated {size(counters[BYTES])} in {counters.get(BLOCKS, 0):,} blocks{outside}"
    rows = [
        (f"~{size(line.bytes)}", percent(line.share), _line(Frame(line.function, line.file, line.line), line.caller))
        for line in lines
    ]
    yield from _table(("allocated", "share", "where"), rows)
    if not rows:
        yield Text()
    yield Text.assemble(("  memory ", "dim"), words)


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str | Text, ...]]) -> Iterator[RenderableType]:
    """Nothing for no rows. The last column is cut where the terminal ends, no other."""
    if not rows:
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for i, heading in enumerate(headings[:-1]):
        widest = max(len(heading), *(len(row[i]) for row in rows))
        table.add_column(heading, justify="right", no_wrap=True, min_width=widest)
    table.add_column(headings[-1], no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    yield Text()
    yield table


def _where(place: Place) -> Text:
    if place.operation:
        return Text(printable(place.operation))
    caller = caller_of(place.stack)
    return _line(Frame(place.function, place.file, place.line), f"{caller.file}:{caller.line}" if caller else "")


def _line(frame: Frame, caller: str) -> Text:
    at = f"{_short(frame.file)}:{frame.line}" if frame.line else _short(frame.file)
    by = f" ← {_short(caller)}" if caller else ""
    return Text.assemble(at, (f" {printable(frame.function)}", "dim"), by)


def _short(file: str) -> str:
    """Without the folders of Python's libraries; the end of what is long."""
    text = LIBRARIES.sub("", printable(file))
    return text if len(text) <= FILE_WIDTH else "…" + text[-FILE_WIDTH + 1 :]


def _size(value: int) -> str:
    return size(value) if value else ""


def _signed(bytes_: int) -> str:
    return f"{'+' if bytes_ > 0 else '−' if bytes_ < 0 else ''}{size(abs(bytes_))}"


def _estimated(sample_bytes: int) -> str:
    return f"estimated from a sample of one in {size(sample_bytes)}; ± is its standard error"
