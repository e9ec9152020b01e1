"""What batchers write as counters, gauges and timings is rows of the report."""

from __future__ import annotations

import json
from typing import Any

import pytest

import libperf
from libperf.reporting.batcher_table import batcher_rows
from libperf.reporting.batchers import DROPS, REASONS, Batcher, find_batchers, is_of_batcher
from libperf.reporting.table import render_text


def write(batcher: str) -> None:
    """As a batcher does."""
    for number, name in enumerate(("items", "weight", "batches", "rejected", "cancelled", "failed", "throttled")):
        libperf.Counter(f"batcher.{batcher}.{name}").add([96, 1000, 8][number] if number < 3 else number)
    libperf.Counter(f"batcher.{batcher}.went.idle").add(5)
    libperf.Counter(f"batcher.{batcher}.went.full").add(3)
    libperf.Counter(f"batcher.{batcher}.dropped.shed").add(7)
    libperf.Gauge(f"batcher.{batcher}.base").set(0.020)
    libperf.Gauge(f"batcher.{batcher}.each").set(0.001)
    for _ in range(4):
        libperf.Timing(f"batcher.{batcher}.wait").record(0.002)
        libperf.Timing(f"batcher.{batcher}.service").record(0.030)


def batcher_of(report: Any, name: str) -> dict[str, Any]:
    (found,) = [each for each in report["batchers"] if each["name"] == name]
    return dict(found)


def test_a_batcher_in_the_report(name: str) -> None:
    """Each series is where it belongs, and stays what it was."""
    write(name)
    data = libperf.snapshot()
    found = batcher_of(data, name)
    for which, seconds in (("wait", 0.002), ("service", 0.030)):
        times = [found.pop(f"{which}_{q}_s") for q in ("p50", "p95", "p99")]
        assert times == pytest.approx([seconds] * 3, rel=0.004)
    assert found == {
        "name": name,
        "mean_size": 12.0,
        "items": 96,
        "weight": 1000,
        "batches": 8,
        "rejected": 3,
        "cancelled": 4,
        "failed": 5,
        "throttled": 6,
        "went": {"full": 3, "idle": 5},
        "dropped": {"shed": 7},
        "base_s": 0.020,
        "each_s": 0.001,
    }
    assert data["counters"][f"batcher.{name}.items"] == 96
    assert any(row["name"] == f"batcher.{name}.wait" for row in data["timings"])
    json.dumps(data)


def test_a_batcher_in_the_table() -> None:
    """One row, and why batches went; nothing is there twice."""
    write("a batcher with blanks. and dots")
    text = render_text(libperf.report(), 200)
    (row, said) = [line for line in text.splitlines() if "a batcher with blanks. and dots" in line]
    cells = row.split("a batcher with blanks. and dots")[1].split("  ")
    assert [cell.strip() for cell in cells if cell.strip()] == [
        *("96", "8", "12.0", "2.00 ms", "2.00 ms", "30.0 ms", "30.0 ms", "20.0 ms + 1.00 ms·n", "10", "5")
    ]
    assert "went full 3, idle 5; gave up shed 7, rejected 3, cancelled 4; 6 batches were refused" in said
    assert "batcher.a batcher with" not in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_the_table_fits(width: int) -> None:
    """Columns go before the line is too long; items, batches and drops stay."""
    from rich.console import Console

    write("wide")
    row = next(each for each in libperf.report().batchers if each.name == "wide")
    console = Console(width=width, color_system=None, file=None)
    with console.capture() as capture:
        for part in batcher_rows([row], width):
            console.print(part)
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    assert ("batches" in text and "dropped" in text) or width < 60
    assert ("cost of n" in text, "service P50" in text) == (width >= 100, width >= 200)


@pytest.mark.parametrize(
    ("series", "is_one"),
    [
        ("batcher.embed.items", True),
        ("batcher.a.b c.wait", True),
        ("batcher.items.items", True),
        ("batcher.embed.went.full", True),
        ("batcher.embed.dropped.expired", True),
        ("batcher.line\nbreak.base", True),
        ("batcher..items", False),
        ("batcher.embed.went.home", False),
        ("batcher.embed.dropped.full", False),
        ("batchers.embed.items", False),
        ("my batcher.embed.items", False),
        ("batcher.items", False),
        ("batcher.embed.items.more", False),
    ],
)
def test_whose_series_it_is(series: str, is_one: bool) -> None:
    assert is_of_batcher(series) is is_one
    assert bool(find_batchers({series: 1}, {}, [])) is is_one


def test_what_a_gauge_may_hold() -> None:
    """Anything a float can be; what is no duration is not known."""
    for value in (float("nan"), float("inf"), -1e300):
        (found,) = find_batchers({}, {"batcher.a.base": value}, [])
        assert found.base is None


def test_reasons_are_the_cores() -> None:
    """In the order of its enums, so that a number is a word."""
    from libperf._core import lib

    assert [getattr(lib, f"PERF_BATCH_REASON_{reason.upper()}") for reason in REASONS] == [*range(len(REASONS))]
    assert len(REASONS) == lib.PERF_BATCH_REASONS
    assert [getattr(lib, f"PERF_BATCH_DROP_{drop.upper()}") for drop in DROPS] == [*range(1, len(DROPS) + 1)]


def test_without_batchers_nothing_is_said() -> None:
    assert list(batcher_rows([], 100)) == []
    assert list(batcher_rows([Batcher("embed")], 100)) == []
    assert Batcher("embed").size is None
