"""Draws the report of a trace as an SVG, for the README: .venv/bin/python tools/picture.py TRACE docs/report.svg"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from libperf import Analysis, Reader, Report
from libperf.bottleneck_table import bottlenecks
from libperf.table import render

WIDTH = 120


def main(trace: str, picture: str) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with Reader(trace) as reader:
        console.print(render(Report.read(reader), WIDTH))
        console.print()
        console.print(bottlenecks(Analysis(reader), WIDTH))
    svg = console.export_svg(title="libperf run examples/research_agent.py", font_aspect_ratio=0.6)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)  # fetches nothing when it is looked at
    Path(picture).write_text(svg.replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas"))


if __name__ == "__main__":
    main(*sys.argv[1:])
