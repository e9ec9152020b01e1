"""What is said of calls that repeat: numbers, gains, advice with its evidence; and of others no word of a cache."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import libperf
from libperf.analysis.bottlenecks import Bottleneck
from support_analysis import analysed, call


async def cities() -> None:
    """Eight questions about three cities, half a second each; and a second of other work."""

    @libperf.trace
    async def lookup(city: str) -> None:
        await call("query", 0.5)

    for city in ("Rome", "Oslo", "Rome", "Rome", "Bonn", "Oslo", "Rome", "Bonn"):
        await lookup(city)
    await call("answer", 1)


def rows_of(program: Any) -> dict[str, Bottleneck]:
    return {each.name: each for each in analysed(program).bottlenecks}


def test_numbers() -> None:
    """Calls, those of which the arguments are known, different ones, and those that an equal one could have answered."""
    (found,) = analysed(cities).repeats
    data = found.to_dict()
    assert data.pop("where").rpartition("/")[2].partition(":")[0] == "test_repeats.py"
    assert data == {
        "name": "lookup",
        "kind": "span",
        "calls": 8,
        "digested": 8,
        "distinct": 3,
        "repeats": 5,
        "gain": 0.5,
    }


def test_a_row_with_its_evidence() -> None:
    """The function, where it is, how many of its calls repeat, and what that costs."""
    row = rows_of(cities)["lookup"]
    line = row.where
    assert (row.kind, row.category, row.fix) == ("span", "repeated", {"action": "cache", "from": 8, "to": 3})
    assert row.gain == pytest.approx(0.5, abs=1e-5)
    assert row.why == "5 of 8 calls came again with the same arguments"
    assert row.advice == (
        f"cache it, if an older answer will do: add @libperf.cached(ttl=…) above lookup ({line}): "
        "5 of 8 calls repeat, saves 50 %"
    )


def test_calls_of_which_nothing_is_known_are_counted() -> None:
    """Some have arguments without a form."""

    async def program() -> None:
        @libperf.trace
        async def lookup(city: object) -> None:
            await asyncio.sleep(1)

        for city in ("Rome", object(), "Rome", "Rome"):
            await lookup(city)

    assert (
        rows_of(program)["lookup"].why == "2 of 3 calls came again with the same arguments; of 1 more it is not known"
    )


def test_a_smaller_gain_is_an_alternative() -> None:
    """Half the time for all calls would save more than one call less, which is said as well, with its own gain."""

    async def program() -> None:
        @libperf.trace
        async def lookup(city: str) -> None:
            await asyncio.sleep(1)

        for city in ("Rome", "Oslo", "Bonn", "Rome"):
            await lookup(city)

    row = rows_of(program)["lookup"]
    assert row.fix["action"] == "faster"
    assert row.alternatives[-1] == {
        "action": "cache",
        "calls": 4,
        "repeats": 1,
        "gain": 0.25,
        "gain_low": 0.25,
        "gain_high": 0.25,
    }
    assert row.advice.startswith("make lookup faster, or start it earlier; side by side")
    assert "; or cache it, if an older answer will do: add @libperf.cached(ttl=…) above lookup (" in row.advice
    assert row.advice.endswith("): 1 of 4 calls repeat, saves 25 %")


def test_a_spread_is_said() -> None:
    """Where calls differ, the gain of a cache does."""

    async def program() -> None:
        @libperf.trace
        async def lookup(city: int) -> None:
            await asyncio.sleep((city * 7 % 10 + 1) / 10)

        for number in range(40):
            await lookup(number % 20)

    row = rows_of(program)["lookup"]
    assert row.fix["action"] == "cache"
    assert row.gain_low < row.gain_high
    spread = round((row.gain_high - row.gain_low) / 2 * 100)
    assert f"20 of 40 calls repeat, saves {row.gain * 100:.0f} % ± {spread}; side by side" in row.advice
    assert [way["action"] for way in row.alternatives] == ["faster", "side by side"]
    assert row.alternatives[0]["gain"] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("arguments", [range(8), [object()] * 8], ids=["different", "unknown"])
def test_no_word_of_a_cache_without_evidence(arguments: Any) -> None:
    """Neither where no two calls are equal, nor where nobody knows."""

    async def program() -> None:
        @libperf.trace(kind="llm")
        async def lookup(city: object) -> None:
            await asyncio.sleep(1)

        for city in arguments:
            await lookup(city)
        await call("answer", 1)

    analysis = analysed(program)
    assert analysis.repeats == []
    assert "cache" not in " ".join(each.advice + each.why for each in analysis.bottlenecks)


def test_hits_of_a_cache_are_no_repeats_worth_a_word() -> None:
    """What is traced outside of a cache has equal calls that take no time: another cache would save nothing."""

    async def program() -> None:
        known: set[str] = set()

        @libperf.trace
        async def lookup(city: str) -> None:
            if city not in known:
                known.add(city)
                await asyncio.sleep(1)

        for city in ("Rome", "Oslo", "Rome", "Rome"):
            await lookup(city)

    analysis = analysed(program)
    assert [(each.repeats, round(each.gain, 3)) for each in analysis.repeats] == [(2, 0.0)]
    assert "cache" not in " ".join(each.advice for each in analysis.bottlenecks)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("llm", "langchain_core.globals.set_llm_cache(libperf.langchain.LLMCache()), for ask"),
        ("tool", "@libperf.cached(ttl=…) for what tool ask calls, if that only reads"),
        ("retriever", "@libperf.cached(ttl=…) for what ask calls"),
    ],
)
def test_advice_where_no_line_is_known(kind: str, said: str) -> None:
    """Calls that a framework makes."""
    from libperf.analysis.classes import cached
    from libperf.analysis.repeats import Repeats

    found = Repeats("ask", kind, "", 5, 5, 2, 3, 0.3, 7)
    assert cached(found) == f"cache it, if an older answer will do: {said}: 3 of 5 calls repeat"
