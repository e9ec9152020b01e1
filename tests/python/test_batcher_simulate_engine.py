"""The simulator itself: what it lets happen when, what it catches, and that a seed says everything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest

from libperf.batcher.simulate.chance import Chance
from libperf.batcher.simulate.engine import Batch, Fate, SimulationError, simulate
from libperf.batcher.simulate.measures import check, goodput, latencies, summary
from libperf.batcher.simulate.policies import (
    Bounded,
    Cork,
    DropExpired,
    DropHopeless,
    EarlyDrop,
    Lifo,
    Shrink,
    Wait,
    full_only,
    greedy,
    window,
)
from libperf.batcher.simulate.workloads import (
    Agents,
    Cost,
    Trace,
    bursts,
    in_classes,
    in_time,
    ns,
    poisson,
    trickle,
    weighted,
    with_faults,
)

EVEN = Cost(0.020, 0.001, 0.0)
MS = 1_000_000


def at(*times_ms: float) -> Trace:
    return Trace("by hand", 0, [ns(time / 1e3) for time in times_ms])


# ---- what arrives ----


def test_random_numbers_are_these() -> None:
    """The first ones of a stream, for ever: a table of another version of Python must be the same."""
    chance = Chance(1, "arrivals")
    drawn = [chance.uniform(), chance.exponential(2.0), chance.normal(), chance.lognormal(3.0, 0.1), chance.below(1000)]
    assert [round(value, 12) for value in drawn] == [
        0.702122047289,
        5.438324176804,
        -1.232130183027,
        3.346943799456,
        489,
    ]
    assert Chance(1, "service").uniform() != Chance(1, "arrivals").uniform() != Chance(2, "arrivals").uniform()


def test_arrivals_have_their_rates() -> None:
    """Poisson and bursts come at the mean rate; bursts vary three times as much and more; a trickle is even."""
    even, uneven = poisson(500, 40_000, 1), bursts(500, 40_000, 1)
    for trace in (even, uneven):
        assert trace.times == sorted(trace.times)
        assert trace.items / trace.times[-1] * 1e9 == pytest.approx(500, rel=0.1)
    assert spread(even) == pytest.approx(1, rel=0.3)
    assert spread(uneven) > 10
    assert trickle(0.095, 3, 1).times == [95 * MS, 190 * MS, 285 * MS]


def spread(trace: Trace) -> float:
    """Variance by mean of the arrivals in 100 ms: 1 for a Poisson process."""
    counts = [0] * (trace.times[-1] // (100 * MS) + 1)
    for time in trace.times:
        counts[time // (100 * MS)] += 1
    mean = sum(counts) / len(counts)
    return sum((count - mean) ** 2 for count in counts) / len(counts) / mean


def test_items_have_their_classes_weights_and_faults() -> None:
    """Shares are those that were asked for; the same seed has the same ones."""
    trace = with_faults(weighted(in_classes(poisson(100, 20_000, 3)), 200, 2.0))
    assert trace.priorities.count(1) / 20_000 == pytest.approx(0.7, abs=0.01)
    assert set(zip(trace.priorities, trace.within, strict=True)) == {(1, 100 * MS), (3, 1000 * MS)}
    assert sum(trace.weights) / 20_000 == pytest.approx(200, rel=0.1) and max(trace.weights) > 4000
    assert len(trace.poison) / 20_000 == pytest.approx(0.01, rel=0.2)
    assert len(trace.patience) / 20_000 == pytest.approx(0.05, rel=0.1)
    again = with_faults(weighted(in_classes(poisson(100, 20_000, 3)), 200, 2.0))
    assert again == trace


# ---- what happens when ----


def test_moments_are_exact() -> None:
    """Three items, one slot: the first goes alone, the others when it is done, each is resolved with its batch."""
    run = simulate(at(0, 5, 6), greedy(trace := at(0, 5, 6), 32), EVEN)
    assert run.trace.times == trace.times
    assert run.taken == [0, 21 * MS, 21 * MS]
    assert run.ended == [21 * MS, 43 * MS, 43 * MS]
    assert run.sizes == [1, 2] and set(run.fates) == {Fate.DONE}
    assert run.area == (21 + 38 + 37) * MS


def test_a_window_counts_from_the_oldest_item() -> None:
    """10 ms after it came, whoever came since; at once when full; a slot that is busy longer makes it later."""
    trace = at(0, 9, 100, 101, 102, 103)
    run = simulate(trace, window(trace, 4, 2, 0.010), EVEN)
    assert run.taken == [10 * MS, 10 * MS, *[103 * MS] * 4]


def test_the_last_items_go_when_nothing_more_comes() -> None:
    """Full batches only: the rest would wait for ever, so the policy is told that it is closed."""
    trace = at(0, 1, 2)
    run = simulate(trace, full_only(trace, 2), EVEN)
    assert run.sizes == [2, 1] and set(run.fates) == {Fate.DONE}


def test_slots_run_side_by_side() -> None:
    """Two slots: the third item waits for the first of them."""
    trace = at(0, 1, 2)
    assert simulate(trace, greedy(trace, 32, 2), EVEN).taken == [0, 1 * MS, 21 * MS]


def test_a_poisoned_batch_fails_and_a_submitter_leaves() -> None:
    """The whole batch failed; one who left while waiting was in no batch, one who left later changes nothing."""
    trace = at(0, 1, 2, 30)
    trace.poison, trace.patience = {2}, {1: 2 * MS, 3: 5000 * MS}
    run = simulate(trace, greedy(trace, 32), EVEN)
    assert run.fates == [Fate.DONE, Fate.CANCELLED, Fate.FAILED, Fate.DONE]
    assert run.taken[1] == 0 and run.ended[1] == 3 * MS


def test_clients_wait_for_all_their_results() -> None:
    """A closed loop has never more in the system than clients; a fan comes back when its last item is done."""
    run = simulate(loop := Agents("loop", 1, [], clients=8, total=500), greedy(loop, 4), EVEN)
    assert loop.items == 500 and max(run.sizes) <= 4
    check(run)
    assert run.area <= 8 * run.until
    agents = Agents("agents", 1, [], clients=3, fan=(5, 20), think=0.1, total=1000)
    run = simulate(agents, greedy(agents, 32), EVEN)
    assert agents.items == 1000
    moments = sorted(set(agents.times))
    sizes = [agents.times.count(moment) for moment in moments]
    assert all(5 <= size <= 20 for size in sizes[:-1])


# ---- others' rules ----


def test_each_rule_keeps_its_word() -> None:
    """Overload of 1.5: every item ends once under every rule; what each of them resolves early is what it says."""
    trace = in_time(poisson(1.5 * EVEN.capacity(8, 2), 3_000, 4), 0.1)
    rules = {
        policy.name: simulate(trace, policy, EVEN)
        for policy in (
            greedy(trace, 8, 2), Lifo(trace, 8, 2), Bounded(trace, 8, 2, 32), DropExpired(trace, 8, 2, EVEN),
            DropHopeless(trace, 8, 2, EVEN), EarlyDrop(trace, 8, 2, EVEN), Shrink(trace, 8, 2, EVEN),
            Cork(trace, 8, 2, EVEN),
        )
    }  # fmt: skip
    for run in rules.values():
        check(run)
    dropped = {name: run.fates.count(Fate.DROPPED) > 0 for name, run in rules.items()}
    assert {name for name, some in dropped.items() if some} == {
        "drop expired", "drop hopeless", "early drop, known times", "shrink",
    }  # fmt: skip
    assert rules["bound 32"].fates.count(Fate.REJECTED) > 500
    early = rules["early drop, known times"]
    assert goodput(early) > 0.63 > 5 * goodput(rules["drop expired"])
    assert latencies(early)[-1] <= 100 * MS


# ---- what it catches ----


class Forgets(Wait):
    """Loses the item that waits when the third comes."""

    def submit(self, item: int, now: int) -> bool:
        if item == 2:
            self.queue.clear()
        return super().submit(item, now)


class Repeats(Wait):
    """Drops an item and keeps it."""

    def wake(self, now: int) -> int:
        return now if now == 1 * MS and not self.gone else super().wake(now)

    def dropped(self, now: int) -> Iterable[int]:
        return [1, 1]


class Restless(Wait):
    """Asks to be called at once, for nothing."""

    def wake(self, now: int) -> int:
        return now


class TooSoon(Wait):
    """Says that an item was done before it came."""

    def done(self, batch: Batch, failed: bool, now: int) -> Iterable[int]:
        self.trace.times[batch.items[0]] += 1000 * MS
        return super().done(batch, failed, now)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Forgets, "1 items never ended"),
        (Repeats, "item 1 was DROPPED, and is DROPPED now"),
        (Restless, "at once at 0, and does nothing"),
        (TooSoon, "before its item came"),
    ],
)
def test_a_broken_policy_is_found(kind: type[Wait], words: str) -> None:
    """A lost item, a call without reason, time running backwards."""
    trace = at(0, 1, 2)
    with pytest.raises(SimulationError, match=words):
        check(simulate(trace, kind(trace, "bad", 4), EVEN))


def test_the_same_seed_is_the_same_run() -> None:
    """Every moment of it; another seed is another run."""

    def digest(seed: int) -> str:
        trace = bursts(500, 3_000, seed)
        run = simulate(trace, greedy(trace, 32), Cost(0.02, 0.001, slow=0.01))
        return hashlib.sha256(repr((run.taken, run.ended, summary(run))).encode()).hexdigest()

    assert digest(1) == digest(1) != digest(2)
