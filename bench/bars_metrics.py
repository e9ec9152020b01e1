"""The promises of metrics; see bars.py."""

from __future__ import annotations

from bars import Bar, median
from parts import Line, Lines


def over_libperf(line: Line) -> float:
    """How many times the time that libperf takes, as it comes, round by round."""
    return float(line["over_libperf"])


def without_examples(lines: Lines, count: int) -> str:
    """In milliseconds, and what it is without an example for each bucket, which prometheus_client has none of."""
    ours, plain, theirs = (
        lines.get(f"scrape/{name}/{count}") for name in ("libperf", "libperf/no-examples", "prometheus_client")
    )
    if not (ours and plain and theirs):
        return ""
    return f"; {median(ours):.1f} ms; {median(plain):.1f} ms without examples, {float(theirs['over_plain']):.2f}x"


def bar(count: int) -> Bar:
    processes = f"{count} process{'es' * (count > 1)}"
    return Bar(
        f"prometheus_client in multiprocess mode: a scrape of {processes} of 20 histograms, against libperf with examples",
        ">= 1x",
        f"scrape/prometheus_client/{count}",
        over_libperf,
        lambda x: x >= 1,
        "{:.2f}x",
        lambda lines: without_examples(lines, count),
    )


METRICS_BARS = [bar(1), bar(10), bar(50)]
