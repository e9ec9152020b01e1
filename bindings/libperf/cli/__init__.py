"""The `libperf` command: run, report, top, export, diff, serve-metrics, doctor, mock."""

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import PerfError

DESCRIPTION = "Shows why a Python agent is slow."
EPILOG = """\
examples:
  libperf run agent.py --question "why?"     run a program, then say where its time went
  libperf run --json out.json -m my.agent    the same as data
  libperf report 4711                        a process that is running, or has died
  libperf top                                what all of them do now
  libperf serve-metrics                      all that runs, for Prometheus
  libperf export agent.perf --to perfetto    a file for other tools
  libperf diff main.perf branch.perf         what became slower, and whether that is more than chance
  libperf mock -- libperf run agent.py       offline, against a mock LLM with known latencies
  libperf doctor                             what is installed, and what is missing
"""


def build_parser() -> argparse.ArgumentParser:
    from . import diff, doctor, export, report, run, serve_metrics, top

    parser = argparse.ArgumentParser(
        prog="libperf",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"libperf {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module, text in (
        ("run", run, "run a Python program and report where its time went"),
        ("report", report, "report on a process or a trace file"),
        ("top", top, "show what processes do now, and follow them"),
        ("serve-metrics", serve_metrics, "serve metrics of all processes to Prometheus"),
        ("export", export, "write a process or a trace file for Perfetto, speedscope, pprof, …"),
        ("diff", diff, "compare two recordings: what became slower"),
        ("doctor", doctor, "show clock, allocator, versions, and what is missing"),
    ):
        command = commands.add_parser(name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(command)
        command.set_defaults(action=module.main)
    commands.add_parser("mock", help="an OpenAI-compatible mock server with known latencies", add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status. Wrong usage is 2, a libperf error is 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["mock"]:  # has a `--` of its own to look for
        from ..testing import mock_command

        return mock_command.main(arguments[1:])
    options = build_parser().parse_args(arguments)
    try:
        status = int(options.action(options))
        sys.stdout.flush()  # here, where a reader that has left is no error
        return status
    except PerfError as error:
        print(f"libperf: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `libperf report | head`
        hang_up()
        return 0


def hang_up() -> None:
    """Nobody reads our output any more: let Python's flush at exit go nowhere, or it would be an error of ours."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
