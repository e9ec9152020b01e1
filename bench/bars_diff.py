"""What `libperf diff` promises; see bars.py."""

from __future__ import annotations

from bars import Bar, median
from parts import Lines


def cell(name: str) -> str:
    return f"diff/{name}"


def which(name: str) -> str:
    return cell(f"worst/{name}")


def beside_rules(lines: Lines) -> str:
    """The worst that simple rules do in the same samples."""
    words = (("naive-p99", '"P99 + 20 %"'), ("naive-mean", '"mean + 5 %"'))
    worst = {
        rule: max(
            (median(line) for name, line in lines.items() if name.startswith(cell(f"false/{key}/"))), default=None
        )
        for key, rule in words
    }
    return "; " + ", ".join(f"{rule} {value:.1f} %" for rule, value in worst.items() if value is not None)


DIFF_BARS = [
    Bar(
        "`libperf diff`, 1,000 calls a side, 500 seeds: false alarms, worst of five distributions",
        "<= 1 %",
        which("false"),
        median,
        lambda x: x <= 1,
        "{:.1f} %",
        beside_rules,
    ),
    Bar(
        "the same when every size counts (threshold 0)",
        "<= 1 %",
        which("any-size"),
        median,
        lambda x: x <= 1,
        "{:.1f} %",
    ),
    Bar(
        "20 % slower is found, worst of five distributions",
        ">= 95 %",
        which("found"),
        median,
        lambda x: x >= 95,
        "{:.1f} %",
    ),
    Bar(
        "three times as long in 5 % of the calls is found (log-normal)",
        ">= 80 %",
        cell("found/tail/lognormal"),
        median,
        lambda x: x >= 80,
        "{:.1f} %",
    ),
]
