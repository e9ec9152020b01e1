"""python -m libperf.batcher.simulate"""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from .experiments import EXPERIMENTS
from .tables import show, to_json

ITEMS, QUICK = 60_000, 6_000
EPILOG = """\
tables:
{}

examples:
  python -m libperf.batcher.simulate --quick                     all tables, a tenth of the arrivals
  python -m libperf.batcher.simulate --table optimum --seed 7    one table, other arrivals
  python -m libperf.batcher.simulate --table load --json         latency against load: data for a plot
"""


def build_parser() -> argparse.ArgumentParser:
    tables = "\n".join(f"  {name:<10} {experiment.title}" for name, experiment in EXPERIMENTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m libperf.batcher.simulate",
        description="The batcher's queue in virtual time, beside other rules and beside the best that is possible.",
        epilog=EPILOG.format(tables),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--table", action="append", choices=EXPERIMENTS, metavar="NAME", help="only this one; again: more"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is random; default 1")
    parser.add_argument("--json", action="store_true", help="as data")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} arrivals a row instead of {ITEMS:,}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    names, items = options.table or list(EXPERIMENTS), QUICK if options.quick else ITEMS
    if options.json:
        print(to_json(names, options.seed, items))
    else:
        console = Console() if sys.stdout.isatty() else Console(width=160)
        show(names, options.seed, items, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
