"""`libperf run`: runs a program in a process of its own and reports on it, however it ends.

This process only waits and reads. The program's segment outlives the program, so there is a report after an exception,
sys.exit(), os._exit() and SIGKILL alike. What the program's rings are going to write over is kept meanwhile: when there
was any, the trace is a file of its own.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from ..analysis import Analysis
from ..drain import Drain
from ..errors import PerfError
from ..profiler.hotspots import Hotspots, read_all
from ..reader import Reader, find_segment
from ..reporting import Report
from ..units import seconds
from . import hang_up

EPILOG = """\
examples:
  libperf run agent.py "a question"           arguments after the script are the script's
  libperf run -m my.agent --fast
  libperf run --json report.json agent.py     also as data (docs/json.md); `--json -` writes to standard output
  libperf run --html agent.html agent.py      also as a page with a timeline, a flame graph and what-if sliders
  libperf run --trace agent.perf agent.py     keep the trace; `libperf report agent.perf` reads it again

The program's own input, output and exit status pass through (a signal n as 128+n). The report goes to standard error.
"""

CHILD = Path(__file__).with_name("child.py")
RING_BYTES = 16 << 20  # of the program: a busy thread fills it in about 100 ms
POLL_S = 0.01
FIRST_NEWS_S, SLOWEST_NEWS_S = 10.0, 60.0
NOTHING = (
    "libperf: nothing was recorded: no span, task or thread; decorate functions with @libperf.trace, "
    "or call libperf.instrument()"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "libperf run [--json FILE|-] [--html FILE] [--trace FILE] [--cpu] [--memory] [--] SCRIPT|-m MODULE [arguments ...]"
    parser.description = "Run a Python program and report where its time went."
    parser.epilog = EPILOG
    parser.add_argument("--json", metavar="FILE|-", help="write the report as JSON (- is standard output)")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write everything as one HTML page, too")
    parser.add_argument("--trace", metavar="FILE", type=Path, help="keep the trace in FILE")
    parser.add_argument("--cpu", action="store_true", help="sample the CPU, too: which functions its time goes into")
    parser.add_argument("--memory", action="store_true", help="also count what it allocates, as LIBPERF_MEMORY=1 does")
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE", help="run a module")
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="SCRIPT", help="a Python file")


class UsageError(PerfError):
    """The command line makes no sense."""


def program_of(options: argparse.Namespace) -> list[str]:
    """What to give to cli/child.py."""
    if options.module is not None:
        if not options.module:
            raise UsageError("-m needs the name of a module; see `libperf run --help`")
        return ["-m", *options.module]
    program = list(options.program)
    if program[:1] == ["--"]:
        del program[0]
    if program and re.fullmatch(r"python[\d.]*", Path(program[0]).name):
        del program[0]  # `libperf run python app.py`: the interpreter is ours
    if not program:
        raise UsageError("what should run? Give a script or -m MODULE; see `libperf run --help`")
    if program[0] == "-m" and len(program) > 1:
        return program
    if not Path(program[0]).exists():
        raise UsageError(f"there is no file {program[0]!r}; `libperf run` takes a Python script, or -m MODULE")
    return program


@contextmanager
def shared_folder() -> Iterator[bool]:
    """With LIBPERF_DIR=off the program still needs a place that we can read: a temporary one. Whether it is that."""
    if os.environ.get("LIBPERF_DIR") != "off":
        yield False
        return
    folder = tempfile.mkdtemp(prefix="libperf-run-")
    try:
        os.environ["LIBPERF_DIR"] = folder  # for the program, and for find_segment() here
        yield True
    finally:
        os.environ["LIBPERF_DIR"] = "off"
        shutil.rmtree(folder, ignore_errors=True)


class News:
    """A line on standard error now and then while a long program runs."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.next = start + FIRST_NEWS_S
        self.gap = FIRST_NEWS_S

    def tell(self, reader: Reader, now: float) -> None:
        if now < self.next:
            return
        self.gap = min(self.gap * 2, SLOWEST_NEWS_S)
        self.next = now + self.gap
        reader.refresh()
        totals = [(reader.totals(name), name) for name in reader.names if name.kind.is_operation]
        calls = sum(found.count for found, _ in totals)
        errors = sum(found.errors for found, _ in totals)
        going_on = reader.open_spans()
        inside = f", now in {going_on[-1].kind.name.lower()} {going_on[-1].name}" if going_on else ""
        failed = f", {errors:,} errors" if errors else ""
        print(f"libperf: {seconds(now - self.start)}, {calls:,} spans{failed}{inside}", file=sys.stderr, flush=True)


class Found(NamedTuple):
    """The segment of the program, once there is one."""

    reader: Reader
    drain: Drain


def find(pid: int, trace: Path | None, temporary: bool) -> Found | None:
    try:
        segment = find_segment(pid)
        if trace is None:  # its name is known to nobody else
            trace = Path(segment.parent if temporary else tempfile.gettempdir(), f"libperf-{segment.name}")
        return Found(Reader(segment), Drain(segment, trace))
    except PerfError:
        return None


def wait(command: list[str], trace: Path | None, temporary: bool) -> tuple[int, Found | None]:
    """Run a command; returns its status and what it recorded. Signals meant for it are passed on."""
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)
        if not children:
            early.append(number)

    # Ctrl-C reaches the program by itself, with the whole terminal's group. What is ignored stays so, in both.
    ways = {signal.SIGINT: lambda number, frame: None, signal.SIGTERM: pass_on, signal.SIGHUP: pass_on}
    heard = [number for number in ways if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ways[number]) for number in heard}
    try:
        environment = {"LIBPERF_RING_BYTES": str(RING_BYTES), **os.environ}
        children.append(subprocess.Popen(command, env=environment))
        for number in early:  # came while the program was being started
            children[0].send_signal(number)
        status, found = _follow(children[0], trace, temporary)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return (128 - status if status < 0 else status), found


def _follow(process: "subprocess.Popen[bytes]", trace: Path | None, temporary: bool) -> tuple[int, Found | None]:
    news = News(time.monotonic())
    found: Found | None = None
    while True:
        status = process.poll()
        found = found or find(process.pid, trace, temporary)
        if found:
            with suppress(PerfError):  # no room for it, say: the report will tell what was lost
                found.drain.step()
        if status is not None:
            return status, found
        if found:
            with suppress(PerfError):  # unreadable now: it may be readable at the end, and the program goes on
                news.tell(found.reader, time.monotonic())
        time.sleep(POLL_S)


def tell(
    report: Report,
    analysis: Analysis | None,
    hot: Hotspots | None,
    where: Path,
    json_file: str | None,
    took: float,
    status: int,
) -> None:
    from ..reporting.table import print_report

    if report.is_empty and not hot and (analysis is None or analysis.actors <= 1):  # the program's main thread is one
        print(NOTHING, file=sys.stderr)
        return
    console = print_report(report, analysis, hot, stderr=True)
    end = "" if status == 0 else f", exit status {status}"
    if status - 128 in {number.value for number in signal.Signals}:
        end = f", ended by {signal.Signals(status - 128).name}"
    console.print(f"\nprogram {seconds(took)} from start to end{end}", highlight=False)
    console.print(f"trace   {where}", highlight=False, soft_wrap=True)
    if json_file:
        console.print(f"json    {json_file}", highlight=False, soft_wrap=True)


def write_json(
    report: Report, analysis: Analysis | None, hot: Hotspots | None, target: str, where: Path, took: float, status: int
) -> None:
    data = report.to_dict()
    if analysis:
        data |= analysis.to_dict()
    if hot:
        data |= hot.to_dict()
    data["program"] |= {"exit_status": status, "took_s": took, "trace": str(where)}
    text = json.dumps(data, indent=2) + "\n"
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        Path(target).write_text(text)


def main(options: argparse.Namespace) -> int:
    try:
        program = program_of(options)
    except UsageError as error:
        print(f"libperf run: {error}", file=sys.stderr)
        return 2
    if options.html:
        from ..html import find_library

        try:
            find_library()
        except PerfError as error:  # before the program runs, not after
            print(f"libperf run: {error}", file=sys.stderr)
            return 2
    if options.cpu:
        os.environ["LIBPERF_PROFILE"] = "async,cpu"
    with shared_folder() as temporary:
        start = time.monotonic()
        if options.memory:
            os.environ["LIBPERF_MEMORY"] = "1"  # for the program
        status, found = wait([sys.executable, str(CHILD), *program], options.trace, temporary)
        took = time.monotonic() - start
        if found is None:
            print(NOTHING, file=sys.stderr)
            return status
        try:
            with found.reader, found.drain:
                finish(found, options, temporary, took, status)
        except PerfError as error:  # the program's status is worth more than our report
            print(f"libperf run: {error}", file=sys.stderr)
    return status


def finish(found: Found, options: argparse.Namespace, temporary: bool, took: float, status: int) -> None:
    """Write and print everything there is to say about a program that has ended. What cannot be written is said."""
    reader, drain = found
    reader.refresh()
    where = Path("not kept: LIBPERF_DIR=off") if temporary else reader.path or Path()
    json_file: str | None = None
    problems: list[str] = []
    if options.trace or drain.chunks:
        with noting(problems, str(drain.trace)):
            drain.finish()
            if options.trace or not temporary:
                where = drain.trace
            if drain.chunks:  # the segment itself no longer has everything
                reader = Reader(drain.trace)
    report = Report.read(reader)
    analysis = Analysis.read(reader)
    hot = read_all(reader, analysis)
    if options.json:
        with noting(problems, options.json):
            write_json(report, analysis, hot, options.json, where, took, status)
            json_file = None if options.json == "-" else options.json
    if options.html:
        from ..html import write_html

        with noting(problems, str(options.html)):
            write_html(reader, analysis, options.html)
    tell(report, analysis, hot, where, json_file, took, status)
    for problem in problems:
        print(f"libperf run: {problem}", file=sys.stderr)


@contextmanager
def noting(problems: list[str], name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # `libperf run --json - agent.py | head`
        hang_up()
    except PerfError as error:
        problems.append(str(error))
    except OSError as error:
        problems.append(f"cannot write {name}: {error.strerror or error}")
