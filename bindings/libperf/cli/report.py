"""`libperf report`: what a segment or trace file says."""

import argparse
import json
import sys
from pathlib import Path

from ..analysis import Analysis
from ..errors import PerfError
from ..profiler.hotspots import read_all
from ..reader import Reader, find_segment
from ..reporting import Report

EPILOG = """\
examples:
  libperf report 4711              the process with this id, running or dead
  libperf report trace.perf        a file written by `libperf run --trace`
  libperf report --html agent.html trace.perf       a page to look at and to pass on (pip install 'libperf[html]')
  libperf report --json 4711 | jq '.operations[] | {name, p99_s}'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Report on a process that records with libperf, or on a trace file."
    parser.epilog = EPILOG
    parser.add_argument("target", metavar="FILE|PID", help="a trace file, or the id of a process of this machine")
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write everything as one HTML page")
    parser.add_argument("--json", action="store_true", help="write JSON (docs/json.md) in place of the table")


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
        if options.json:
            data = report.to_dict() | (analysis.to_dict() if analysis else {}) | (found.to_dict() if found else {})
            json.dump(data, sys.stdout, indent=2)
            sys.stdout.write("\n")
        else:
            from ..reporting.table import print_report

            print_report(report, analysis, found)
    return 0


def write_page(reader: Reader, analysis: Analysis | None, path: Path) -> None:
    from ..html import write_html

    try:
        write_html(reader, analysis, path)
    except OSError as error:
        raise PerfError(f"cannot write {path}: {error.strerror or error}") from None
