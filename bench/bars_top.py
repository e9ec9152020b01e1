"""What `libperf top` promises; see bars.py."""

from __future__ import annotations

from bars import Bar, median

TOP_BARS = [
    Bar(
        "libperf top, a look a second at one process, in a terminal",
        "< 2 % of a core",
        "top/cpu/1",
        median,
        lambda x: x < 2,
        "{:.2f} %",
    ),
    Bar(
        "the same at 50 processes",
        "<= 5 % of a core",
        "top/cpu/50",
        median,
        lambda x: x <= 5,
        "{:.2f} %",
    ),
    Bar(
        "spans that a program records while libperf top looks 10 times a second, against nobody",
        ">= 0.98x",
        "top/watched",
        median,
        lambda x: x >= 0.98,
        "{:.3f}x",
    ),
]
