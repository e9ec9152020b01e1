"""`libperf report`: what a segment or trace file says."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis import Analysis
from ..errors import PerfError
from ..profiler.hotspots import read_all
from ..reader import Reader, find_segment
from ..reporting import Report

if TYPE_CHECKING:
    from ..imported import Joined

EPILOG = """\
examples:
  libperf report 4711              the process with this id, running or dead
  libperf report trace.perf        a file written by `libperf run --trace`
  libperf report --html agent.html trace.perf       a page to look at and to pass on (pip install 'libperf[html]')
  libperf report --json 4711 | jq '.operations[] | {name, p99_s}'
  libperf report trace.perf --samples pyspy.json    whose lines another profiler saw, below each operation
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Report on a process that records with libperf, or on a trace file."
    parser.epilog = EPILOG
    parser.add_argument("target", metavar="FILE|PID", help="a trace file, or the id of a process of this machine")
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write everything as one HTML page")
    parser.add_argument("--json", action="store_true", help="write JSON (docs/json.md) in place of the table")
    parser.add_argument(
        "--samples",
        metavar="FILE",
        type=Path,
        help="also say which lines another profiler saw in each operation: a file of py-spy, memray or Python 3.15's "
        "profiling.sampling of the same run (docs/profiling.md)",
    )
    parser.add_argument(
        "--samples-start",
        metavar="SECONDS",
        type=float,
        help="when that profiler began, in seconds since 1970; found out where it is not given",
    )


def resolve(target: str) -> Path:
    """The segment that FILE|PID stands for. A file that exists wins over a process."""
    path = Path(target)
    if target.isdecimal() and not path.exists():
        return find_segment(int(target))
    return path


def main(options: argparse.Namespace) -> int:
    with Reader(resolve(options.target)) as reader:
        report = Report.read(reader)
        analysis = Analysis.read(reader)
        found = read_all(reader, analysis)
        if options.html:
            write_page(reader, analysis, options.html)
        joined = join_samples(reader, options) if options.samples else None
        if options.json:
            data = report.to_dict() | (analysis.to_dict() if analysis else {}) | (found.to_dict() if found else {})
            data |= {"samples": joined.to_dict()} if joined else {}
            json.dump(data, sys.stdout, indent=2)
            sys.stdout.write("\n")
        else:
            from ..reporting.table import print_report

            console = print_report(report, analysis, found)
            if joined:
                from ..imported.table import joined as table

                console.print()
                console.print(table(joined, console.width))
    return 0


def join_samples(reader: Reader, options: argparse.Namespace) -> "Joined":
    from ..imported import join

    return join(reader, options.samples, start=options.samples_start)


def write_page(reader: Reader, analysis: Analysis | None, path: Path) -> None:
    from ..html import write_html

    try:
        write_html(reader, analysis, path)
    except OSError as error:
        raise PerfError(f"cannot write {path}: {error.strerror or error}") from None
