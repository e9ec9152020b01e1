"""`libperf top`: what processes do now, on a screen that follows them, or as plain snapshots."""

import argparse
import sys
from collections.abc import Callable

from ..live import SORTS, Live

EPILOG = """\
examples:
  libperf top                      every process of yours that records
  libperf top 4711                 one of them: operations, open spans, caches, batchers
  libperf top --once               one snapshot as text, also into a pipe or a file
  libperf top --json -n 60         an object a second for a minute (docs/top.md)

keys: q quit · arrows choose · enter look closer, escape back · s sort · / filter · w window · p pause · h help
"""
LEAST_INTERVAL = 0.05
MOST_SECONDS = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show what processes that record with libperf do now. They are not disturbed."
    parser.epilog = EPILOG
    parser.add_argument("pids", metavar="PID", nargs="*", type=_pid, help="a process (default: all of yours)")
    parser.add_argument(
        "--interval", metavar="S", type=_seconds(LEAST_INTERVAL), default=1.0, help="seconds between two looks (1.0)"
    )
    parser.add_argument(
        "--window", metavar="S", type=_seconds(LEAST_INTERVAL), default=10.0,
        help="seconds that rates and percentiles look back (10)",
    )  # fmt: skip
    parser.add_argument("-n", metavar="COUNT", dest="count", type=_count, help="end after so many looks")
    parser.add_argument("--once", action="store_true", help="one snapshot as text, an interval long")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each look, in place of text")
    parser.add_argument("--sort", choices=SORTS, default=SORTS[0], help="what comes first (time)")


def _pid(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a process")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of looks (1 or more)")
    return int(text)


def _seconds(least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not least <= value <= MOST_SECONDS:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from {least} to {MOST_SECONDS:.0f}")
        return value

    return parse


def main(options: argparse.Namespace) -> int:
    from rich.console import Console  # here: other commands are not to wait for it

    from .top_plain import snapshots

    with Live(options.pids or None, history=options.window) as live:
        console = Console()
        plain = options.once or options.json or not console.is_terminal or not sys.stdin.isatty()
        if plain or console.is_dumb_terminal:
            return snapshots(live, options)
        from .top_screen import Top

        return Top(live, options, console).run()
