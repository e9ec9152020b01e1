"""The promises of counting allocations; see bars.py."""

from __future__ import annotations

from bars import Bar
from parts import Line, Lines


def over_plain(line: Line) -> float:
    """How many times as long as the program that nobody counts, round by round."""
    return float(line["over_plain"])


def row(prefix: str) -> str:
    return f"memory/{prefix}"


def beside(lines: Lines) -> str:
    names = ("tracemalloc(1)", "tracemalloc(10)", "memray", "memray(objects)")
    found = [f"{name} {over_plain(lines[row(name)]):.1f}x" for name in names if row(name) in lines]
    return "; " + ", ".join(found) if found else ""


MEMORY_BARS = [
    Bar(
        "counting allocations with sampled stacks: JSON, against nobody counting",
        "<= 1.3x",
        "memory/libperf",
        over_plain,
        lambda x: x <= 1.3,
        "{:.2f}x",
        beside,
    ),
    Bar(
        "the same with spans around it, against spans that nobody counts",
        "<= 1.3x",
        "memory/libperf in spans",
        over_plain,
        lambda x: x <= 1.3,
        "{:.2f}x",
    ),
    Bar(
        "the same in instructions",
        "<= 1.3x",
        "memory/instructions/libperf",
        over_plain,
        lambda x: x <= 1.3,
        "{:.2f}x",
    ),
    Bar(
        "tracemalloc of one frame on the same program",
        ">= 5x",
        "memory/tracemalloc(1)",
        over_plain,
        lambda x: x >= 5,
        "{:.2f}x",
        obstacle="that is what tracemalloc costs here, not libperf: the ratio between the two is what libperf can change",
    ),
]
