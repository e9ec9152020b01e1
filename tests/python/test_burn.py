"""Burn rates: windows over counts that are read now and then, by a model that remembers everything."""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest

from libperf.slo.burn import DAY, HOUR, MINUTE, PAIRS, BurnRates, Pair


def test_the_pairs_of_the_workbook() -> None:
    """2 % of a month's budget in an hour, 5 % in six hours, 10 % in three days."""
    month = 30 * DAY
    assert [round(pair.factor * pair.long / month, 3) for pair in PAIRS] == [0.02, 0.05, 0.1]
    assert [round(pair.long / pair.short) for pair in PAIRS] == [12, 12, 12]


def feed(rates: BurnRates, start: float, seconds: float, calls: int, bad: int, step: float = 10.0) -> float:
    """So many calls in each step, so many of them bad. Returns when it ends."""
    now, (have, wrong) = start, rates._now
    while now < start + seconds:
        now += step
        have, wrong = have + calls, wrong + bad
        rates.observe_at(now, have, wrong)
    return now


def alerting(rates: BurnRates, now: float) -> list[float]:
    return [each.pair.factor for each in rates.burning_at(now) if each.alerting]


def test_a_quiet_service_burns_nothing() -> None:
    """All good."""
    rates = BurnRates(0.99)
    now = feed(rates, 0, DAY, 10, 0, step=60)
    assert alerting(rates, now) == []
    assert all(each.long == each.short == 0 for each in rates.burning_at(now))


def test_no_call_burns_nothing() -> None:
    """And neither is divided by."""
    rates = BurnRates(0.99)
    assert rates.rate_at(0, HOUR) == 0
    rates.observe_at(0, 0, 0)
    assert [(each.calls, each.long, each.alerting) for each in rates.burning_at(100)] == [(0, 0.0, False)] * 3


def test_an_outage_is_noticed_and_ends() -> None:
    """Half of the calls fail after three good days: the fast alert comes within ten minutes of an hour's window, and ends
    within six minutes of the end of the trouble."""
    rates = BurnRates(0.99)
    now = feed(rates, 0, 3 * DAY, 10, 0, step=60)
    trouble = now
    while 14.4 not in alerting(rates, now):
        now = feed(rates, now, 10, 10, 5)
    assert now - trouble < 30 * MINUTE
    over = now = feed(rates, now, MINUTE, 10, 5)
    while 14.4 in alerting(rates, now):
        now = feed(rates, now, 10, 10, 0)
    assert now - over < 6 * MINUTE


def test_a_slow_leak_is_noticed_by_the_slow_pair_alone() -> None:
    """Twice the budget: neither 14.4 nor 6 times."""
    rates = BurnRates(0.99)
    now = feed(rates, 0, 3 * DAY, 100, 2, step=60)
    assert alerting(rates, now) == [1.0]


def test_exactly_the_budget_is_no_alert() -> None:
    """It lasts until the end of the month."""
    rates = BurnRates(0.99)
    now = feed(rates, 0, 3 * DAY, 100, 1, step=60)
    assert rates.rate_at(now, 3 * DAY) == pytest.approx(1)
    assert alerting(rates, now) == []


@pytest.mark.parametrize(("calls", "want"), [(99, []), (100, [14.4, 6.0, 1.0])])
def test_few_calls_are_no_reason(calls: int, want: list[float]) -> None:
    """All bad, but one less than 100."""
    rates = BurnRates(0.99)
    rates.observe_at(0, 0, 0)
    rates.observe_at(60, calls, calls)
    assert alerting(rates, 60) == want


def test_both_windows_must_burn() -> None:
    """A bad minute an hour ago is over; one just now has not cost much yet."""
    rates = BurnRates(0.99, pairs=(Pair(14.4, HOUR, 5 * MINUTE),))
    now = feed(rates, 0, MINUTE, 100, 100)
    now = feed(rates, now, 10 * MINUTE, 1, 0)
    (burning,) = rates.burning_at(now)
    assert (burning.long > 14.4, burning.short, burning.alerting) == (True, 0, False)
    rates = BurnRates(0.99, pairs=(Pair(14.4, HOUR, 5 * MINUTE),))
    now = feed(rates, 0, HOUR, 100, 0)
    now = feed(rates, now, 3 * MINUTE, 100, 100)
    (burning,) = rates.burning_at(now)
    assert (burning.long < 14.4, burning.short > 14.4, burning.alerting) == (True, True, False)


def test_a_window_is_as_long_as_what_is_known() -> None:
    """What was counted before the first reading is in none."""
    rates = BurnRates(0.9)
    rates.observe_at(1000, 500, 500)
    rates.observe_at(1030, 600, 550)
    assert rates.window_at(1030, 3 * DAY) == (100, 50)
    assert rates.rate_at(1030, 3 * DAY) == pytest.approx(5)


def test_counts_that_fall_begin_anew() -> None:
    """Another process, or a forked one."""
    rates = BurnRates(0.9)
    feed(rates, 0, HOUR, 100, 100)
    rates.observe_at(HOUR + 10, 5, 0)
    rates.observe_at(HOUR + 20, 25, 10)
    assert rates.window_at(HOUR + 20, DAY) == (20, 10)


@pytest.mark.parametrize("seed", range(8))
def test_windows_are_those_of_a_model(seed: int) -> None:
    """Random steps over five days: a window begins with the last reading before it, or with one up to ten seconds earlier
    (five minutes beyond the hour)."""
    chance = random.Random(seed)
    rates, times, counts = BurnRates(0.99), [], []
    now = calls = bad = 0
    while now < 5 * DAY:
        now += chance.choice((1, 5, 10, 60, 900))
        more = chance.randrange(20)
        calls, bad = calls + more, bad + chance.randrange(more + 1)
        rates.observe_at(now, calls, bad)
        times.append(now)
        counts.append((calls, bad))
        if chance.random() > 0.02:
            continue
        for window in (5 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, 3 * DAY):
            found = rates.window_at(now, window)
            step = 10 if window <= HOUR else 300
            latest = bisect_right(times, now - window) - 1
            latest = max(0, latest)
            earliest = bisect_right(times, times[latest] - step - 1)
            may_be = {(calls - c, bad - b) for c, b in counts[earliest : latest + 1]}
            assert found in may_be


def test_memory_is_bounded() -> None:
    """A reading a second for ten days."""
    rates = BurnRates(0.99)
    for now in range(0, int(10 * DAY), 1):
        rates.observe_at(now, now, 0)
    assert len(rates._fine.times) < 1000
    assert len(rates._coarse.times) < 2000
