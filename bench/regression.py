"""How often `libperf diff` is wrong: false alarms, and changes that it finds, in samples whose truth is known.

    python bench/regression.py                                   # the tables; two minutes
    python bench/regression.py --seeds 100 --only false-alarms
    python bench/regression.py --json build/results/regression.jsonl

Nothing is measured: durations are drawn with seeds 0, 1, 2, ... and every number is the same on every machine. Each
cell is the share of the seeds in which there was a regression, in per cent.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libperf

ROOT = Path(__file__).resolve().parents[1]
CALLS = 1000
Draw = Callable[[random.Random], float]
Times = list[float]

# ---- samples: seconds ----


def lognormal(r: random.Random) -> float:
    return 0.01 * r.lognormvariate(0, 0.5)


def bimodal(r: random.Random) -> float:
    """A cache that answers four of five."""
    return 0.001 * r.lognormvariate(0, 0.2) if r.random() < 0.8 else 0.05 * r.lognormvariate(0, 0.3)


def pareto(r: random.Random) -> float:
    """A tail whose variance is infinite."""
    return 0.001 * r.paretovariate(1.5)


def constant(r: random.Random) -> float:
    return 0.01


def integers(r: random.Random) -> float:
    """Whole milliseconds, mostly the same few."""
    return 0.001 * max(1, round(5 * r.lognormvariate(0, 0.3)))


DRAWS: dict[str, Draw] = {d.__name__: d for d in (lognormal, bimodal, pareto, constant, integers)}


def sample(draw: Draw, r: random.Random, calls: int, factor: float = 1.0) -> Times:
    return [factor * draw(r) for _ in range(calls)]


def with_tail(draw: Draw, r: random.Random, calls: int) -> Times:
    """Three times as long in 5 % of the calls."""
    return [draw(r) * (3 if r.random() < 0.05 else 1) for _ in range(calls)]


def correlated(r: random.Random, calls: int, rho: float) -> Times:
    """Log-normal, each call like the one before (autoregressive)."""
    values, last = [], r.gauss(0, 1)
    for _ in range(calls):
        last = rho * last + (1 - rho * rho) ** 0.5 * r.gauss(0, 1)
        values.append(0.01 * 2.718281828459045 ** (0.5 * last))
    return values


def warming_up(r: random.Random, calls: int) -> Times:
    """Twice as long in the beginning; how long that is depends on the run."""
    warm = r.randrange(calls // 3)
    return [lognormal(r) * (2 if i < warm else 1) for i in range(calls)]


def of_runs(r: random.Random, runs: int, calls: int, spread: float, factor: float = 1.0) -> list[Times]:
    """Runs that differ by themselves."""
    return [sample(lognormal, r, calls, factor * r.lognormvariate(0, spread)) for _ in range(runs)]


# ---- who decides ----


def is_worse(old: Any, new: Any, **settings: Any) -> bool:
    if isinstance(old[0], list):
        sides = [[{"f": times} for times in side] for side in (old, new)]
        return libperf.diff(*sides, **settings).verdict == "regression"
    return libperf.diff({"f": old}, {"f": new}, **settings).verdict == "regression"


def unordered(old: Times, new: Times) -> bool:
    """As it is without records: only distributions are known."""
    sides = ({"f": libperf.Histogram(times)} for times in (old, new))
    return libperf.diff(*sides, min_calls=20).verdict == "regression"


def pooled(old: list[Times], new: list[Times]) -> bool:
    """All calls of all runs as if they were one run."""
    return unordered([t for run in old for t in run], [t for run in new for t in run])


def p99(times: Times) -> float:
    return sorted(times)[-(-99 * len(times) // 100) - 1]


def naive_p99(old: Times, new: Times) -> bool:
    """What scripts do: P99 is 20 % higher."""
    return p99(new) > 1.2 * p99(old)


def naive_mean(old: Times, new: Times) -> bool:
    """The mean is 5 % higher."""
    return statistics.fmean(new) > 1.05 * statistics.fmean(old)


# ---- tables ----


@dataclass
class Line:
    """One number: the share of the seeds with a regression, in per cent."""

    name: str
    what: str
    median: float
    seeds: int


Pair = Callable[[random.Random], tuple[Any, Any]]


def share(name: str, what: str, seeds: int, pair: Pair, decide: Callable[..., bool], **settings: Any) -> Line:
    found = sum(decide(*pair(random.Random(seed)), **settings) for seed in range(seeds))
    return Line(f"diff/{name}", what, 100 * found / seeds, seeds)


def false_alarms(seeds: int) -> Iterator[Line]:
    for name, draw in DRAWS.items():

        def same(r: random.Random, draw: Draw = draw) -> tuple[Times, Times]:
            return sample(draw, r, CALLS), sample(draw, r, CALLS)

        yield share(f"false/{name}", f"{name}: nothing has changed", seeds, same, is_worse)
        yield share(f"false/any-size/{name}", f"{name}: nothing, threshold 0", seeds, same, is_worse, threshold=0)
        yield share(f"false/naive-p99/{name}", f"{name}: nothing; rule: P99 + 20 %", seeds, same, naive_p99)
        yield share(f"false/naive-mean/{name}", f"{name}: nothing; rule: mean + 5 %", seeds, same, naive_mean)


def found(seeds: int) -> Iterator[Line]:
    for name, draw in DRAWS.items():

        def slower(r: random.Random, draw: Draw = draw) -> tuple[Times, Times]:
            return sample(draw, r, CALLS), sample(draw, r, CALLS, 1.2)

        def tail(r: random.Random, draw: Draw = draw) -> tuple[Times, Times]:
            return sample(draw, r, CALLS), with_tail(draw, r, CALLS)

        yield share(f"found/20/{name}", f"{name}: 20 % slower", seeds, slower, is_worse)
        yield share(f"found/tail/{name}", f"{name}: three times as long in 5 % of the calls", seeds, tail, is_worse)


def sizes(seeds: int) -> Iterator[Line]:
    for calls in (100, 300, 1000, 10_000):
        for percent in (0, 5, 10, 20):

            def slower(r: random.Random, calls: int = calls, factor: float = 1 + percent / 100) -> tuple[Times, Times]:
                return sample(lognormal, r, calls), sample(lognormal, r, calls, factor)

            what = f"lognormal, {calls:,} calls a side: {percent} % slower"
            name = f"size/{calls}/{percent}"
            yield share(name, what, max(1, seeds // (5 if calls == 10_000 else 1)), slower, is_worse, min_calls=20)


def dependent(seeds: int) -> Iterator[Line]:
    for rho in (0.5, 0.9, 0.98):

        def alike(r: random.Random, rho: float = rho) -> tuple[Times, Times]:
            return correlated(r, CALLS, rho), correlated(r, CALLS, rho)

        what = f"correlation {rho} from call to call, nothing has changed"
        yield share(f"dependent/{rho}", f"{what}; with records", seeds, alike, is_worse)
        yield share(f"dependent/unordered/{rho}", f"{what}; without", seeds, alike, unordered)

    def warm(r: random.Random) -> tuple[Times, Times]:
        return warming_up(r, CALLS), warming_up(r, CALLS)

    what = "a warm-up of any length, nothing has changed"
    yield share("dependent/warm", f"{what}; with records", seeds, warm, is_worse)
    yield share("dependent/unordered/warm", f"{what}; without", seeds, warm, unordered)


def runs(seeds: int) -> Iterator[Line]:
    for spread in (0.03, 0.1):
        for count in (3, 5, 10):
            for factor in (1.0, 1.2):

                def several(
                    r: random.Random, count: int = count, spread: float = spread, factor: float = factor
                ) -> tuple[list[Times], list[Times]]:
                    return of_runs(r, count, CALLS // 5, spread), of_runs(r, count, CALLS // 5, spread, factor)

                change = "20 % slower" if factor > 1 else "nothing has changed"
                what = f"{count} runs a side that differ by {spread:.0%} themselves, {change}"
                name = f"{count}/{spread}/{factor}"
                yield share(f"runs/{name}", f"{what}; by runs", seeds, several, is_worse)
                yield share(f"runs/pooled/{name}", f"{what}; as one run", seeds, several, pooled)


TABLES: dict[str, Callable[[int], Iterator[Line]]] = {
    "false-alarms": false_alarms,
    "found": found,
    "sizes": sizes,
    "dependent": dependent,
    "runs": runs,
}


def summaries(lines: list[Line]) -> Iterator[Line]:
    """The worst cell, which is what a promise is about."""
    for name, what, prefix, worst in (
        ("worst/false", "nothing has changed, worst of five distributions", "diff/false/", max),
        ("worst/any-size", "the same without a threshold", "diff/false/any-size/", max),
        ("worst/found", "20 % slower, worst of five distributions", "diff/found/20/", min),
    ):
        cells = [x for x in lines if x.name.startswith(prefix) and "/" not in x.name.removeprefix(prefix)]
        if cells:
            line = worst(cells, key=lambda cell: cell.median)
            yield Line(f"diff/{name}", f"{what}: {line.name.rpartition('/')[2]}", line.median, line.seeds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--only", choices=TABLES, action="append", metavar="TABLE", help="may be given more than once")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    lines: list[Line] = []
    for name in arguments.only or TABLES:
        for line in TABLES[name](arguments.seeds):
            lines.append(line)
            print(f"{line.what:<95} {line.median:>6.1f} % of {line.seeds}", flush=True)
    for line in (last := list(summaries(lines))):
        print(f"{line.what:<95} {line.median:>6.1f} % of {line.seeds}")
    if arguments.json:
        words = [Path(sys.executable).name, *(word.removeprefix(f"{ROOT}/") for word in sys.orig_argv[1:])]
        command = {"command": shlex.join(words)}
        text = "".join(json.dumps({**vars(line), "unit": "%", "mad": 0.0, **command}) + "\n" for line in lines + last)
        Path(arguments.json).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
