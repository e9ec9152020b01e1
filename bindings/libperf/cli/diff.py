"""`libperf diff`: what became slower between two recordings, for CI."""

import argparse
import json
import sys
from pathlib import Path

from ..errors import InvalidError
from .report import resolve

EPILOG = """\
examples:
  libperf diff main.perf branch.perf                   traces that `libperf run --trace FILE` has kept
  libperf diff --fail-on never main.perf branch.perf   only look
  libperf diff --old a1.perf a2.perf a3.perf --new b1.perf b2.perf b3.perf     several runs a side: the surest way
  libperf diff before/ after/                          the same, from folders of *.perf
  libperf diff --only llm:plan --threshold 10% --json main.perf 4711

exit status: 0 no regression; 1 a file cannot be read, or the like; 2 wrong usage; 3 a regression; 4 nothing could be
compared, because no operation has enough calls (docs/diff.md)
"""
REGRESSION, UNDECIDED = 3, 4


def share(text: str) -> float:
    """An argparse type: 5% or 0.05."""
    value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare two recordings of a program: what became slower, and whether that is more than chance."
    )
    parser.epilog = EPILOG
    parser.usage = "libperf diff [options] OLD NEW | libperf diff [options] --old OLD ... --new NEW ..."
    parser.add_argument("targets", metavar="OLD NEW", nargs="*", help="trace files, processes, or folders of traces")
    parser.add_argument("--old", nargs="+", action="extend", metavar="FILE|PID", help="several runs of the old side")
    parser.add_argument("--new", nargs="+", action="extend", metavar="FILE|PID", help="and of the new one")
    parser.add_argument("--json", action="store_true", help="write JSON (docs/diff.md) in place of the table")
    parser.add_argument(
        "--fail-on",
        choices=("regression", "never"),
        default="regression",
        help="regression (the default): status 3 when there is one, 4 when nothing could be compared; never: status 0",
    )
    parser.add_argument(
        "--alpha", type=share, default=0.01, metavar="CHANCE", help="of any false alarm in the whole comparison (1%%)"
    )
    parser.add_argument(
        "--threshold", type=share, default=0.05, metavar="SHARE", help="the smallest change that counts (5%%)"
    )
    parser.add_argument(
        "--min-calls",
        type=int,
        default=1000,
        metavar="N",
        help="calls a side that an operation needs when there is one run a side (1000)",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="NAME or KIND:NAME; may be given more than once"
    )
    parser.set_defaults(refuse=parser.error)


def sides(options: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """What to compare. Wrong usage ends the command with status 2."""
    old, new = options.old or [], options.new or []
    if options.targets and (old or new):
        options.refuse("give OLD NEW, or --old and --new, not both")
    if options.targets:
        if len(options.targets) != 2:
            options.refuse("give two: OLD NEW; several runs a side go after --old and --new")
        old, new = options.targets[:1], options.targets[1:]
    if not old or not new:
        options.refuse("what should be compared? Give OLD NEW, or --old and --new")
    return [resolve(target) for target in old], [resolve(target) for target in new]


def main(options: argparse.Namespace) -> int:
    from ..differences import Settings, diff

    settings = dict(alpha=options.alpha, threshold=options.threshold, min_calls=options.min_calls)
    try:
        Settings(**settings)
    except InvalidError as error:
        options.refuse(str(error))
    difference = diff(*sides(options), only=options.only, **settings)
    if options.json:
        json.dump(difference.to_dict(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        from ..differences.table import print_difference

        print_difference(difference)
    if options.fail_on == "never":
        return 0
    return {"regression": REGRESSION, "undecided": UNDECIDED}.get(difference.verdict, 0)
