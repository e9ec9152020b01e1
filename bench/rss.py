"""Whether spans pile up: resident memory before and after a million calls of a function under @libperf.trace."""

from __future__ import annotations

import argparse
import gc
import os
from pathlib import Path

from peers.measure import Row, positive, write

import libperf

PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@libperf.trace
def nothing() -> None:
    pass


def rss_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KIB


def call(count: int) -> int:
    """Resident memory, in KiB, after so many calls."""
    for _ in range(count):
        nothing()
    gc.collect()
    return rss_kib()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: .venv-peers/bin/python bench/rss.py --json rss.jsonl"
    )
    parser.add_argument("--warm-up", type=positive, default=200_000, metavar="N", help="calls before (200000)")
    parser.add_argument("--calls", type=positive, default=1_000_000, metavar="N", help="calls between (1000000)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON; - is standard output")
    arguments = parser.parse_args()
    before = call(arguments.warm_up)
    after = call(arguments.calls)
    more = {"before_kib": before, "after_kib": after, "calls": arguments.calls}
    write([Row("rss/growth", "resident memory grew by", "KiB", [after - before], more)], arguments.json)


if __name__ == "__main__":
    main()
