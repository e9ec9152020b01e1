"""What the cache in memory takes: resident memory against what it holds, after entries of changing sizes, and per entry.

perf-bench-cache-memory does the work, once for an arena of jemalloc and once for the C library's allocator.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path

from peers.measure import Row, write

PHASES = {
    "filled": "values of 64 to 512 bytes",
    "grown": "then of 512 to 8192",
    "shrunk": "then of 100 to 1500",
    "mixed": "then of 16 to 8192",
}
NAMES = {"arena": "an arena", "libc": "libc"}
ENTRIES = {
    "lru": "LRU",
    "lru/ttl": "LRU, all of them with times",
    "adaptive": "ADAPTIVE",
    "s3fifo": "S3FIFO",
}


def lines(program: Path, mode: str) -> Iterator[tuple[str, int, int, int, int]]:
    """What, entries, bytes of keys and values, bytes held, bytes resident."""
    for line in subprocess.run([program, mode], text=True, capture_output=True, check=True).stdout.splitlines():
        name, *numbers = line.split()
        entries, content, held, resident = map(int, numbers)
        yield name, entries, content, held, resident


def churned(program: Path, allocator: str) -> Iterator[Row]:
    worst: dict[bool, float] = {}
    for name, _entries, content, held, resident in lines(program, allocator):
        phase, _, trimmed = name.partition("/")[2].partition("/")
        if phase not in PHASES:
            continue
        worst[bool(trimmed)] = max(worst.get(bool(trimmed), 0), resident / held)
        what = f"cache in {NAMES[allocator]}, {PHASES[phase]}{', trimmed' if trimmed else ''}: resident / held"
        more = {"content_bytes": content, "held_bytes": held, "resident_bytes": resident}
        yield Row(f"cache/rss/{name}", what, "%", [100 * resident / held], more)
    for trimmed, most in worst.items():
        end = "/trimmed" if trimmed else ""
        what = f"cache in {NAMES[allocator]}, most of these{', trimmed' if trimmed else ''}"
        yield Row(f"cache/rss/{allocator}/worst{end}", what, "%", [100 * most])


def per_entry(program: Path) -> Iterator[Row]:
    for name, entries, content, held, _resident in lines(program, "entries"):
        what = f"cache, a million entries of 16 + 96 bytes, {ENTRIES[name]}: beside key and value"
        yield Row(f"cache/entry/{name}", what, "bytes", [(held - content) / entries])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: .venv/bin/python bench/cache_memory.py --json cache_memory.jsonl",
    )
    parser.add_argument("--build", metavar="DIR", default="build/release", help="CMake's folder (build/release)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON for each; - is standard output")
    arguments = parser.parse_args()
    program = Path(arguments.build) / "bench" / "perf-bench-cache-memory"
    rows = [*per_entry(program), *churned(program, "arena"), *churned(program, "libc")]
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
