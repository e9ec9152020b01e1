"""What a recording says: what was used, how long, and whether to believe it; in virtual time, where nothing is measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.analysis import Resource
from libperf.errors import ClosedError, NotFoundError
from libperf.reader import Reader
from libperf.testing import work
from support_analysis import analysed, chain, hand_over, one_slot_in_half_a_second, one_worker, saturated

# ---- what was recorded ----


def test_resources_of_one_name_are_one() -> None:
    """One made for each request is one resource: sums of all, and a what-if changes each of them."""

    async def request() -> None:
        slots = libperf.Semaphore(1, name="slots")

        async def part() -> None:
            async with slots:
                await asyncio.sleep(1)

        await asyncio.gather(part(), part())

    async def program() -> None:
        for _ in range(3):
            await request()

    analysis = analysed(program)
    (slots,) = analysis.resources
    assert (len(slots.numbers), slots.uses, slots.waited, slots.held, slots.capacity) == (3, 6, 3.0, 6.0, 1)
    assert analysis.what_if({"slots": {"capacity": 2}}) == pytest.approx(0.5)
    (row,) = [each for each in analysis.bottlenecks if each.name == "slots"]
    assert (row.gain, row.fix) == (pytest.approx(0.5), {"action": "capacity", "from": 1, "to": 2})


def test_a_merged_resource() -> None:
    """Of two of one name the first place counts, and the larger capacity; other kinds and names stay apart."""
    one = Resource((0,), "semaphore", "s", "a.py:1", 2, 0, False, 1, 0.5, 1.0, 4.0, 1)
    two = Resource((1,), "semaphore", "s", "b.py:2", 3, 1, True, 10, 0.25, 2.0, 3.0, 2)
    lock = Resource((2,), "lock", "s", "", 1, 0, False, 1, 0.0, 0.0, 0.0, 0)
    nameless = Resource((3,), "lock", "", "", 1, 0, False, 1, 0.0, 0.0, 0.0, 0)
    merged = Resource((0, 1), "semaphore", "s", "a.py:1", 3, 1, True, 11, 0.75, 3.0, 4.0, 3)
    assert libperf.Analysis._merge([one, two, lock, nameless]) == [merged, lock]


def test_short_operations_have_their_share() -> None:
    """Three thousand calls of 333 ns, and 1 ms beside them: one per cent less of a third of a microsecond counts, too."""

    async def program() -> None:
        for _ in range(3000):
            with libperf.span("short"):
                work(333e-9)
        with libperf.span("long"):
            work(0.001)

    shares = analysed(program).shares
    assert shares["short"] == pytest.approx(0.999 / 1.999, abs=1e-3)
    assert shares["long"] == pytest.approx(1 / 1.999, abs=1e-3)
    assert sum(shares.values()) == pytest.approx(1, abs=2e-3)


def test_times_of_a_profiler_are_apart() -> None:
    """An analysis is of what was recorded between one start() and its stop()."""
    first, second = analysed(chain), analysed(saturated)
    assert (first.wall, second.wall) == (5.0, 10.0)
    assert {label.name for label in second.labels} == {"", "query"}


def test_the_path_of_one_span() -> None:
    """Its steps follow each other from its begin to its end; a span that never was is not found."""
    analysis = analysed(chain)
    whole = analysis.path()
    assert [(step.kind, step.end - step.start) for step in whole] == [("sleep", n * 10**9) for n in (1, 3, 1)]
    (step,) = analysis.path(whole[1].span)
    assert (analysis.labels[step.label].name, step.end - step.start) == ("B", 3 * 10**9)
    with pytest.raises(NotFoundError, match="critical path of span 000000000000007b"):
        analysis.path(123)


# ---- whether to believe it ----


@pytest.mark.parametrize(
    ("changed", "reliable"),
    [
        ({}, True),
        ({"replayed": 5.25}, True),
        ({"replayed": 5.26}, False),
        ({"replayed": 4.74}, False),
        ({"lost": 1}, False),
        ({"stuck": True}, False),
    ],
    ids=str,
)
def test_what_is_reliable(changed: dict[str, Any], reliable: bool) -> None:
    """Nothing lost, nothing stuck, and a replay of the unchanged run that is at most 5 % off; else everything says no."""
    analysis = analysed(chain)
    for name, value in changed.items():
        setattr(analysis, name, value)
    assert analysis.reliable is reliable
    assert analysis.what_if({"B": 0.5}).reliable is reliable
    assert {each.reliable for each in analysis.bottlenecks} == {reliable}
    assert analysis.to_dict()["reliable"] is reliable
    assert analysis.self_replay_error == pytest.approx(abs(analysis.replayed / 5 - 1))


def test_lost_events_are_counted(run: Callable[..., Any], segments: Callable[[], list[Path]]) -> None:
    """What a ring wrote over is missing: exactly so many events, and nothing is reliable."""
    program = "import libperf\nfor _ in range(5000):\n    with libperf.span('s'): pass\n"
    assert run(program, LIBPERF_PROFILE="1", LIBPERF_RING_BYTES="65536").returncode == 0
    with libperf.Analysis(segments()[0]) as analysis:
        assert analysis.lost > 0
        assert analysis.events + analysis.lost >= 10_000
        assert not analysis.reliable


def test_without_events(run: Callable[..., Any], segments: Callable[[], list[Path]]) -> None:
    """The error names the file, and three ways to have events; read() says None."""
    run("import libperf\nwith libperf.span('s'): pass")
    (trace,) = segments()
    with pytest.raises(NotFoundError) as raised:
        libperf.Analysis(trace)
    assert str(raised.value) == (
        f"{trace} holds no scheduler events: run the program by `libperf run`, with LIBPERF_PROFILE=1, "
        "or inside `with libperf.Profiler():`"
    )
    with Reader(trace) as reader:
        assert libperf.Analysis.read(reader) is None
    with pytest.raises(NotFoundError, match="nosuch"):
        libperf.Analysis("nosuch.perf")


def test_after_close() -> None:
    """What was read is still there; what needs another replay raises ClosedError. Closing twice is allowed."""
    analysis = analysed(chain)
    with analysis:
        assert analysis.bottlenecks[0].name == "B"
    analysis.close()
    assert analysis.closed
    assert (analysis.wall, analysis.bottlenecks[0].name, len(analysis.labels)) == (5.0, "B", 5)
    uses: list[Callable[[], object]] = [
        lambda: analysis.what_if({"B": 0.5}),
        analysis.replay,
        analysis.path,
        lambda: analysis.shares,
        analysis.__enter__,
    ]
    for use in uses:
        with pytest.raises(ClosedError, match="this Analysis is closed"):
            use()


# ---- as data ----

FIELDS = {
    *("name", "kind", "class", "where", "share", "on_path", "fix", "gain", "gain_low", "gain_high", "reliable"),
    *("why", "advice", "ties", "alternatives"),
}


@pytest.mark.parametrize("program", [chain, saturated, hand_over, one_worker, one_slot_in_half_a_second])
def test_to_dict(program: Any) -> None:
    """Plain JSON of the documented form: ordered by gain, each gain inside its interval."""
    data = analysed(program).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["self_replay_error"] == 0
    gains = [row["gain"] for row in data["bottlenecks"]]
    assert gains == sorted(gains, reverse=True)
    for row in data["bottlenecks"]:
        assert set(row) == FIELDS
        assert set(row["fix"]) == {"action", "from", "to"}
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
        assert 0 <= row["share"] <= 1


def test_to_dict_of_a_semaphore() -> None:
    """As it was asked for."""
    row = analysed(saturated).to_dict()["bottlenecks"][0]
    where, line = row.pop("where").split(":")
    assert (where, int(line) > 1) == ("tests/python/support_analysis.py", True) or where.endswith("support_analysis.py")
    assert row == {
        "name": "db",
        "kind": "semaphore",
        "class": "saturated",
        "share": 0.5,
        "on_path": None,
        "fix": {"action": "capacity", "from": 1, "to": 2},
        "gain": 0.5,
        "gain_low": 0.5,
        "gain_high": 0.5,
        "reliable": True,
        "why": "in use 100 % of the time, waiting/holding 4.5",
        "advice": "raise semaphore 'db' from 1 to 2, if what is behind it can take that",
        "ties": ["query"],
        "alternatives": [],
    }
