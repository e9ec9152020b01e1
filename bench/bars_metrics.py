"""The promises of metrics; see bars.py."""

from __future__ import annotations

from bars import Bar, median
from parts import Line, Lines


def over_plain(line: Line) -> float:
    """How many times the time that libperf takes without examples, round by round."""
    return float(line["over_plain"])


def with_examples(lines: Lines, count: int) -> str:
    """What it is with a slow span for each bucket, which prometheus_client has no counterpart of."""
    ours, theirs = (lines.get(f"scrape/{name}/{count}") for name in ("libperf", "prometheus_client"))
    if not (ours and theirs):
        return ""
    return f"; {median(ours):.1f} ms with a span for each bucket, {float(theirs['over_libperf']):.2f}x"


def bar(count: int) -> Bar:
    return Bar(
        f"prometheus_client in multiprocess mode: a scrape of {count} processes of 20 histograms, against libperf",
        ">= 1x",
        f"scrape/prometheus_client/{count}",
        over_plain,
        lambda x: x >= 1,
        "{:.2f}x",
        lambda lines: with_examples(lines, count),
    )


METRICS_BARS = [bar(10), bar(50)]
