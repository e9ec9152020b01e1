"""`libperf run`: runs a program in a process of its own and reports on it, however it ends.

This process only waits and reads. The program's segment outlives the program, so there is a report after an exception,
sys.exit(), os._exit() and SIGKILL alike.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..errors import PerfError
from ..reader import Reader, find_segment
from ..reporting import Report
from ..table import print_report, seconds

EPILOG = """\
examples:
  libperf run agent.py "a question"           arguments after the script are the script's
  libperf run -m my.agent --fast
  libperf run --json report.json agent.py     also as data (docs/json.md); `--json -` writes to standard output
  libperf run --trace agent.perf agent.py     keep the trace; `libperf report agent.perf` reads it again

The program's own input, output and exit status pass through (a signal n as 128+n). The report goes to standard error.
"""

POLL_S = 0.05
FIRST_NEWS_S, SLOWEST_NEWS_S = 10.0, 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "libperf run [--json FILE|-] [--trace FILE] [--] SCRIPT|-m MODULE [arguments ...]"
    parser.description = "Run a Python program and report where its time went."
    parser.epilog = EPILOG
    parser.add_argument("--json", metavar="FILE|-", help="write the report as JSON (- is standard output)")
    parser.add_argument("--trace", metavar="FILE", type=Path, help="keep the trace in FILE")
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
    if program and Path(program[0]).name.startswith("python") and not Path(program[0]).exists():
        del program[0]  # `libperf run python app.py`: the interpreter is ours
    if not program:
        raise UsageError("what should run? Give a script or -m MODULE; see `libperf run --help`")
    if program[0] == "-m" and len(program) > 1:
        return program
    if not Path(program[0]).exists():
        raise UsageError(f"there is no file {program[0]!r}; `libperf run` takes a Python script, or -m MODULE")
    return program


@contextmanager
def shared_folder() -> Iterator[dict[str, str]]:
    """The program's environment. With LIBPERF_DIR=off it still needs a place that we can read: a temporary one."""
    environment = dict(os.environ)
    if environment.get("LIBPERF_DIR") != "off":
        yield environment
        return
    folder = tempfile.mkdtemp(prefix="libperf-run-")
    try:
        os.environ["LIBPERF_DIR"] = environment["LIBPERF_DIR"] = folder  # for find_segment() here
        yield environment
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


def wait(process: "subprocess.Popen[bytes]") -> tuple[int, Reader | None]:
    """Wait for the program; returns its status and what it recorded. Signals meant for it are passed on."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    # Ctrl-C reaches the program by itself, with the whole terminal's group
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    before |= {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    news = News(time.monotonic())
    reader: Reader | None = None
    try:
        while True:
            try:
                status = process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                status = None
            reader = reader or find(process.pid)
            if status is not None:
                break
            if reader:
                news.tell(reader, time.monotonic())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if reader:
        reader.refresh()
    return (128 - status if status < 0 else status), reader


def find(pid: int) -> Reader | None:
    try:
        return Reader(find_segment(pid))
    except PerfError:
        return None


def keep(segment: Path, used: int, trace: Path) -> None:
    """Copy the part of a segment that is in use."""
    with segment.open("rb") as source, trace.open("wb") as target:
        left = used
        while left and (block := source.read(min(left, 1 << 20))):
            target.write(block)
            left -= len(block)


def tell(report: Report, options: argparse.Namespace, where: Path, took: float, status: int) -> None:
    console = print_report(report, stderr=True)
    end = "" if status == 0 else f", exit status {status}"
    if status > 128:
        end = f", ended by {signal.Signals(status - 128).name}" if status - 128 in signal.valid_signals() else end
    console.print(f"\nprogram {seconds(took)} from start to end{end}", highlight=False)
    console.print(f"trace   {where}", highlight=False, soft_wrap=True)
    if options.json and options.json != "-":
        console.print(f"json    {options.json}", highlight=False, soft_wrap=True)


def write_json(report: Report, target: str, where: Path, took: float, status: int) -> None:
    data = report.to_dict()
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
    with shared_folder() as environment:
        temporary = environment.get("LIBPERF_DIR") != os.environ.get("LIBPERF_DIR")
        start = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "libperf.cli.child", *program], env=environment)
        status, reader = wait(process)
        took = time.monotonic() - start
        if reader is None:
            print("libperf: nothing was recorded: the program ended before its first span", file=sys.stderr)
            return status
        with reader:
            report = Report.read(reader)
            where = reader.path or Path()
            if options.trace:
                keep(where, report.info.used_bytes, options.trace)
                where = options.trace
            elif temporary:
                where = Path("not kept: LIBPERF_DIR=off")
            tell(report, options, where, took, status)
            if options.json:
                write_json(report, options.json, where, took, status)
    return status
