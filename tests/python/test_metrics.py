"""Counters, gauges, timings and histograms: exact where they say so, within 0.4 % elsewhere, and no value passes unseen."""

from __future__ import annotations

import gc
import math
import random
from array import array
from collections.abc import Callable
from typing import Any

import pytest

import libperf
from libperf import Counter, Gauge, Histogram, Kind, Timing
from libperf.errors import OutOfRangeError
from libperf.metrics import UINT64_MAX

WITHIN = 2**-8  # half a bucket's width, of the value


def nearest_rank(values: list[int], q: float) -> int:
    """The exact quantile of a sorted list."""
    return values[max(1, math.ceil(q * len(values))) - 1]


def lognormal(dice: random.Random) -> int:
    return round(dice.lognormvariate(math.log(20e6), 1.0))


def bimodal(dice: random.Random) -> int:
    return round(dice.gauss(2e6, 1e5) if dice.random() < 0.9 else dice.gauss(900e6, 3e7))


def tiny(dice: random.Random) -> int:
    return dice.randrange(300)


def any_size(dice: random.Random) -> int:
    return dice.getrandbits(dice.randrange(1, 64))


DISTRIBUTIONS = [lognormal, bimodal, tiny, any_size]
QS = (0.0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


# ---- histogram: right values ----


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", DISTRIBUTIONS)
def test_quantiles_are_within_half_a_bucket(draw: Callable[[random.Random], int], seed: int) -> None:
    """Beside the exact nearest rank of the sorted values: at most 0.4 % away, at every rank."""
    dice = random.Random(seed)
    values = [draw(dice) for _ in range(20_000 + seed)]
    with Histogram() as histogram:
        histogram.record_many_ns(array("Q", values))
        values.sort()
        for q in QS:
            exact = nearest_rank(values, q)
            assert abs(histogram.quantile(q) * 1e9 - exact) <= exact * WITHIN + 1e-6 * exact, q
        assert (histogram.quantile(0), histogram.quantile(1)) == (
            pytest.approx(values[0] / 1e9, rel=WITHIN),
            pytest.approx(values[-1] / 1e9, rel=WITHIN),
        )


@pytest.mark.parametrize("draw", DISTRIBUTIONS)
def test_count_sum_and_extremes_are_exact(draw: Callable[[random.Random], int]) -> None:
    """They are no estimates."""
    dice = random.Random(11)
    values = [draw(dice) >> 12 for _ in range(5000)]  # so that the sum fits
    with Histogram() as histogram:
        histogram.record_many_ns(array("Q", values))
        assert histogram.count == 5000
        assert (histogram.sum, histogram.min, histogram.max) == (
            sum(values) / 1e9,
            min(values) / 1e9,
            max(values) / 1e9,
        )


@pytest.mark.parametrize("value", [0.0, 1e-9, 127e-9, 128e-9, 1.0, 86400.0, 1.7e10])
def test_one_value_is_every_quantile(value: float) -> None:
    """With one value there is nothing to estimate."""
    with Histogram([value]) as histogram:
        assert histogram.quantiles(QS) == pytest.approx([value] * len(QS), rel=1e-9)
        assert histogram.count == 1


def test_an_empty_histogram_is_all_zero() -> None:
    """Nothing recorded: no error, no NaN."""
    with Histogram() as histogram:
        histogram.record_many([])
        histogram.record_many_ns(array("Q"))
        assert (histogram.count, histogram.sum, histogram.min, histogram.max) == (0, 0.0, 0.0, 0.0)
        assert histogram.quantiles(QS) == [0.0] * len(QS)


@pytest.mark.parametrize("value", [UINT64_MAX / 1e9, 1e300, math.inf])
def test_what_is_too_long_is_the_longest(value: float) -> None:
    """584 years and more are one value, and the sum stays where it is full."""
    with Histogram([value, value]) as histogram:
        assert histogram.count == 2
        assert histogram.max == histogram.sum == UINT64_MAX / 1e9


def test_record_intended_counts_the_stall() -> None:
    """From when the call should have started; one that ends before that counts as nothing."""
    with Histogram() as histogram:
        for number in range(10):  # one call a second, all stuck until second 10
            histogram.record_intended(intended=float(number), end=10.0)
        assert histogram.max == 10.0
        assert histogram.quantile(0.5) == pytest.approx(5.0, rel=WITHIN)
        histogram.record_intended(intended=10.0, end=9.0)
        assert (histogram.count, histogram.min) == (11, 0.0)


@pytest.mark.parametrize(("intended", "end"), [(math.nan, 1.0), (1.0, math.nan), (math.inf, math.inf)])
def test_record_intended_refuses_what_is_no_time(intended: float, end: float) -> None:
    """NaN is not the same as no delay: ValueError, and nothing is recorded."""
    with Histogram() as histogram:
        with pytest.raises(ValueError, match="end - intended=nan"):
            histogram.record_intended(intended, end)
        assert histogram.count == 0


def test_one_by_one_and_many_are_the_same() -> None:
    """record(), record_many(), record_many_ns() and Histogram(values) fill the same buckets."""
    values = [0.001 * number for number in range(1, 200)]
    one, many, raw, made = Histogram(), Histogram(), Histogram(), Histogram(values)
    for value in values:
        one.record(value)
    many.record_many(iter(values))
    raw.record_many_ns(array("Q", [round(value * 1e9) for value in values]))
    pictures = [(h.count, h.sum, h.min, h.max, h.quantiles(QS)) for h in (one, many, raw, made)]
    assert pictures == [pictures[0]] * 4


def test_merge_is_as_if_recorded_together() -> None:
    """Exact, and the other one stays as it was."""
    left, right, both = Histogram([0.1, 0.2]), Histogram([0.3, 4.0]), Histogram([0.1, 0.2, 0.3, 4.0])
    left.merge(right)
    assert (left.count, left.sum, left.max) == (both.count, both.sum, both.max)
    assert left.quantiles(QS) == both.quantiles(QS)
    assert (right.count, right.min) == (2, 0.3)


def test_subtract_makes_a_window() -> None:
    """What came since an earlier copy, which does not change when more is recorded."""
    histogram = Histogram([0.1] * 50)
    before = histogram.copy()
    histogram.record_many([2.0, 3.0])
    assert before.count == 50
    histogram.subtract(before)
    assert histogram.count == 2
    assert histogram.sum == pytest.approx(5.0)
    assert histogram.quantiles([0.0, 1.0]) == [pytest.approx(2.0, rel=WITHIN), pytest.approx(3.0, rel=WITHIN)]


def test_subtract_refuses_what_is_no_earlier_copy() -> None:
    """OutOfRangeError says so, and nothing has changed."""
    histogram = Histogram([0.1])
    with pytest.raises(OutOfRangeError, match="no earlier copy"):
        histogram.subtract(Histogram([5.0]))
    assert (histogram.count, histogram.max) == (1, 0.1)


# ---- wrong values ----

WRONG = [-1, -1e-9, -math.inf, math.nan, None, "1", b"1", [1.0], 1j]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_what_is_no_duration_is_named(name: str, seen: Any, wrong: Any) -> None:
    """Negative, NaN or no number: ValueError holds it, wherever it is given, and nothing is recorded."""
    histogram, timing = Histogram(), Timing(name)
    for give in (histogram.record, timing.record, lambda value: histogram.record_many([0.1, value])):
        with pytest.raises(ValueError) as raised:
            give(wrong)
        assert f"seconds={wrong!r}" in str(raised.value)
    assert histogram.count == seen.totals(name, Kind.TIMING).count == 0


@pytest.mark.parametrize("wrong", [-0.1, 1.1, 95, math.nan, math.inf], ids=repr)
def test_what_is_no_quantile_is_named(wrong: float) -> None:
    """95 is a usual mistake for 0.95: the message holds the value and says how it is meant."""
    histogram = Histogram([0.1])
    for ask in (histogram.quantile, lambda q: histogram.quantiles([0.5, q])):
        with pytest.raises(ValueError, match=r"between 0 and 1 .0\.95 is the 95th percentile") as raised:
            ask(wrong)
        assert f"q={wrong!r}" in str(raised.value)


@pytest.mark.parametrize("wrong", [array("d", [1.0]), array("I", [1]), array("q", [1]), b"12345678"])
def test_only_unsigned_64_bit_numbers_are_taken_raw(wrong: Any) -> None:
    """An array of another type would be read as nonsense: TypeError."""
    with pytest.raises(TypeError, match="array\\('Q'\\), not format"):
        Histogram().record_many_ns(wrong)


@pytest.mark.parametrize("wrong", [-1, UINT64_MAX + 1, 10**30], ids=repr)
def test_a_counter_grows_by_what_fits(seen: Any, name: str, wrong: int) -> None:
    """Not backwards, and not by more than 64 bits: ValueError holds the amount."""
    with pytest.raises(ValueError, match="amount=") as raised:
        Counter(name).add(wrong)
    assert str(wrong) in str(raised.value)
    assert seen.totals(name, Kind.COUNTER).value == 0


@pytest.mark.parametrize("wrong", ["1", None, [1], 1j], ids=repr)
def test_what_is_no_number_is_named(name: str, wrong: Any) -> None:
    """TypeError holds what a counter or a gauge was given."""
    for give, word in ((Counter(name).add, "amount"), (Gauge(name).set, "value")):
        with pytest.raises(TypeError) as raised:
            give(wrong)
        assert f"{word}={wrong!r}" in str(raised.value)


@pytest.mark.parametrize("metric", [Counter, Gauge, Timing])
@pytest.mark.parametrize("wrong", [None, 5, b"bytes"])
def test_a_name_is_a_text(metric: Callable[[Any], object], wrong: Any) -> None:
    """TypeError holds what was given."""
    with pytest.raises(TypeError) as raised:
        metric(wrong)
    assert f"not {wrong!r}" in str(raised.value)


# ---- what readers see ----


def test_a_counter_adds_up(seen: Any, name: str) -> None:
    """By one, by any number, also by none and by very many."""
    counter = Counter(name)
    counter.add()
    counter.add(0)
    counter.add(2**63)
    Counter(name).add(41)  # the same name is the same counter
    assert seen.totals(name, Kind.COUNTER).value == 2**63 + 42


@pytest.mark.parametrize("value", [0.0, -1.5, 1e308, 5e-324, math.inf, -math.inf, 7])
def test_a_gauge_keeps_the_last_value(seen: Any, name: str, value: float) -> None:
    """Any number, and zero is one."""
    gauge = Gauge(name)
    assert seen.totals(name, Kind.GAUGE).gauge is None
    gauge.set(123.0)
    gauge.set(value)
    assert seen.totals(name, Kind.GAUGE).gauge == value


def test_a_gauge_ignores_nan(seen: Any, name: str) -> None:
    """NaN is no value: the last one stays, and the drop is counted."""
    before = seen.losses().get("dropped_values", 0)
    gauge = Gauge(name)
    gauge.set(2.0)
    gauge.set(math.nan)
    assert seen.totals(name, Kind.GAUGE).gauge == 2.0
    assert seen.losses().get("dropped_values", 0) == before + 1


def test_a_timing_is_a_histogram_without_spans(seen: Any, name: str) -> None:
    """Count, sum and extremes exact, percentiles within 0.4 %, and no record."""
    timing = Timing(name)
    for number in range(1, 101):
        timing.record(number / 1000)
    totals = seen.totals(name, Kind.TIMING)
    assert (totals.count, totals.min, totals.max, totals.sum) == (100, 0.001, 0.1, pytest.approx(5.05))
    (row,) = (row for row in libperf.report().timings if row.name == name)
    assert (row.p50, row.p95, row.p99) == tuple(pytest.approx(value, rel=WITHIN) for value in (0.05, 0.095, 0.099))
    assert seen.spans(name) == []


def test_metrics_of_one_name_do_not_mix(seen: Any, name: str) -> None:
    """Kind is part of the name."""
    Counter(name).add(3)
    Gauge(name).set(4.0)
    Timing(name).record(5.0)
    assert seen.totals(name, Kind.COUNTER).value == 3
    assert (seen.totals(name, Kind.GAUGE).gauge, seen.totals(name, Kind.TIMING).max) == (4.0, 5.0)


# ---- memory ----


def test_many_histograms_give_their_memory_back() -> None:
    """20,000 of 59 kB each, left to the garbage collector, would be over a gigabyte."""

    def resident_kb() -> int:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * 4

    Histogram([1.0])
    gc.collect()
    before = resident_kb()
    for _ in range(20_000):
        Histogram([1.0])
    gc.collect()
    assert resident_kb() - before < 50_000
