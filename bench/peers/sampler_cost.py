"""What the CPU sampler costs at 1,000 looks a second, in a way that a busy machine cannot blur.

`profile/sampler/N frames`: by the sampler's own account, the CPU clocks of its thread and of the main thread around its
looks at itself: what a tick and a look take, times 1,000, as a share of a processor. The thread's part is mostly the
kernel's, for waking up and falling asleep, and may lie on another processor; `looks` is what the program itself loses.
Before Python 3.13 there are at most 100 ticks a second, and the thread does the looks, too.

`profile/sampler/slices/N frames`: the same from outside. Slices of the same work, in one process, with the sampler on
and off in turn, in pairs of random order: how much more CPU time the process takes, and the main thread alone. On a
machine with other work a second of CPU time lasts longer, and sees more ticks: compare it with `ticks_per_cpu_s`.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable

from measure import Row, positive, write

from libperf import _sampler
from libperf.profiler import sampler

DEPTHS = (5, 20, 60)
HZ = 1000 if sys.version_info >= (3, 13) else 100
SLICE_NS = 100_000_000
LEAST = 64  # looks at itself; of 16 one is timed


def word_length(word: str) -> int:
    return len(word.strip())


def words(rounds: int) -> int:
    total = 0
    for _ in range(rounds):
        total += word_length("word ")
    return total


def below(depth: int, rounds: int) -> int:
    """The same work, so many frames down from here."""
    return below(depth - 1, rounds) if depth > 1 else words(rounds)


def rounds_of(depth: int) -> int:
    """So many take about a slice."""
    rounds = 1000
    while True:
        before = time.thread_time_ns()
        below(depth, rounds)
        took = time.thread_time_ns() - before
        if took > SLICE_NS / 10:
            return round(rounds * SLICE_NS / took)
        rounds *= 2


def account(depth: int, rounds: int) -> dict[str, float]:
    """Microseconds of a tick and of a look."""
    before = _sampler.stats()
    sampler.start(1000)
    while True:
        below(depth, rounds)
        if _sampler.stats()["samples"] - before["samples"] >= LEAST:
            break
    sampler.stop()
    after = _sampler.stats()
    more = {name: after[name] - before[name] for name in after}
    return {"tick": more["thread_ns"] / more["ticks"] / 1000, "look": more["looks_ns"] / more["samples"] / 1000}


def own_account(depth: int, count: int) -> Row:
    rounds = rounds_of(depth)
    found = [account(depth, rounds) for _ in range(count)]
    shares = [100 * HZ * (each["tick"] + each["look"]) / 1e6 for each in found]
    row = Row(f"profile/sampler/{depth} frames", f"sampler, {depth} frames: of a processor", "%", shares)
    for name in ("tick", "look"):
        row.more[f"{name}_us"] = round(statistics.median(each[name] for each in found), 2)
    row.more["looks"] = round(100 * HZ * row.more["look_us"] / 1e6, 2)
    return row


def slices(depth: int, pairs: int) -> list[Row]:
    rounds = rounds_of(depth)
    clocks: dict[str, Callable[[], int]] = {"process": time.process_time_ns, "main": time.thread_time_ns}
    shares: dict[str, list[float]] = {name: [] for name in clocks}
    ticks, used = _sampler.stats()["ticks"], 0
    for _ in range(pairs):
        took: dict[bool, dict[str, int]] = {}
        for on in random.sample((False, True), 2):
            if on:
                sampler.start(1000)
            before = {name: clock() for name, clock in clocks.items()}
            below(depth, rounds)
            took[on] = {name: clock() - before[name] for name, clock in clocks.items()}
            if on:
                sampler.stop()
                used += took[on]["main"]
        for name, found in shares.items():
            found.append(100 * (took[True][name] / took[False][name] - 1))
    rate = round((_sampler.stats()["ticks"] - ticks) / used * 1e9)
    rows = []
    for name, found in shares.items():
        label = f"sampler, {depth} frames, slices: the {name}{' thread' * (name == 'main')} takes more"
        row = Row(f"profile/sampler/slices/{name}/{depth} frames", label, "%", found)
        row.more |= {"standard_error": round(error(found), 2), "ticks_per_cpu_s": rate}
        rows.append(row)
    return rows


def error(values: list[float]) -> float:
    """Of the median: its standard deviation, by the middle two thirds of the values."""
    ordered = sorted(values)
    cut = len(ordered) // 6
    return 1.2533 * (ordered[-1 - cut] - ordered[cut]) / 2 / len(ordered) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=21)
    parser.add_argument("--pairs", type=positive, default=100, help="of slices of a tenth of a second, for each depth")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    rows = [own_account(depth, arguments.rounds) for depth in DEPTHS]
    for depth in DEPTHS:
        rows += slices(depth, arguments.pairs)
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
