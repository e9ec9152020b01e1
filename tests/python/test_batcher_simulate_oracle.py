"""The optimum and the bounds that the batcher is measured against are what they say."""

from __future__ import annotations

import itertools

import pytest

from libperf.batcher.simulate import offline, oracle
from libperf.batcher.simulate.engine import simulate
from libperf.batcher.simulate.measures import goodput, latencies, mean
from libperf.batcher.simulate.policies import EarlyDrop, Lifo, control_limit
from libperf.batcher.simulate.workloads import Cost, Trace, bursts, in_time, ns, poisson

EVEN = Cost(0.020, 0.001, 0.0)
NOISY = Cost(0.020, 0.001)


# ---- mean latency ----


@pytest.mark.parametrize(("rate", "known"), [(120, 34.87), (300, 44.12), (480, 59.30)])
def test_the_gain_is_what_a_formula_says(rate: int, known: float) -> None:
    """With no bound on batches and no waiting there is a closed form: exact under load, a little above at little load."""
    found = oracle.evaluate(rate, EVEN, 160, limit=1, states=320).latency
    assert round(found * 1e3, 2) == known
    assert found <= oracle.closed_form(rate, EVEN) + 1e-9
    assert found == pytest.approx(oracle.closed_form(rate, EVEN), rel=0.01 if rate < 200 else 1e-4)


@pytest.mark.parametrize("price", [0.0, 0.3, 1.0])
def test_the_optimum_is_the_best_of_all_limits(price: float) -> None:
    """Policy iteration finds the limit that trying all of them finds."""
    rate, most = 0.4 * EVEN.capacity(16), 16

    def cost(limit: int) -> float:
        tried = oracle.evaluate(rate, EVEN, most, limit, price, states=80)
        return tried.latency + price * tried.calls

    assert oracle.optimum(rate, EVEN, most, price, states=80).limit == min(range(1, most + 1), key=cost)


@pytest.mark.parametrize("cost", [EVEN, NOISY])
def test_a_simulated_rule_reaches_what_is_computed(cost: Cost) -> None:
    """Two independent ways, the computed chain and the played arrivals, agree within one percent."""
    rate = 0.4 * cost.capacity(32)
    trace = poisson(rate, 60_000, 5)
    for limit in (1, 8):
        played = mean(latencies(simulate(trace, control_limit(trace, 32, limit), cost)))
        assert played == pytest.approx(oracle.evaluate(rate, cost, 32, limit).latency, rel=0.01)


def test_the_front_falls() -> None:
    """The dearer a call, the fewer calls and the longer the wait; far out every batch is full."""
    front = oracle.pareto_front(0.3 * EVEN.capacity(16), EVEN, 16, [0.0, 0.1, 0.5, 2.0, 100.0], states=80)
    assert all(a.calls > b.calls - 1e-9 and a.latency < b.latency + 1e-9 for a, b in itertools.pairwise(front))
    assert front[0].calls > 2 * front[-1].calls
    assert front[-1].limit == 16 and front[-1].calls == pytest.approx(1 / 16)


# ---- in time ----


def best_by_trying(trace: Trace, cost: Cost, most: int) -> int:
    """Every partition of every subset of a few items into batches, in every order: the most that are in time."""

    def best(left: frozenset[int], free: int) -> int:
        found = 0
        for size in range(1, min(most, len(left)) + 1):
            for batch in itertools.combinations(sorted(left), size):
                end = max(free, *(trace.times[item] for item in batch)) + cost.known(size)
                if all(end <= trace.deadline(item) for item in batch):
                    found = max(found, size + best(left - set(batch), end))
        return found

    return best(frozenset(range(trace.items)), 0)


@pytest.mark.parametrize("seed", range(12))
def test_the_exact_optimum_is_the_best_of_all_plans(seed: int) -> None:
    """Seven items, up to three a batch, twice as many as can be done: as good as trying everything."""
    cost = Cost(0.02, 0.01, 0.0)
    trace = in_time((bursts if seed % 2 else poisson)(2.2 * cost.capacity(3), 7, seed), 0.06)
    assert offline.exact(trace, cost, 3) == best_by_trying(trace, cost, 3)


@pytest.mark.parametrize("load", [0.7, 1.1, 1.5, 2.5])
def test_no_rule_passes_the_bounds(load: float) -> None:
    """exact <= windowed bound; no played rule is above exact; known times come near to it."""
    for make in (poisson, bursts):
        trace = in_time(make(load * EVEN.capacity(32), 250, 3), 0.15)
        best = offline.exact(trace, EVEN, 32)
        assert best <= offline.windowed(trace, EVEN, 32, 1, grid=0.01) * trace.items + 1e-9
        for policy in (EarlyDrop(trace, 32, 1, EVEN), Lifo(trace, 32)):
            assert goodput(simulate(trace, policy, EVEN)) * trace.items <= best + 1e-9
        assert goodput(simulate(trace, EarlyDrop(trace, 32, 1, EVEN), EVEN)) * trace.items >= 0.85 * best


def test_the_bound_of_bursts_is_below_that_of_a_steady_load() -> None:
    """A mean load of 0.7 could be done; its bursts cannot."""
    rate = 0.7 * EVEN.capacity(32)
    assert offline.windowed(in_time(poisson(rate, 20_000, 1), 0.15), EVEN, 32, 1) > 0.995
    assert offline.windowed(in_time(bursts(rate, 20_000, 1), 0.15), EVEN, 32, 1) < 0.9
    assert offline.steady(0.7) == 1.0 and offline.steady(2.0) == 0.5


def test_too_many_items_for_the_exact_optimum_are_refused() -> None:
    """It says how many it can do."""
    with pytest.raises(ValueError, match="301 items: the exact optimum is for 300"):
        offline.exact(Trace("many", 0, [ns(1)] * 301, [ns(1)] * 301), EVEN, 8)


def test_a_load_that_cannot_be_carried_has_no_optimum() -> None:
    """The queue would grow for ever: it says so."""
    with pytest.raises(ValueError, match=r"a load of 1\.10"):
        oracle.optimum(1.1 * EVEN.capacity(32), EVEN, 32)
