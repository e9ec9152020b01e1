"""What differs between two recordings of a program, and whether that is more than chance: `libperf.diff()`.

With one run a side its calls are the sample: a shift of the distribution, its tail, its share of errors. With several
runs a side each run is one number (its median, its P99, its share of errors), for what differs from run to run, calls
cannot tell. All tests of one comparison share the chance of a false alarm.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any

from .._core import lib
from ..errors import InvalidError
from .comparing import BUCKET, Comparison, adjusted, rate, runs, shift, tail
from .sides import LEAST_TAIL, TAIL, TIMES, Key, Operation, Run, Side, Source, read_side

__all__ = ["Change", "Difference", "Settings", "Summary", "diff"]

SCHEMA = 1  # of to_dict(); see docs/diff.md
LEAST_RUNS = int(lib.PERF_REGRESSION_RUNS)
LEAST_CALLS = int(lib.PERF_REGRESSION_CALLS)
INFLATED = 1.5  # from here on it is said that calls hang together


@dataclass(frozen=True, slots=True)
class Settings:
    """alpha:     chance of any false alarm in the whole comparison
    threshold: the smallest change that counts, 0.05 for 5 %
    min_calls: a side, for an operation to be compared when there is one run a side
    only:      names, or "kind:name"; empty: all
    """

    alpha: float = 0.01
    threshold: float = 0.05
    min_calls: int = 1000
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (isinstance(self.alpha, (int, float)) and 0 < self.alpha < 0.5):
            raise InvalidError(f"alpha={self.alpha!r} is not a chance between 0 and 0.5 (0.01 is one in a hundred)")
        if not (isinstance(self.threshold, (int, float)) and 0 <= self.threshold < math.inf):
            raise InvalidError(f"threshold={self.threshold!r} is not a share, 0 or more (0.05 is 5 %)")
        if not (isinstance(self.min_calls, int) and self.min_calls >= LEAST_CALLS):
            raise InvalidError(f"min_calls={self.min_calls!r}: at least {LEAST_CALLS}; with fewer nothing can be said")


@dataclass(frozen=True, slots=True)
class Summary:
    """One side of an operation: all its runs. Durations in seconds."""

    runs: int
    calls: int
    wrong: int  # errors; of a cache misses
    cancelled: int
    p50: float | None  # of several runs: the median of theirs; None: nothing of it, or a cache
    p99: float | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "calls": self.calls,
            "wrong": self.wrong,
            "cancelled": self.cancelled,
            "p50_s": self.p50,
            "p99_s": self.p99,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One operation on both sides."""

    kind: str  # "span", "llm" …, "timing", or "cache"
    name: str
    old: Summary
    new: Summary
    comparisons: tuple[Comparison, ...] = ()
    needs: tuple[int, int] = (0, 0)  # so many more calls (of several runs: runs) a side, to be compared
    inflation: tuple[float, float] = (1.0, 1.0)  # a side: so many calls tell as much as one that is independent
    quantities: dict[str, tuple[float, float]] = field(default_factory=dict)  # a call, old and new

    @property
    def verdict(self) -> str:
        """ "regression", "improvement", "same"; "undecided": too few calls; "new", "gone": on one side only."""
        if not self.old.calls or not self.new.calls:
            return "new" if self.new.calls else "gone"
        if not self.comparisons:
            return "undecided"
        found = {each.verdict for each in self.comparisons}
        return "regression" if "worse" in found else "improvement" if "better" in found else "same"

    @property
    def worse(self) -> list[Comparison]:
        return [each for each in self.comparisons if each.verdict == "worse"]

    def comparison(self, what: str) -> Comparison | None:
        """ "shift", "tail", "errors", "misses", or a quantity; None: it was not compared."""
        return next((each for each in self.comparisons if each.what == what), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "verdict": self.verdict,
            "old": self.old.to_dict(),
            "new": self.new.to_dict(),
            "needs": {"old": self.needs[0], "new": self.needs[1]},
            "inflation": {"old": self.inflation[0], "new": self.inflation[1]},
            "comparisons": [each.to_dict() for each in self.comparisons],
            "quantities": {name: {"old": old, "new": new} for name, (old, new) in self.quantities.items()},
        }


ORDER = ("regression", "improvement", "same", "undecided", "new", "gone")


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two recordings. `print()` shows it as a table."""

    settings: Settings
    old: tuple[str, ...]  # what was compared
    new: tuple[str, ...]
    changes: tuple[Change, ...]  # regressions first
    notes: tuple[str, ...]  # what a reader must know to take the numbers for what they are

    def _with(self, verdict: str) -> list[Change]:
        return [change for change in self.changes if change.verdict == verdict]

    @property
    def regressions(self) -> list[Change]:
        """Operations that are slower, or go wrong more often; surely, and by more than the threshold."""
        return self._with("regression")

    @property
    def improvements(self) -> list[Change]:
        return self._with("improvement")

    @property
    def undecided(self) -> list[Change]:
        """On both sides, but with too few calls."""
        return self._with("undecided")

    @property
    def by_runs(self) -> bool:
        """Whether runs were compared, not the calls of one run."""
        return len(self.old) > 1

    @property
    def compared(self) -> int:
        """How many operations had enough calls."""
        return sum(bool(change.comparisons) for change in self.changes)

    @property
    def verdict(self) -> str:
        """ "regression", "undecided" (nothing could be compared), "improvement", "same"."""
        if self.regressions:
            return "regression"
        if not self.compared:
            return "undecided"
        return "improvement" if self.improvements else "same"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `libperf diff --json` writes it (docs/diff.md). Durations in seconds."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "alpha": self.settings.alpha,
            "threshold": self.settings.threshold,
            "min_calls": self.settings.min_calls,
            "old": list(self.old),
            "new": list(self.new),
            "operations": [change.to_dict() for change in self.changes],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from .table import render_text

        return render_text(self)


def diff(
    old: Source | Sequence[Source],
    new: Source | Sequence[Source],
    *,
    alpha: float = 0.01,
    threshold: float = 0.05,
    min_calls: int = 1000,
    only: str | Iterable[str] = (),
) -> Difference:
    """Compare two recordings of a program.

    >>> difference = libperf.diff("main.perf", "branch.perf")        # written by `libperf run --trace`
    >>> difference.regressions
    >>> libperf.diff(["a1.perf", "a2.perf", "a3.perf"], ["b1.perf", "b2.perf", "b3.perf"])
    >>> libperf.diff({"parse": old_seconds}, {"parse": new_seconds})

    old, new:  a trace or segment file, the id of a process, a Reader, or times by name (seconds, or a Histogram); a list
               of them, or a folder of *.perf, for several runs: one of each, or three and more
    others:    see Settings
    InvalidError says which value is wrong; other errors are those of reading. Threads: any.
    """
    settings = Settings(alpha, threshold, min_calls, (only,) if isinstance(only, str) else tuple(only))
    with ExitStack() as stack:
        before, after = read_side(old, "old", stack), read_side(new, "new", stack)
        counts = len(before.runs), len(after.runs)
        if max(counts) > 1 and min(counts) < LEAST_RUNS:
            raise InvalidError(
                f"old has {counts[0]} and new {counts[1]} runs: give one of each, or at least {LEAST_RUNS} of each"
            )
        memory = _same_memory([*before.runs, *after.runs])
        keys = _chosen(list(dict.fromkeys([*before.keys, *after.keys])), settings.only)
        changes = [_change(key, before, after, settings) for key in keys]
    changes = _judged(changes, settings)
    changes.sort(key=lambda change: ORDER.index(change.verdict))
    notes = (*memory, *_notes(before, after, changes))
    return Difference(settings, before.labels, after.labels, tuple(changes), notes)


def _same_memory(runs: list[Run]) -> list[str]:
    """Allocations count only where all runs counted them: one that did not would seem to allocate nothing."""
    counted = [run.label for run in runs if run.counted_memory]
    if not counted or len(counted) == len(runs):
        return []
    for run in runs:
        run.forget_memory()
    return [f"allocations were counted only in {', '.join(counted)}, and are not compared"]


def _chosen(keys: list[Key], only: tuple[str, ...]) -> list[Key]:
    for wanted in only:
        if not any(wanted in (key.name, f"{key.kind}:{key.name}") for key in keys):
            known = ", ".join(sorted({key.name for key in keys})[:20]) or "nothing"
            raise InvalidError(f"only={wanted!r}: neither side has an operation of that name; there is: {known}")
    return [key for key in keys if not only or key.name in only or f"{key.kind}:{key.name}" in only]


# ---- one operation ----


def _change(key: Key, before: Side, after: Side, settings: Settings) -> Change:
    old, new = before.of(key), after.of(key)
    change = Change(*key, _summary(old, key), _summary(new, key), quantities=dict(_quantities(old, new)))
    if not old or not new:
        return change
    if len(before.runs) > 1:
        needs = max(0, LEAST_RUNS - len(old)), max(0, LEAST_RUNS - len(new))
        return replace(change, needs=needs, comparisons=() if any(needs) else tuple(_by_runs(key, old, new, settings)))
    needs = max(0, settings.min_calls - old[0].calls), max(0, settings.min_calls - new[0].calls)
    if any(needs):
        return replace(change, needs=needs)
    return _by_calls(change, key, old[0], new[0], settings.alpha)


def _summary(operations: list[Operation], key: Key) -> Summary:
    timed = bool(operations) and key.kind != "cache"
    return Summary(
        len(operations),
        sum(each.calls for each in operations),
        sum(each.wrong for each in operations),
        sum(each.cancelled for each in operations),
        median(each.p50 for each in operations) if timed else None,
        median(each.p99 for each in operations) if timed else None,
    )


def _quantities(old: list[Operation], new: list[Operation]) -> Iterator[tuple[str, tuple[float, float]]]:
    """Tokens, bytes …: how much a call."""
    for name in dict.fromkeys(name for each in (*old, *new) for name in each.quantities):
        sums = [sum(each.quantities.get(name, 0) for each in side) for side in (old, new)]
        calls = [sum(each.calls for each in side) for side in (old, new)]
        yield name, (sums[0] / max(1, calls[0]), sums[1] / max(1, calls[1]))


def _by_calls(change: Change, key: Key, old: Operation, new: Operation, alpha: float) -> Change:
    """The calls of one run a side."""
    before, after = ((each.single.inflation() if each.single else (1.0, 1.0, 1.0)) for each in (old, new))
    found = []
    if old.histogram and new.histogram:
        with old.histogram() as was, new.histogram() as now:
            found.append(shift(was, now, alpha, (before[0], after[0])))
            found.append(tail(was, now, TAIL, alpha, (before[1], after[1])))
    if old.wrong or new.wrong:
        what = "misses" if key.kind == "cache" else "errors"
        wrong = (old.wrong, old.calls), (new.wrong, new.calls)
        found.append(rate(what, *wrong, alpha, (before[2], after[2])))
    elif key.kind == "cache":  # every lookup was a hit, on both sides
        found.append(rate("misses", (0, old.calls), (0, new.calls), alpha, (1.0, 1.0)))
    return replace(change, comparisons=tuple(found), inflation=(before[0], after[0]))


def _by_runs(key: Key, old: list[Operation], new: list[Operation], settings: Settings) -> Iterator[Comparison]:
    """One number of each run."""
    alpha = settings.alpha
    if key.kind != "cache":
        yield runs("shift", [each.p50 for each in old], [each.p50 for each in new], alpha, noise=BUCKET)
        was, now = ([each.p99 for each in side if each.calls >= LEAST_TAIL] for side in (old, new))
        if min(len(was), len(now)) >= LEAST_RUNS:
            yield runs("tail", was, now, alpha, noise=BUCKET)
    if key.kind == "cache" or any(each.wrong for each in (*old, *new)):
        was, now = ([each.wrong / each.calls for each in side] for side in (old, new))
        what = "misses" if key.kind == "cache" else "errors"
        yield runs(what, was, now, alpha, noise=_chance_of_shares([*old, *new]), shares=True)
    for name in dict.fromkeys(name for each in (*old, *new) for name in each.quantities):
        was, now = ([each.quantities.get(name, 0) / each.calls for each in side] for side in (old, new))
        yield runs(name, was, now, alpha, noise=0.0)


def _chance_of_shares(operations: list[Operation]) -> float:
    """How much a run's share varies when each call goes wrong by itself."""
    calls, wrong = sum(each.calls for each in operations), sum(each.wrong for each in operations)
    share = (wrong + 0.5) / (calls + 1)
    return math.sqrt(share * (1 - share) / fmean(each.calls for each in operations))


# ---- all of them ----


def _judged(changes: list[Change], settings: Settings) -> list[Change]:
    """With chances that are corrected for the number of comparisons."""
    every = [each for change in changes for each in change.comparisons]
    worse, better = adjusted([each.p_worse for each in every]), adjusted([each.p_better for each in every])
    judged = iter(
        each.judged(p_worse, p_better, settings.alpha, settings.threshold)
        for each, p_worse, p_better in zip(every, worse, better, strict=True)
    )
    return [replace(change, comparisons=tuple(next(judged) for _ in change.comparisons)) for change in changes]


def _notes(before: Side, after: Side, changes: list[Change]) -> Iterator[str]:
    if before.labels == after.labels and set(before.labels) != {TIMES}:
        yield "both sides are the same recording"
    began = [[run.began for run in side.runs if run.began] for side in (before, after)]
    if all(began) and max(began[1]) < min(began[0]):
        yield "the new side was recorded before the old one: are they swapped?"
    for run in (*before.runs, *after.runs):
        if lost := run.losses.get("dropped_values", 0):
            yield f"{run.label}: {lost:,} values found no room, and are missing here"
        if damaged := run.losses.get("damaged", 0):
            yield f"{run.label}: {damaged:,} parts of the file are damaged and were skipped"
    if len(before.runs) > 1 or not any(change.comparisons for change in changes):
        return
    if held := [change for change in changes if max(change.inflation) >= INFLATED]:
        worst = max(held, key=lambda change: max(change.inflation))
        yield (
            f"calls of {len(held)} operations hang together, and count for fewer: "
            f"{max(worst.inflation):.1f} of {worst.name} for one"
        )
    yield "one run a side: what differs from run to run by itself is not known; three and more a side can tell"
