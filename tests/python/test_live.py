"""What processes do now, in virtual time: real processes that record, end, are killed, restart, fork, are many."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libperf import Kind
from libperf.live import Live
from libperf.live.plain import picture_dict
from libperf.live.watched import SECOND
from support_live import PROGRAM, Clock, only, row, tell

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs that are started here leave their segments, and where Live looks."""
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def live(folder: Path) -> Iterator[Live]:
    with Live() as live:
        yield live


# ---- windows ----


def test_nothing_runs(live: Live, clock: Clock) -> None:
    """An empty picture, again and again; no folder is needed."""
    for _ in range(3):
        picture = live.refresh(clock.later(1))
        assert (picture.processes, picture.more, picture.skipped) == ([], 0, {})


def test_the_first_look_is_since_the_beginning(live: Live, clock: Clock, start: Start) -> None:
    """Who looks for the first time sees what there is, over the process's whole life."""
    process = start(PROGRAM, SERVICE="the service")
    tell(process, "work 30 3")
    now = clock.later(100)
    seen = only(live.refresh(now))
    assert (seen.pid, seen.program, seen.state) == (process.pid, "the service", "running")
    found = row(seen, "work", 10)
    assert (found.calls, found.errors, found.row.calls, found.row.errors) == (30, 3, 30, 3)
    assert seen.seconds(10 * SECOND) == pytest.approx((now - seen.start) / 1e9)
    assert found.row.per_second == pytest.approx(30 / seen.seconds(10 * SECOND))


def test_a_window_is_what_came_in_it(live: Live, clock: Clock, start: Start) -> None:
    """Rates, errors and percentiles are of the last seconds, whatever was before."""
    process = start(PROGRAM)
    tell(process, "work 1000 500", "time wait 5 5 5 5")
    live.refresh(clock.later(60))
    for _ in range(12):
        tell(process, "work 4 1", "time wait 0.1 0.2")
        live.refresh(clock.later(1))
    seen = only(live.refresh(clock.later(1)))
    assert seen.seconds(10 * SECOND) == pytest.approx(10)
    found = row(seen, "work", 10)
    assert (found.row.calls, found.row.errors, found.row.per_second) == (36, 9, pytest.approx(3.6))
    assert (found.calls, found.errors) == (1048, 512)
    (wait,) = seen.rows(Kind.TIMING, 10 * SECOND)
    assert (wait.calls, wait.p50, wait.p99) == (18, pytest.approx(0.1, rel=0.004), pytest.approx(0.2, rel=0.004))
    (ever,) = seen.rows(Kind.TIMING, None)
    assert (ever.calls, ever.max) == (28, 5.0)
    summary = seen.summary(10 * SECOND)
    assert (summary.calls, summary.errors, summary.busiest and summary.busiest.name) == (36, 9, "work")


def test_a_young_process_is_known_from_its_first_moment(live: Live, clock: Clock, start: Start) -> None:
    """All its counts were 0 when it began: the first window is exact."""
    process = start(PROGRAM)
    tell(process, "work 20 0")
    seen = only(live.refresh(clock.later(2)))
    found = row(seen, "work", 10)
    assert found.row.calls == 20
    assert found.row.per_second == pytest.approx(20 / seen.seconds(10 * SECOND))
    assert [tick.per_second for tick in seen.ticks()] == [pytest.approx(found.row.per_second)]


@pytest.mark.parametrize("seed", range(3))
def test_rates_times_intervals_add_up_to_totals(live: Live, clock: Clock, start: Start, seed: int) -> None:
    """Whatever the intervals are: windows that follow each other have every call, once."""
    dice = random.Random(seed)
    process = start(PROGRAM)
    calls = errors = 0
    counted, failed, bars, times = 0.0, 0, 0.0, 0.0
    live.refresh(clock.later(0))
    for _ in range(25):
        n = dice.choice((0, 0, 1, 3, 40))
        bad = dice.randint(0, n)
        tell(process, f"work {n} {bad}", "time wait 0.25")
        calls, errors = calls + n, errors + bad
        elapsed = dice.choice((1.0, 1.3, 2.0, 7.5))
        seen = only(live.refresh(clock.later(elapsed)))
        assert seen.seconds(1) == pytest.approx(elapsed, abs=1e-6) or not counted
        for found in seen.operations(1):
            counted += found.row.per_second * seen.seconds(1)
            failed += found.row.errors
        times += sum(each.calls for each in seen.rows(Kind.TIMING, 1))
        bars += seen.ticks()[-1].per_second * seen.seconds(1) if seen.ticks() else 0
    assert counted == pytest.approx(calls)
    assert bars == pytest.approx(calls)
    assert (failed, times) == (errors, 25)
    assert row(seen, "work", None).calls == calls


def test_readings_that_come_fast_cost_no_memory(live: Live, clock: Clock, start: Start) -> None:
    """A thousand looks in a minute: at most 64 and a few are kept, and the window is right to a tenth."""
    process = start(PROGRAM)
    for number in range(1000):
        if number % 10 == 0:
            tell(process, "work 1 0")
        seen = only(live.refresh(clock.later(0.06)))
    (series,) = [each for each in seen.series.values() if each.name.text == "work"]
    assert len(seen.kept) <= 70 and len(series.marks) <= 70
    assert seen.seconds(10 * SECOND) == pytest.approx(10, rel=0.1)
    assert row(seen, "work", 10).row.per_second == pytest.approx(1 / 0.6, rel=0.1)


def test_the_last_minute_tick_by_tick(live: Live, clock: Clock, start: Start) -> None:
    """Calls and P95 between one look and the next; None where no call ended; what nobody saw is no tick."""
    process = start(PROGRAM)
    tell(process, "work 500 0")
    live.refresh(clock.later(100))
    for n in (0, 5, 0, 2):
        tell(process, f"work {n} 0")
        seen = only(live.refresh(clock.later(1)))
    ticks = seen.ticks_of(Kind.TOOL, "work")
    assert [tick.per_second for tick in ticks] == [0, 5, 0, 2]
    assert [tick.p95 is None for tick in ticks] == [True, False, True, False]
    assert [tick.per_second for tick in seen.ticks_of(Kind.TOOL, "nosuch")] == [0, 0, 0, 0]


def test_counters_caches_and_batchers_are_of_the_window(live: Live, clock: Clock, start: Start) -> None:
    """A cache's hit rate is the one of now, not that of its whole life."""
    process = start(PROGRAM)
    tell(process, "count cache.users.memory.hits 1000", "count n 5", "count batcher.embed.items 70")
    live.refresh(clock.later(100))
    tell(process, "count cache.users.memory.misses 3", "count cache.users.memory.hits 1", "count batcher.embed.items 4")
    seen = only(live.refresh(clock.later(5)))
    counters, _ = seen.metrics(10 * SECOND)
    assert (counters["n"], counters["cache.users.memory.misses"]) == (0, 3)
    assert seen.metrics(None)[0]["n"] == 5
    (cache,) = seen.caches(10 * SECOND)
    assert (cache.name, cache.tiers[0].hit_rate) == ("users", 0.25)
    (batcher,) = seen.batchers(10 * SECOND)
    assert (batcher.name, batcher.items) == ("embed", 4)


# ---- open spans ----


def test_open_spans_and_what_is_around_them(live: Live, clock: Clock, start: Start) -> None:
    """Oldest first, with parents and ages; innermost() says where it is now. An operation that only goes on is one."""
    process = start(PROGRAM)
    tell(process, "open outer middle inner")
    seen = only(live.refresh(clock.later(50)))
    assert [record.name for record in seen.open] == ["outer", "middle", "inner"]
    (inner,) = seen.innermost()
    assert (inner.name, [record.name for record in seen.parents(inner)]) == ("inner", ["outer", "middle"])
    assert 40 < seen.age(inner) <= seen.age(seen.open[0]) < 100
    assert [(each.row.name, each.open, each.calls) for each in seen.operations(None)] == [
        ("outer", 1, 0), ("middle", 1, 0), ("inner", 1, 0),
    ]  # fmt: skip
    data = picture_dict(live.refresh(clock.later(1)), 10)["processes"][0]
    assert [(span["name"], span["parents"], span["attributes"]) for span in data["open"]] == [
        ("outer", [], {"step": 0}), ("middle", ["outer"], {"step": 1}), ("inner", ["outer", "middle"], {"step": 2}),
    ]  # fmt: skip


def test_of_many_open_spans_the_oldest(live: Live, clock: Clock, start: Start) -> None:
    """All are counted; two hundred are looked at closely, and what is around them."""
    process = start(PROGRAM)
    tell(process, "open " + " ".join(f"s{number}" for number in range(700)))
    seen = only(live.refresh(clock.later(1)))
    assert seen.open_count == 700
    assert [record.name for record in seen.open] == [f"s{number}" for number in range(200)]
