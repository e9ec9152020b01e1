"""Draws what libperf says as an SVG.

.venv/bin/python tools/picture.py TRACE docs/report.svg         the report of a trace, for the README
.venv/bin/python tools/picture.py OLD NEW docs/diff.svg         what differs between two, or two folders, for docs/diff.md

The recordings of docs/diff.svg are those of tests/python/support_diff.py: recorded(…, seed=1), recorded(…, seed=3, factor=1.3).
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console, RenderableType

import libperf
from libperf import Analysis, Reader, Report
from libperf.analysis.table import bottlenecks
from libperf.differences import table as difference_table
from libperf.reporting.table import render

WIDTH = 120


def draw(parts: list[RenderableType], title: str, picture: str) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for part in parts:
        console.print(part)
    svg = console.export_svg(title=title, font_aspect_ratio=0.6)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)  # fetches nothing when it is looked at
    Path(picture).write_text(svg.replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas"))


def main(*words: str) -> None:
    *sides, picture = words
    if len(sides) == 2:
        difference = libperf.diff(*sides)
        names = " ".join(Path(side).name for side in sides)
        draw([difference_table.render(difference, WIDTH)], f"libperf diff {names}", picture)
        return
    with Reader(*sides) as reader:
        report = render(Report.read(reader), WIDTH)
        draw([report, "", bottlenecks(Analysis(reader), WIDTH)], "libperf run examples/research_agent.py", picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
