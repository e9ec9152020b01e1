"""What is said of calls that could be made together: numbers, the most and the least that it brings, and whose word that is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import libperf
from libperf.analysis.bottlenecks import Bottleneck
from libperf.analysis.table import bottlenecks
from libperf.testing import work
from support_analysis import analysed, call


async def questions() -> None:
    """Ten tasks, each of which computes for a tenth of a second on the loop; and a second of other work."""

    async def ask() -> None:
        with libperf.span("ask one"):
            work(0.1)

    await asyncio.gather(*[ask() for _ in range(10)])
    await call("answer", 1)


def rows_of(program: Any) -> dict[str, Bottleneck]:
    return {each.name: each for each in analysed(program).bottlenecks}


def test_numbers() -> None:
    """Calls beside others; what a batch brings at most, and at least."""
    (found,) = analysed(questions).merges
    assert found.to_dict() == {
        "name": "ask one",
        "kind": "span",
        "where": "",
        "calls": 10,
        "mergeable": 10,
        "each": 0.0,
        "assumed": True,
        "gain": 0.45,
        "gain_low": 0.0,
    }


def test_an_assumption_is_said_to_be_one() -> None:
    """The row stays what can be promised; batches are another way, with what they rest on."""
    row = rows_of(questions)["ask one"]
    assert (row.category, row.fix["action"], row.gain) == ("loop-bound", "faster", pytest.approx(0.25, abs=1e-3))
    assert row.alternatives[-1] == {
        "action": "batch",
        "calls": 10,
        "to": 32,
        "each": 0.0,
        "assumed": True,
        "gain": 0.45,
        "gain_low": 0.0,
        "gain_high": 0.45,
    }
    assert row.advice.endswith(
        "; or batch them: @libperf.batched above a function that does for a list what ask one does for one, "
        "saves at most 45 %, if a batch takes no longer than its longest call takes alone (assumed)"
    )


def test_many_small_calls_are_a_class() -> None:
    """Where batches could bring more than calls of half the time, and nothing else speaks for another class."""

    async def program() -> None:
        connection = asyncio.Lock()

        async def ask() -> None:
            with libperf.span("ask alone"):
                async with connection:
                    await asyncio.sleep(0.1)

        await asyncio.gather(*[ask() for _ in range(10)])

    row = rows_of(program)["ask alone"]
    assert row.category == "many-small-calls"
    assert row.why == "10 of 10 calls were made beside others, by other tasks or threads"


def test_what_a_batcher_has_learned_is_no_assumption() -> None:
    """A batcher of that name knows what a batch takes: that is what is promised, in a row of its own."""
    libperf.Gauge("batcher.ask known.base").set(0.08)
    libperf.Gauge("batcher.ask known.each").set(0.02)

    async def program() -> None:
        async def ask() -> None:
            with libperf.span("ask known"):
                work(0.1)

        await asyncio.gather(*[ask() for _ in range(10)])
        await call("answer", 1)

    analysis = analysed(program)
    row = next(each for each in analysis.bottlenecks if each.name == "ask known")
    assert row.fix == {"action": "batch", "calls": 10, "to": 32, "each": 0.2, "assumed": False}
    assert row.gain == pytest.approx((1.0 - (0.08 + 10 * 0.02)) / 2, abs=1e-4)
    assert row.advice.endswith(", saves 36 %")
    assert [way["action"] for way in row.alternatives] == ["faster"]
    from rich.console import Console

    console = Console(width=120, color_system=None, file=None)
    with console.capture() as capture:
        console.print(bottlenecks(analysis, 120))
    assert "batches of 32" in capture.get()


@pytest.mark.parametrize("each", [-1.0, float("inf")])
def test_nonsense_is_not_believed(each: float) -> None:
    """A gauge may hold anything."""
    libperf.Gauge("batcher.ask nonsense.base").set(0.08)
    libperf.Gauge("batcher.ask nonsense.each").set(each)

    async def program() -> None:
        async def ask() -> None:
            with libperf.span("ask nonsense"):
                work(0.1)

        await asyncio.gather(*[ask() for _ in range(10)])

    (found,) = analysed(program).merges
    assert not found.is_known


def test_who_has_nothing_to_merge() -> None:
    """Calls of one task, few calls, calls with others inside, models: no word of batches."""

    async def outer() -> None:
        with libperf.span("with others inside"):
            await call("inside", 0.001)

    async def program() -> None:
        for _ in range(10):
            await call("in turn", 0.1)
        await asyncio.gather(*[call("few", 0.1) for _ in range(7)])
        await asyncio.gather(*[call("model", 0.1, "llm") for _ in range(10)])
        await asyncio.gather(*[outer() for _ in range(10)])

    assert [each.name for each in analysed(program).merges] == ["inside"]


def test_what_if() -> None:
    """As many as one says, and what each more takes."""
    analysis = analysed(questions)
    assert analysis.what_if({"ask one": {"batched": 32}}) == pytest.approx(0.45)
    assert analysis.what_if({"ask one": {"batched": 5}}) == pytest.approx(0.4)
    assert analysis.what_if({"ask one": {"batched": 32, "each": 0.5}}) == pytest.approx((1.0 - 0.55) / 2)
    assert analysis.what_if({"ask one": {"batched": 1}}) == 0


@pytest.mark.parametrize(
    "value", [{"batched": 0}, {"batched": 1.5}, {"batched": True}, {"batched": 2000}, {"batched": 2, "of": 3}]
)
def test_what_is_no_batch(value: Any) -> None:
    with pytest.raises(ValueError, match="is no batch"):
        analysed(questions).what_if({"ask one": value})


@pytest.mark.parametrize("each", [-0.1, float("nan"), "half", True])
def test_what_is_no_share(each: Any) -> None:
    with pytest.raises(ValueError, match="is no factor"):
        analysed(questions).what_if({"ask one": {"batched": 2, "each": each}})
