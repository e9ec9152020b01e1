"""The list of bottlenecks: what is in it, in which order, and how sure its gains are."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import libperf
from libperf.analysis import bottlenecks
from libperf.analysis.bottlenecks import find_bottlenecks
from libperf.analysis.classes import Thresholds
from support_analysis import analysed, call, chain, hand_over, one_worker, saturated


def names(analysis: libperf.Analysis) -> list[str]:
    return [each.name for each in analysis.bottlenecks]


# ---- order ----


async def a_pool_and_its_calls() -> None:
    """Ten at once through one connection, then two things of the same length."""
    await saturated()
    await call("first", 2)
    await call("second", 2)


def test_a_resource_comes_before_what_it_guards() -> None:
    """More capacity saves as much as calls of half the time, and is the cheaper fix; both say that they tie."""
    rows = analysed(a_pool_and_its_calls).bottlenecks
    assert [(each.name, each.ties) for each in rows] == [
        ("db", ("query",)),
        ("query", ("db",)),
        ("first", ("second",)),
        ("second", ("first",)),
    ]
    assert [each.gain for each in rows] == pytest.approx([5 / 14, 5 / 14, 1 / 14, 1 / 14])


def test_what_has_no_name_comes_behind_what_has_one() -> None:
    """A semaphore that is known by its line alone is not the first row while a name brings half as much."""

    async def program() -> None:
        slots = asyncio.Semaphore(1)

        async def query() -> None:
            async with slots:
                await call("query", 1)

        await asyncio.gather(*[query() for _ in range(4)])

    rows = analysed(program).bottlenecks
    assert rows[0].name == "query"
    assert rows[1].where.endswith(rows[1].name)
    assert rows[0].gain == rows[1].gain == pytest.approx(0.5)


@pytest.mark.parametrize(("seconds", "ties"), [(1.09, ("A",)), (1.15, ())])
def test_what_a_tie_is(seconds: float, ties: tuple[str, ...]) -> None:
    """Gains that differ by no more than one per cent of the wall."""

    async def program() -> None:
        await call("A", 1)
        await call("B", seconds)
        await call("rest", 3)

    found = {each.name: each for each in analysed(program).bottlenecks}
    assert found["B"].ties == ties


def test_gains_of_nothing_are_no_tie() -> None:
    """Rows that save less than the tie are not called equal to each other."""

    async def program() -> None:
        await asyncio.gather(call("waited for", 3), call("beside", 1), call("beside it", 1))

    rows = {each.name: each for each in analysed(program).bottlenecks}
    assert (rows["beside"].gain, rows["beside"].ties, rows["beside it"].ties) == (0, (), ())


# ---- what is listed ----


def test_a_name_is_one_row() -> None:
    """A semaphore that is called like what it guards is one finding, the one that brings more."""

    async def program() -> None:
        db = libperf.Semaphore(1, name="db")

        async def query() -> None:
            async with db:
                await call("db", 1)
                await call("map", 1)

        await asyncio.gather(*[query() for _ in range(4)])

    rows = {each.name: each for each in analysed(program).bottlenecks}
    assert set(rows) == {"db", "map"}
    assert (rows["db"].kind, rows["db"].gain) == ("semaphore", pytest.approx(0.5))


def test_what_takes_no_time_is_not_listed() -> None:
    """Below two thousandths of the whole a name has no row; thresholds are the caller's."""

    async def program() -> None:
        await call("long", 1)
        await call("short", 0.0019)

    analysis = analysed(program)
    assert names(analysis) == ["long"]
    assert [each.name for each in find_bottlenecks(analysis, Thresholds(listed=0.001))] == ["long", "short"]


def test_parents_do_nothing_themselves() -> None:
    """Time belongs to the innermost span: one that only waits for others has no row."""

    async def program() -> None:
        with libperf.span("request"):
            await call("inside", 1)

    assert names(analysed(program)) == ["inside"]


def test_an_unused_resource_is_not_listed() -> None:
    """One that nobody asked for is no finding; one that nobody had to wait for is idle, and changing it saves nothing."""

    async def program() -> None:
        libperf.Lock("unused")
        libperf.Semaphore(3, name="unused, too")
        async with libperf.Semaphore(3, name="used"):
            await call("work", 1)

    rows = {each.name: each for each in analysed(program).bottlenecks}
    assert set(rows) == {"work", "used"}
    assert (rows["used"].category, rows["used"].gain, rows["used"].share) == ("idle", 0, 0)


@pytest.mark.parametrize(
    ("program", "name", "fix"),
    [
        (chain, "B", {"action": "faster", "from": 1.0, "to": 0.5}),
        (saturated, "db", {"action": "capacity", "from": 1, "to": 2}),
        (hand_over, "journal", {"action": "hold", "from": 1.0, "to": 0.5}),
        (one_worker, "jobs", {"action": "workers", "from": 1, "to": 2}),
    ],
)
def test_fixes(program: Any, name: str, fix: dict[str, Any]) -> None:
    """Each row says what was changed for its gain, from what to what; what_if() of the same gives the same."""
    analysis = analysed(program)
    (row,) = [each for each in analysis.bottlenecks if each.name == name]
    assert row.fix == fix
    value = fix["to"] if fix["action"] == "faster" else {fix["action"]: fix["to"]}
    assert analysis.what_if({f"{row.kind}:{name}": value}) == row.gain


def test_calls_that_could_be_made_at_once() -> None:
    """An alternative with its gain, in the advice too; not where it would bring nothing."""

    async def program() -> None:
        for _ in range(4):
            await call("page", 1)
        await call("once", 1)

    rows = {each.name: each for each in analysed(program).bottlenecks}
    assert rows["page"].alternatives == (
        {"action": "side by side", "calls": 4, "gain": 0.6, "gain_low": 0.6, "gain_high": 0.6},
    )
    assert rows["page"].advice.endswith("side by side, if they need not wait for each other: −60 %")
    assert rows["once"].alternatives == ()


# ---- intervals ----


async def varied() -> None:
    """Two steps of the same mean; only the first one varies."""
    random_seconds = random.Random(5)
    for _ in range(30):
        await call("varies", random_seconds.choice((0.5, 1.5)))
        await call("steady", 1)


def test_intervals_are_as_wide_as_what_was_recorded() -> None:
    """Gains are drawn anew from the recorded durations: where these vary, so do they; the gain lies inside."""
    rows = {each.name: each for each in analysed(varied).bottlenecks}
    assert rows["varies"].gain_low < rows["varies"].gain < rows["varies"].gain_high
    assert rows["varies"].gain_high - rows["varies"].gain_low > 0.02
    for row in rows.values():
        assert row.gain_low <= row.gain <= row.gain_high
    assert all(row.gain_low == row.gain == row.gain_high for row in analysed(chain).bottlenecks)


def test_the_same_recording_gives_the_same_list() -> None:
    """Chance is drawn from fixed seeds."""
    analysis = analysed(varied)
    assert find_bottlenecks(analysis) == find_bottlenecks(analysis) == analysis.bottlenecks


def test_without_time_for_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that is too large for more replays has gains, and intervals of no width."""
    monkeypatch.setattr(bottlenecks, "BUDGET_S", -1.0)
    for row in analysed(varied).bottlenecks:
        assert row.gain_low == row.gain == row.gain_high
