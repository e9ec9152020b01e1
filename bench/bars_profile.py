"""The profilers' promises; see bars.py."""

from __future__ import annotations

from collections.abc import Callable

from bars import Bar, median
from parts import Line, Lines


def over_cprofile(line: Line) -> float:
    """What it adds, of what cProfile adds in the same rounds."""
    return float(line["over_cprofile"])


def elsewhere(lines: Lines) -> str:
    """The same ratio for programs of nothing but calls of Python functions."""
    rest = {name: lines.get(f"profile/{name}/@libperf.profile", {}) for name in ("recursion", "asyncio")}
    return "".join(f"; {name} {over_cprofile(line):.2f}x" for name, line in rest.items() if line)


def peers(program: str) -> Callable[[Lines], str]:
    def tell(lines: Lines) -> str:
        names = ("cProfile", "yappi", "pyinstrument")
        found = [(name, lines.get(f"profile/{program}/{name}")) for name in names]
        return "; " + ", ".join(f"{name} {median(line):.0f} %" for name, line in found if line)

    return tell


PROFILE_BARS = [
    Bar(
        "@libperf.profile on functions that call functions and builtins adds, of what cProfile adds (Python >= 3.12)",
        "<= 0.333x",
        "profile/calls/@libperf.profile",
        over_cprofile,
        lambda x: x <= 1 / 3,
        "{:.2f}x",
        elsewhere,
    ),
    Bar(
        "CPU sampler at 1,000 a second adds to a program of many calls (Python >= 3.13)",
        "<= 2 %",
        "profile/calls/libperf sampler",
        median,
        lambda x: x <= 2,
        "{:.1f} %",
        peers("calls"),
    ),
    Bar(
        "known shares of 70/20/10, 5,000 samples (Python >= 3.13): the worst is off by",
        "<= 2 points",
        "profile/shares",
        median,
        lambda x: x <= 2,
        "{:.2f}",
    ),
]
