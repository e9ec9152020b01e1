"""The profilers' promises; see bars.py."""

from __future__ import annotations

from collections.abc import Callable

from bars import Bar, median
from parts import Line, Lines


def over_cprofile(line: Line) -> float:
    """What it adds, of what cProfile adds in the same rounds."""
    return float(line["over_cprofile"])


def sampled(lines: Lines) -> str:
    """The two parts of what the sampler takes, at the least and at the most frames."""
    found = [
        lines[f"profile/sampler/{depth} frames"] for depth in (5, 60) if f"profile/sampler/{depth} frames" in lines
    ]
    parts = " to ".join(f"{line['looks']:.2f} %" for line in found)
    ticks = " to ".join(f"{line['tick_us']:.0f} us" for line in found)
    return f"; looks alone (5 to 60 frames) {parts}, a tick of its thread {ticks}" if found else ""


def peers(program: str) -> Callable[[Lines], str]:
    def tell(lines: Lines) -> str:
        names = ("cProfile", "yappi", "pyinstrument")
        found = [(name, lines.get(f"profile/{program}/{name}")) for name in names]
        return "; " + ", ".join(f"{name} {median(line):.0f} %" for name, line in found if line)

    return tell


def beside_cprofile(what: str, program: str, obstacle: str = "") -> Bar:
    return Bar(
        f"@libperf.profile on {what} adds, of what cProfile adds (Python >= 3.12)",
        "<= 0.333x",
        f"profile/{program}/@libperf.profile",
        over_cprofile,
        lambda x: x <= 1 / 3,
        "{:.2f}x",
        obstacle=obstacle,
    )


PROFILE_BARS = [
    beside_cprofile("functions that call functions and builtins", "calls"),
    beside_cprofile("tasks of asyncio that take turns", "asyncio"),
    beside_cprofile(
        "a recursion that does nothing else",
        "recursion",
        "the interpreter's two events of a call and one read of the clock in each are 0.32x by themselves",
    ),
    Bar(
        "CPU sampler at 1,000 a second takes, of a processor: looks at 20 frames, and its thread (Python >= 3.13)",
        "<= 2 %",
        "profile/sampler/20 frames",
        median,
        lambda x: x <= 2,
        "{:.1f} %",
        lambda lines: sampled(lines) + peers("calls")(lines),
        obstacle="what a thread takes to wake up and fall asleep again, mostly the kernel's, is a tick",
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
