"""The tables as rows of plain values. Each row that was played names its seed and how many items arrived: that, and the code, is all it
depends on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import offline, oracle
from .engine import Policy, simulate
from .measures import goodput, latencies, quantile, summary
from .ours import Ours
from .policies import (
    Bounded,
    Cork,
    DropExpired,
    DropHopeless,
    EarlyDrop,
    Lifo,
    Shrink,
    Wait,
    control_limit,
    full_only,
    greedy,
    window,
)
from .workloads import Agents, Cost, Trace, bursts, in_classes, in_time, ns, poisson, trickle, weighted, with_faults

__all__ = ["EXPERIMENTS", "Experiment"]

Row = dict[str, Any]
MOST = 32
SLO = 0.15
USUAL = Cost(0.020, 0.001)
COSTS = {"20+1n": USUAL, "5+0.1n": Cost(0.005, 0.0001), "500+10n": Cost(0.5, 0.01)}
LOADS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Experiment:
    """A table: `rows(seed, items)` computes it row by row."""

    title: str
    note: str
    columns: dict[str, str]  # key of a row: heading
    rows: Callable[[int, int], Iterator[Row]]


def _played(trace: Trace, policy: Policy, cost: Cost, /, **more: Any) -> Row:
    return {**more, **summary(simulate(trace, policy, cost))}


# ---- mean latency ----


def latency(seed: int, items: int) -> Iterator[Row]:
    """Sections by slots and load; the optimum is known for one slot."""
    for slots, loads in ((1, (0.1, 0.4, 0.9)), (4, (0.1, 0.4, 0.7))):
        for load in loads:
            rate = load * USUAL.capacity(MOST, slots)
            trace = poisson(rate, items, seed)
            for policy in (
                Ours(trace, MOST, slots),
                greedy(trace, MOST, slots),
                window(trace, MOST, slots, 0.01),
                window(trace, MOST, slots, 0.1),
                full_only(trace, MOST, slots),
                Cork(trace, MOST, slots, USUAL),
            ):
                yield _played(trace, policy, USUAL, slots=slots, load=load)
            if slots == 1:
                yield {"slots": 1, "load": load, **_computed(oracle.optimum(rate, USUAL, MOST))}


def _computed(found: oracle.Optimum) -> Row:
    mean, batch = round(found.latency * 1e3, 3), round(1 / found.calls, 2)
    return {"policy": f"optimum: limit {found.limit}", "mean_ms": mean, "batch": batch}


def optimum(seed: int, items: int) -> Iterator[Row]:
    """Ours beside the best control limit, on the same arrivals and in theory."""
    for name, cost in COSTS.items():
        for load in LOADS:
            rate = load * cost.capacity(MOST)
            best, trace = oracle.optimum(rate, cost, MOST), poisson(rate, items, seed)
            reached = summary(simulate(trace, control_limit(trace, MOST, best.limit), cost))["mean_ms"]
            row = _played(trace, Ours(trace, MOST), cost, cost=name, load=load, limit=best.limit)
            row |= {"theory_ms": round(best.latency * 1e3, 3), "optimum_ms": reached}
            yield row | {"ratio": round(row["mean_ms"] / reached, 4)}


def price(seed: int, items: int) -> Iterator[Row]:
    """A price on calls: the front of mean latency against calls, and how near ours comes."""
    prices = [0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    for load in (0.1, 0.4, 0.7):
        rate = load * USUAL.capacity(MOST)
        trace = poisson(rate, items, seed)
        for value, best in zip(prices, oracle.pareto_front(rate, USUAL, MOST, prices), strict=True):
            policy = Ours(trace, MOST, call_price_ns=ns(value), max_wait_ns=ns(10))
            row = _played(trace, policy, USUAL, load=load, price_s=value)
            least = best.latency + value * best.calls
            paid = row["mean_ms"] / 1e3 + value * row["calls"] / row["arrivals"]
            row |= {"per_1000": round(1000 * row["calls"] / row["arrivals"], 1), "ratio": round(paid / least, 4)}
            yield row | {"optimum_ms": round(best.latency * 1e3, 3), "optimum_per_1000": round(best.calls * 1e3, 1)}


def slots(seed: int, items: int) -> Iterator[Row]:
    """Several slots: no optimum is known, so the best of many fixed settings on the same arrivals stands for it."""
    count = 4
    for kind in (poisson, bursts):
        for load in (0.1, 0.2, 0.4, 0.7):
            trace = kind(load * USUAL.capacity(MOST, count), items, seed)
            found = [
                summary(
                    simulate(trace, Wait(trace, f"{least} or {wait} ms", MOST, count, least, ns(wait / 1e3)), USUAL)
                )
                for least in (2, 4, 8, 16)
                for wait in (5, 20)
            ]
            found.append(summary(simulate(trace, greedy(trace, MOST, count), USUAL)))
            best = min(found, key=lambda row: float(row["mean_ms"]))
            row = _played(trace, Ours(trace, MOST, count), USUAL, slots=count, arrive=trace.name, load=load)
            row |= {"best": best["policy"], "optimum_ms": best["mean_ms"]}
            yield row | {"ratio": round(row["mean_ms"] / best["mean_ms"], 4)}


def load(seed: int, items: int) -> Iterator[Row]:
    """Data of the plot: latency against load, nobody's settings changed between loads."""
    for share in (*LOADS, 0.95):
        rate = share * USUAL.capacity(MOST)
        trace = poisson(rate, items, seed)
        policies = [Ours(trace, MOST)] + [window(trace, MOST, 1, wait) for wait in (0.005, 0.01, 0.05, 0.1)]
        for policy in policies:
            yield _played(trace, policy, USUAL, load=share)
        yield {"load": share, **_computed(oracle.optimum(rate, USUAL, MOST)), "policy": "optimum"}


# ---- in time under overload ----


def overload(seed: int, items: int) -> Iterator[Row]:
    """More than the slots can carry, and bursts that are."""
    for kind, loads in ((poisson, (0.9, 1.1, 1.5, 2.5)), (bursts, (0.7, 1.1, 1.5, 2.0, 2.5))):
        for count in (1, 4):
            for share in loads:
                trace = in_time(kind(share * USUAL.capacity(MOST, count), items, seed), SLO)
                steady = offline.steady(share) if kind is poisson else 1.0
                bound = min(steady, offline.windowed(trace, USUAL, MOST, count))
                policies = [Ours(trace, MOST, count), *_droppers(trace, count)]
                for policy in policies:
                    row = _played(trace, policy, USUAL, arrive=trace.name, slots=count, load=share)
                    row |= {"bound": round(100 * bound, 2), "of_bound": round(row["on_time"] / bound, 2)}
                    yield row


def _droppers(trace: Trace, count: int) -> list[Policy]:
    return [
        EarlyDrop(trace, MOST, count, USUAL),
        DropExpired(trace, MOST, count, USUAL),
        DropHopeless(trace, MOST, count, USUAL),
        Shrink(trace, MOST, count, USUAL),
        Bounded(trace, MOST, count, 2 * count * MOST),
        Lifo(trace, MOST, count),
        greedy(trace, MOST, count),
    ]


def exact(seed: int, items: int) -> Iterator[Row]:
    """Three hundred items, and all of the future known."""
    cost = Cost(USUAL.base, USUAL.each, 0.0)
    for kind, loads in ((poisson, (1.1, 1.5, 2.5)), (bursts, (2.0, 3.0, 5.0))):
        for share in loads:
            trace = in_time(kind(share * cost.capacity(MOST), offline.MOST_EXACT, seed), SLO)
            best = 100 * offline.exact(trace, cost, MOST) / trace.items
            for policy in (Ours(trace, MOST, 1, cost), EarlyDrop(trace, MOST, 1, cost), Lifo(trace, MOST)):
                row = _played(trace, policy, cost, arrive=trace.name, load=share)
                yield row | {"bound": round(best, 2), "of_bound": round(100 * row["on_time"] / best, 2)}


# ---- all sorts of work ----


def classes(seed: int, items: int) -> Iterator[Row]:
    """70 % urgent (0.1 s), 30 % that have time (1 s); in order of deadlines, strictly by priority, and as they come."""
    for kind in (poisson, bursts):
        for share in (0.7, 0.9, 1.1):
            trace = in_classes(kind(share * USUAL.capacity(MOST), items, seed))
            for policy in (
                Ours(trace, MOST),
                Ours(trace, MOST, name="libperf strict", order=1),
                greedy(trace, MOST),
            ):
                run = simulate(trace, policy, USUAL)
                row = {"arrive": trace.name, "load": share, **summary(run)}
                for priority, name in ((1, "high"), (3, "low")):
                    row[f"{name}_on_time"] = round(100 * goodput(run, priority), 2)
                    row[f"{name}_p99_ms"] = round(1e3 * quantile(latencies(run, priority), 0.99), 1)
                waits = [taken - at for taken, at in zip(run.taken, trace.times, strict=True) if taken]
                yield row | {"longest_wait_ms": round(max(waits) / 1e6, 1)}


def workloads(seed: int, items: int) -> Iterator[Row]:
    """Clients that wait for results, agents that fan out, trickles, heavy items, faults."""
    rate = 0.5 * USUAL.capacity(MOST)
    slow = Cost(USUAL.base, USUAL.each, USUAL.variation, 0.01)
    by_weight = Cost(0.02, 0.00001)  # by token
    made: list[tuple[str, Callable[[], Trace], Cost, Row]] = [
        *(
            (f"closed loop, {n}", lambda n=n: Agents("closed", seed, [], clients=n, total=items // 2), USUAL, {})
            for n in (1, 8, 64, 512)
        ),
        ("agents", lambda: Agents("agents", seed, [], clients=20, fan=(5, 20), think=0.5, total=items), USUAL, {}),
        ("trickle", lambda: trickle(0.095, items // 10, seed), USUAL, {}),
        ("bursts", lambda: bursts(rate, items, seed), USUAL, {}),
        ("heavy items", lambda: weighted(poisson(300, items, seed), 200, 2.0), by_weight, {"max_weight": 8000}),
        ("1 % poison, 5 % leave", lambda: with_faults(poisson(rate / 2, items, seed)), USUAL, {}),
        ("the same, isolated", lambda: with_faults(poisson(rate / 2, items, seed)), USUAL, {"isolation": 1}),
        ("1 % slow batches", lambda: poisson(rate, items, seed), slow, {}),
    ]
    for name, make, cost, more in made:
        trace = make()
        yield _played(trace, Ours(trace, MOST, **more), cost, work=name)
        if not more:
            trace = make()
            yield _played(trace, window(trace, MOST, 1, 0.1), cost, work=name)


PLAYED = {"seed": "seed", "arrivals": "arrivals"}
TIMES = {"mean_ms": "mean", "p95_ms": "P95", "p99_ms": "P99", "batch": "batch", "calls": "calls"}
IN_TIME = {"on_time": "in time %", "bound": "bound %", "of_bound": "of it %"}

EXPERIMENTS = {
    "latency": Experiment(
        "mean latency, in ms", "T(n) = 20 + n ms, at most 32 a batch, Poisson arrivals",
        {"slots": "slots", "load": "load", "policy": "policy", **TIMES, **PLAYED}, latency,
    ),
    "optimum": Experiment(
        "mean latency beside the optimum for one slot, in ms", "optimum: the best control limit, on the same arrivals",
        {"cost": "T(n), ms", "load": "load", "mean_ms": "libperf", "optimum_ms": "optimum", "ratio": "ratio",
         "theory_ms": "in theory", "limit": "limit", "batch": "batch", **PLAYED}, optimum,
    ),
    "price": Experiment(
        "a price on calls: mean latency in ms, calls by 1,000 items",
        "price: seconds of one item's waiting that a call less is worth; ratio: what both cost together",
        {"load": "load", "price_s": "price", "mean_ms": "libperf", "optimum_ms": "optimum", "per_1000": "calls",
         "optimum_per_1000": "optimum's", "ratio": "ratio", **PLAYED}, price,
    ),
    "slots": Experiment(
        "four slots: mean latency in ms beside the best fixed setting", "best: of 9 settings, chosen afterwards",
        {"arrive": "arrivals", "load": "load", "mean_ms": "libperf", "optimum_ms": "best fixed", "best": "which",
         "ratio": "ratio", "calls": "calls", "seed": "seed", "arrivals": "items"}, slots,
    ),
    "overload": Experiment(
        "results within 0.15 s", "bound: no rule passes it, though it knew the future",
        {"arrive": "arrivals", "slots": "slots", "load": "load", "policy": "policy", **IN_TIME, "dropped": "dropped",
         "p99_ms": "P99", "seed": "seed", "arrivals": "items"}, overload,
    ),
    "exact": Experiment(
        "results within 0.15 s, of 300 items", "bound: the best plan that there is",
        {"arrive": "arrivals", "load": "load", "policy": "policy", **IN_TIME, "seed": "seed", "arrivals": "items"}, exact,
    ),
    "classes": Experiment(
        "70 % urgent items (0.1 s), 30 % that have time (1 s)", "times in ms",
        {"arrive": "arrivals", "load": "load", "policy": "policy", "high_on_time": "urgent in time %",
         "low_on_time": "others %", "high_p99_ms": "urgent P99", "low_p99_ms": "others P99",
         "longest_wait_ms": "longest wait", "seed": "seed", "arrivals": "items"}, classes,
    ),
    "workloads": Experiment(
        "all sorts of work, times in ms", "T(n) = 20 + n ms; by weight: 20 + n/100 ms",
        {"work": "work", "policy": "policy", **TIMES, "failed": "failed", "cancelled": "left", **PLAYED}, workloads,
    ),
    "load": Experiment(
        "latency against load, in ms", "one slot, T(n) = 20 + n ms; for a plot: --json",
        {"load": "load", "policy": "policy", "mean_ms": "mean", "p50_ms": "P50", "p95_ms": "P95", "batch": "batch",
         **PLAYED}, load,
    ),
}  # fmt: skip
