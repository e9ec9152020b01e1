"""Windows over counts that only grow: what the difference of two readings says."""

from __future__ import annotations

import random
from array import array
from typing import Any

import pytest

import libperf
from libperf import Histogram, Kind
from libperf.live.windows import NOTHING, Seen, Series, quantiles, row_between
from libperf.reader import Name, Reader, Totals

NAME = Name(20, Kind.TIMING, "t")
QS = (0.0, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0)


def totals(count: int = 0, **fields: Any) -> Totals:
    nothing: dict[str, Any] = {
        "errors": 0, "cancelled": 0, "sum": 0.0, "min": 0.0, "max": 0.0, "value": 0, "gauge": None, "quantities": {},
    }  # fmt: skip
    return Totals(count=count, **{**nothing, **fields})


@pytest.mark.parametrize("seed", range(5))
def test_the_same_as_a_histogram_s(seed: int, name: str) -> None:
    """Percentiles between two readings of a segment are those of Histogram.subtract(), within a bucket."""
    dice = random.Random(seed)
    timing = libperf.Timing(name)

    def record(count: int) -> list[float]:
        values = [dice.expovariate(1) * 10 ** dice.randrange(-6, 2) for _ in range(count)]
        for value in values:
            timing.record(value)
        return values

    record(dice.randrange(200))
    with Reader() as reader:

        def read() -> tuple[Any, Histogram]:
            found = [each for each in reader.names if each.text == name]
            return (reader.buckets(found[0]), reader.histogram(found[0])) if found else (array("Q"), Histogram())

        before, old = read()
        values = sorted(record(dice.randrange(1, 500)))
        reader.refresh(records=False)
        now, window = read()
    window.subtract(old)
    assert sum(now[1::2]) - sum(before[1::2]) == window.count == len(values)
    for q, found in zip(QS, quantiles(now, before, QS), strict=True):
        assert found / 1e9 == pytest.approx(window.quantile(q), rel=0.008)
        rank = max(1, -(-int(q * 100) * len(values) // 100))
        assert found / 1e9 == pytest.approx(values[rank - 1], rel=0.004, abs=1e-9)


def test_nothing_came() -> None:
    """Percentiles of nothing are 0, also when a damaged file has less than before."""
    assert quantiles([], [], QS) == [0] * len(QS)
    assert quantiles([5, 3], [5, 3], QS) == [0] * len(QS)
    assert quantiles([5, 3], [5, 4, 9, 1], QS) == [0] * len(QS)


def test_a_row_is_what_came_between() -> None:
    """Counts, sums and quantities are differences; rates are over the seconds between."""
    before = Seen(1, totals(10, errors=2, sum=5.0, min=0.1, max=1.0, quantities={"tokens": 7}), array("Q", [10**9, 10]))
    now = Seen(
        2,
        totals(
            14, errors=3, cancelled=1, sum=7.0, min=0.1, max=1.0,
            quantities={"tokens": 12, "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20},
        ),
        array("Q", [5 * 10**8, 4, 10**9, 10]),
    )  # fmt: skip
    row = row_between(NAME, now, before, 8.0)
    assert (row.calls, row.errors, row.cancelled, row.total, row.per_second) == (4, 1, 1, 2.0, 0.5)
    assert (row.min, row.p50, row.p95, row.p99, row.max) == (0.5,) * 5
    assert (row.input_tokens, row.output_tokens, row.quantities) == (100, 20, {"tokens": 5})
    assert row.share == 0.25


def test_a_middle_never_lies_outside_of_what_was_measured() -> None:
    """The middle of a bucket is held between the least and the greatest value there ever was."""
    now = Seen(1, totals(1, sum=1.001, min=1.001, max=1.001), array("Q", [10**9, 1]))
    row = row_between(NAME, now, NOTHING, 1.0)
    assert (row.p50, row.max) == (1.001, 1.001)


def test_a_window_of_no_length_has_no_rate() -> None:
    """A reading at the very moment when the process began."""
    now = Seen(1, totals(3, sum=1.0, min=0.1, max=1.0), array("Q", [10**8, 3]))
    row = row_between(NAME, now, NOTHING, 0.0)
    assert (row.calls, row.per_second, row.share) == (3, 0.0, 0.0)


def test_a_series_keeps_what_windows_need() -> None:
    """at() finds what had been counted; what is older than the horizon goes, but for what was true there."""
    series = Series(NAME)
    assert series.at(5) is NOTHING
    for time in range(10, 60, 10):
        series.take(totals(time), array("Q"), time)
        series.mark(horizon=0)
        series.mark(horizon=0)  # a reading that changed nothing
    assert [series.at(time).totals.count for time in (9, 10, 15, 20, 50, 99)] == [0, 10, 10, 20, 50, 50]
    assert len(series.marks) == 5
    series.mark(horizon=35)
    assert [seen.time for seen in series.marks] == [30, 40, 50]
    assert series.at(35).totals.count == 30
