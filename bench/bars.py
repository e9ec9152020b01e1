"""What was promised, and which line of JSON tells whether it is kept: tracing. The cache's promises: bars_cache.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from parts import Line, Lines


@dataclass(frozen=True)
class Bar:
    """A promise: the number that a line of JSON holds, and what it must be."""

    what: str
    bar: str
    name: str
    number: Callable[[Line], float]
    holds: Callable[[float], bool]
    show: str
    note: Callable[[Lines], str] = lambda lines: ""
    obstacle: str = ""  # what stands in the way, told while the bar is missed


def median(line: Line) -> float:
    return float(line["median"])


def ratio(line: Line) -> float:
    return float(line["ratio"])


def scaling(line: Line) -> float:
    return float(line["scaling"])


def span_beside_gettime(lines: Lines) -> str:
    span, gettime = lines.get("span/root", {}), lines.get("clock/two_gettime", {})
    if "median_ns" not in span or "median_ns" not in gettime:
        return ""
    return f"; {span['median_ns'] / gettime['median_ns']:.2f}x two clock_gettime"


def cheaper_form(lines: Lines, peer: str) -> Line:
    """A peer is judged by the cheaper of its two forms."""
    forms = [line for name, line in lines.items() if name.startswith(f"{peer}/") and "over_trace" in line]
    return min(forms, key=lambda line: float(line["over_trace"]), default={})


def adds(what: str, form: str, most: float, obstacle: str = "") -> Bar:
    """Of peers/speed_cost.py."""
    return Bar(what, f"<= {most} ns", f"speed/{form}", median, lambda x: x <= most, "{:.0f} ns", obstacle=obstacle)


BARS = [
    Bar(
        "C: record into a histogram, against two clock reads",
        "<= 0.125x (2.5 ns where they cost 20 ns)",
        "histogram/record",
        ratio,
        lambda x: x <= 0.125,
        "{:.3f}x",
        lambda lines: f"; {lines['histogram/record']['median_ns']:.2f} ns",
    ),
    Bar(
        "C: span begin and end, against two clock reads",
        "<= 1.5x",
        "span/root",
        ratio,
        lambda x: x <= 1.5,
        "{:.2f}x",
        span_beside_gettime,
        "beside the clock a span fills the slot in which others see it open, writes a record of 64 bytes, adds to four "
        "counters, and hands 56 bytes over by value, twice",
    ),
    Bar("C: two threads, same span name", ">= 1.8x", "span/root/t2", scaling, lambda x: x >= 1.8, "{:.2f}x"),
    Bar("C: two threads, same timing", ">= 1.8x", "metric/record/t2", scaling, lambda x: x >= 1.8, "{:.2f}x"),
    Bar(
        "@libperf.trace on an empty function adds",
        "<= 350 ns",
        "trace/sync",
        median,
        lambda x: x <= 350,
        "{:.0f} ns",
        obstacle="a ContextVar.set() of a new value is some 100 ns of it",
    ),
    adds("@libperf.trace, accelerated, adds to a call", "function", 300),
    adds(
        "@libperf.trace(leaf=True) adds to a call",
        "leaf",
        120,
        "before Python 3.12 the wrapper's own frame, its tuple and its dict are made for each call",
    ),
    adds("@libperf.trace adds to a resume of a coroutine", "resume", 250),
    adds("@libperf.trace adds to an item of a generator", "item", 250),
    Bar(
        "opentelemetry-sdk span, BatchSpanProcessor, against @libperf.trace",
        ">= 30x",
        "otel",
        lambda line: float(line["over_trace"]),
        lambda x: x >= 30,
        "{:.1f}x",
    ),
    Bar(
        "prometheus_client Histogram.time(), against @libperf.trace",
        "> 1x",
        "prometheus",
        lambda line: float(line["over_trace"]),
        lambda x: x > 1,
        "{:.2f}x",
    ),
    Bar(
        "@libperf.trace, p99 added beside a busy thread",
        "< 5 us",
        "trace/p99_busy",
        lambda line: median(line) / 1e3,
        lambda x: x < 5,
        "{:.2f} us",
    ),
    Bar("import libperf adds", "<= 40 ms", "start/added", median, lambda x: x <= 40, "{:.1f} ms"),
    Bar(
        "memory grows over one million spans by",
        "flat: <= 256 KiB",
        "rss/growth",
        median,
        lambda x: x <= 256,
        "{:.0f} KiB",
    ),
]
