"""libperf finds known bottlenecks of agents in virtual time, and promises what running them again with a fix shows."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.testing import run_virtual

sys.path.insert(0, str(Path(__file__).parents[1]))
from scenarios.virtual import batches, caches, frameworks, habits, paths, repeats, resources  # noqa: F401 - they register scenarios
from scenarios.virtual.baselines import TIE, Span, critical_path, first_of, is_right, total_time
from scenarios.virtual.fix import AS_IT_IS, SCENARIOS, Agent, Fix, Scenario
from scenarios.virtual.generated import LOADS, OPERATIONS, Generated, generate

GENERATED = [generate(seed) for seed in range(300)]
UNEXPLAINED = "(unexplained)"

of_one_run = functools.cache(Agent.analyze)  # nothing changes between two runs of an agent
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


@pytest.fixture(autouse=True)
def _not_instrumented() -> Iterator[None]:
    yield
    libperf.uninstrument()


# -- the truth ----------------------------------------------------------------------------------------------------


@every_scenario
def test_bottleneck_is_the_best_fix(scenario: Scenario) -> None:
    """Running it again with each fix shows that nothing gains more than the bottleneck, and that it gains much."""
    gains = scenario.gains()
    assert is_right(scenario.top, gains)
    assert gains[scenario.top] > 0.1


@pytest.mark.parametrize(
    ("name", "gains"),
    [
        ("chain", {"A": 0.1, "B": 0.3, "C": 0.1}),
        ("fork", {"A": 0.0, "B": 0.5}),
        ("unrelated_sibling", {"get foo1": 0.6 / 2.5, "get foo2": 0.0, "foo3": 0.5 / 2.5}),
        ("exposed", {"X": 0.5 / 3.8, "Y": 0.0, "Z": 0.4 / 3.8}),
        ("background", {"answer": 0.5 / 1.5, "lookup": 0.25 / 1.5, "telemetry": 0.0}),
        ("saturated", {"db": 0.5 / 1.2, "query": 0.3 / 1.2, "fetch": 0.2 / 1.2, "answer": 0.1 / 1.2}),
        ("superstep_barrier", {"slow": 0.6 / 2.2, "after_fast": 0.5 / 2.2, "fast": 0.0}),
    ],
)
def test_truth_is_exact(name: str, gains: dict[str, float]) -> None:
    """In virtual time nothing is measured: gains are what arithmetic says, also those of a real LangGraph."""
    assert SCENARIOS[name].gains() == pytest.approx(gains, abs=1e-9)


def test_queueing_amplifies() -> None:
    """Under open arrivals one per cent less work saves more than one per cent of what the requests take together."""

    def latencies(fix: Fix) -> float:
        return run_virtual(resources.sum_of_latencies(fix))

    as_it_is = latencies(AS_IT_IS)
    saved = sum(as_it_is - latencies(Fix(name, 0.9)) for name in resources.POOLED)
    assert saved / (0.1 * as_it_is) > 2


def test_parents_of_an_abandoned_stream(seen: Any) -> None:
    """What an async generator does is below its span, though another task closes it; the readers' spans are not."""
    SCENARIOS["abandoned_stream"].seconds()
    stream = seen.span("stream")
    assert [span.parent for span in seen.spans("produce")] == [stream.id] * 2
    assert {span.parent for name in ("render", "finish") for span in seen.spans(name)} == {0}


# -- what libperf says of scenarios -------------------------------------------------------------------------------


@every_scenario
def test_bottleneck_comes_first_and_has_its_class(scenario: Scenario) -> None:
    """The first of the list is the bottleneck, or within a per cent of it, which then is in the list."""
    analysis = of_one_run(scenario)
    first = analysis.bottlenecks[0]
    found = {each.name: each for each in analysis.bottlenecks}[scenario.top]
    assert found.gain >= first.gain - TIE, f"{first.name} came first"
    assert found.category == scenario.category
    assert found.reliable


@every_scenario
def test_promises_are_kept(scenario: Scenario) -> None:
    """The gain of each name is what running it again gives; so is what_if, of operations."""
    analysis = of_one_run(scenario)
    assert analysis.self_replay_error <= 0.001
    promised = {each.name: each.gain for each in analysis.bottlenecks}
    gains = scenario.gains()
    assert {name: promised.get(name, 0.0) for name in gains} == pytest.approx(gains, abs=TIE)
    if scenario.category == "critical":
        assert {name: analysis.what_if({name: 0.5}) for name in gains} == pytest.approx(gains, abs=1e-3)


@pytest.mark.parametrize("name", ["chain", "fork", "exposed", "saturated", "blocking_call"])
def test_shares_of_a_scenario_add_up(name: str) -> None:
    """Elasticities of a program that scales as a whole are shares of it: their sum is 1."""
    shares = of_one_run(SCENARIOS[name]).shares
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert shares.get(UNEXPLAINED, 0.0) == pytest.approx(0, abs=1e-3)


def test_shares_are_elasticities() -> None:
    """B is three of five seconds."""
    shares = of_one_run(SCENARIOS["chain"]).shares
    assert {name: shares[name] for name in "ABC"} == pytest.approx({"A": 0.2, "B": 0.6, "C": 0.2}, abs=1e-6)


def test_a_tie_is_seen() -> None:
    """Of two operations within one per cent both are there, side by side."""
    first, second = of_one_run(SCENARIOS["tie"]).bottlenecks[:2]
    assert {first.name, second.name} == {"X", "Y"}
    assert first.gain - second.gain < TIE


# -- generated agents ---------------------------------------------------------------------------------------------


@functools.cache
def said_of(agent: Generated) -> tuple[dict[str, float], dict[str, float]]:
    """Gains and shares by name; three hundred analyses would fill the memory."""
    with agent.analyze() as analysis:
        return {each.name: each.gain for each in analysis.bottlenecks}, analysis.shares


@pytest.mark.parametrize("load", LOADS)
def test_bottlenecks_of_generated_agents(load: str) -> None:
    """Of each of a hundred agents what comes first is best; parents, who do nothing themselves, gain nothing."""
    wrong = []
    for seed, agent in enumerate(GENERATED):
        if agent.load != load:
            continue
        promised, _ = said_of(agent)
        gains = agent.gains()
        others = {name: gain for name, gain in promised.items() if name not in gains and name != UNEXPLAINED}
        first = first_of(promised, gains)
        if not is_right(first, gains) or max(others.values(), default=0.0) > TIE:
            wrong.append((seed, first, promised, gains))
    assert wrong == []


@pytest.mark.parametrize("load", ["one request", "burst"])
def test_shares_of_generated_agents_add_up(load: str) -> None:
    """Where nothing arrives by itself, all the time is some operation's."""
    wrong = []
    for seed, agent in enumerate(GENERATED):
        if agent.load == load:
            _, shares = said_of(agent)
            if abs(sum(shares.values()) - 1) > 1e-3 or abs(shares.get(UNEXPLAINED, 0.0)) > 1e-3:
                wrong.append((seed, shares))
    assert wrong == []


def test_generated_agents_are_what_they_say() -> None:
    """The same seed is the same agent for ever; requests overlap; all six operations and both resources occur."""
    assert [generate(seed).seconds() for seed in range(6)] == [agent.seconds() for agent in GENERATED[:6]]
    assert {name for agent in GENERATED for name in agent.names} > set(OPERATIONS)
    for agent in GENERATED[:30]:
        requests = [span for span in agent.spans() if span.name == "request"]
        overlap = sum(after.start < before.end for before, after in itertools.pairwise(requests))
        assert overlap > 0 if len(requests) > 1 else agent.load == "one request"


# -- baselines ----------------------------------------------------------------------------------------------------


def test_baselines_by_hand() -> None:
    """The span that ended last is on the path; one that overlaps it is not, and what lies between is the parent's."""
    spans = [
        Span("agent", -1, 0.0, 10.0),
        Span("early", 0, 0.0, 2.0),
        Span("beside", 0, 1.0, 8.0),
        Span("late", 0, 3.0, 9.0),
        Span("inner", 3, 4.0, 9.0),
    ]
    assert total_time(spans) == {"agent": 10, "early": 2, "beside": 7, "late": 6, "inner": 5}
    assert critical_path(spans) == {"agent": 1 + 1, "late": 1, "inner": 5, "early": 2}


@pytest.mark.parametrize("rank", [total_time, critical_path])
def test_spans_alone_are_not_enough(rank: Callable[[list[Span]], dict[str, float]]) -> None:
    """Rankings by spans are right for many of the generated agents and wrong for many: they are worth a test."""

    def right(agent: Generated) -> bool:
        gains = {name: gain for name, gain in agent.gains().items() if name in OPERATIONS}
        return is_right(first_of(rank(agent.spans()), gains), gains)

    rate = sum(map(right, GENERATED[:60])) / 60
    assert 0.5 < rate < 0.95


@pytest.mark.parametrize("seed", range(9))
def test_critical_path_is_the_whole_time(seed: int) -> None:
    """The baseline gives every second to somebody, once."""
    agent = GENERATED[seed]
    assert sum(critical_path(agent.spans()).values()) == pytest.approx(agent.seconds())
