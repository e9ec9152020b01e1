"""Compares two runs of a benchmark, and does not call noise a change.

Cases that were measured against a reference are compared by their ratio to it, which drifts less from run to run than
nanoseconds; the others by their median. A change counts when it is larger than three standard errors of the two medians
together (estimated from their MADs) and than --floor. Several runs in one file are pooled: append to it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# standard error of a median of n normal values, from their MAD: 1.4826 * MAD * sqrt(pi / 2) / sqrt(n)
MAD_TO_ERROR = 1.4826 * math.sqrt(math.pi / 2)
SURE = 3  # standard errors

EPILOG = """\
exit status: 0 no regression; 1 a case became slower than allowed, failed or is gone; 2 a file cannot be read

examples:
  perf-bench --json old.jsonl          # before the change
  perf-bench --json new.jsonl          # after it
  python bench/compare.py old.jsonl new.jsonl
  python bench/compare.py old.jsonl new.jsonl --max-regression 1.03 --floor 0.01
"""


@dataclass
class Case:
    """One case's middle and its relative standard error, pooled over the runs in a file."""

    value: float
    error: float
    reference: str | None
    failure: str | None = None


@dataclass
class Verdict:
    word: str
    ratio: float | None = None
    noise: float = 0.0
    regression: bool = False


def pooled(lines: list[dict[str, Any]], by_ratio: bool) -> Case:
    failures = [line["error"] for line in lines if "error" in line]
    if failures:
        return Case(math.nan, 0.0, None, failures[0])
    key, spread = ("ratio", "ratio_mad") if by_ratio else ("median_ns", "mad_ns")
    if "median_ns" not in lines[0]:  # of the Python scripts
        key, spread = "median", "mad"
    values = [line[key] for line in lines]
    middle = statistics.median(values)
    within = statistics.median(line[spread] for line in lines) / math.sqrt(sum(line["repetitions"] for line in lines))
    between = statistics.median(abs(value - middle) for value in values) / math.sqrt(len(values))
    error = MAD_TO_ERROR * max(within, between) / abs(middle) if middle else math.inf
    return Case(middle, error, lines[0].get("reference") if by_ratio else None)


def read(path: str) -> dict[str, list[dict[str, Any]]]:
    cases: dict[str, list[dict[str, Any]]] = {}
    for number, text in enumerate(Path(path).read_text().splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            cases.setdefault(line["name"], []).append(line)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number}: not a line of perf-bench --json: {error}") from error
    if not cases:
        raise ValueError(f"{path}: no results in it")
    return cases


def same_reference(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> bool:
    references = {line.get("reference") for line in old + new}
    return len(references) == 1 and None not in references


def judge(old: Case | None, new: Case | None, floor: float, allowed: float) -> Verdict:
    if new is None:
        return Verdict("gone", regression=True)
    if new.failure:
        return Verdict(f"FAILS: {new.failure}", regression=True)
    if old is None or old.failure:
        return Verdict("new")
    if old.value <= 0 or new.value <= 0:
        return Verdict("cannot be compared: not above zero")
    ratio = new.value / old.value
    noise = max(floor, SURE * math.hypot(old.error, new.error))
    if abs(math.log(ratio)) <= math.log1p(noise):
        return Verdict("same within noise", ratio, noise)
    if ratio < 1:
        return Verdict("faster", ratio, noise)
    if ratio <= allowed:
        return Verdict("slower, within what is allowed", ratio, noise)
    return Verdict("REGRESSION", ratio, noise, regression=True)


def warn_of_other_machine(old: dict[str, list[dict[str, Any]]], new: dict[str, list[dict[str, Any]]]) -> None:
    for what in ("machine", "compiler", "optimised"):
        seen = [{line.get(what) for lines in run.values() for line in lines} for run in (old, new)]
        if seen[0] != seen[1]:
            texts = [", ".join(sorted(map(str, values))) for values in seen]
            print(f"compare.py: another {what}: {texts[0]} | {texts[1]}: only ratios mean something", file=sys.stderr)


def compare(
    old: dict[str, list[dict[str, Any]]], new: dict[str, list[dict[str, Any]]], floor: float, allowed: float
) -> bool:
    """Prints a row per case; true when none got worse."""
    width = max(len(name) for name in {*old, *new})
    print(f"{'case':<{width}} {'old':>10} {'new':>10} {'new/old':>8} {'noise':>7}  verdict")
    good = True
    for name in list(old) + [name for name in new if name not in old]:
        by_ratio = name in old and name in new and same_reference(old[name], new[name])
        before = pooled(old[name], by_ratio) if name in old else None
        after = pooled(new[name], by_ratio) if name in new else None
        verdict = judge(before, after, floor, allowed)
        good = good and not verdict.regression
        numbers = [f"{case.value:10.3f}" if case and not case.failure else " " * 10 for case in (before, after)]
        change = f"{verdict.ratio:8.3f} {verdict.noise:6.1%}" if verdict.ratio else " " * 15
        unit = f" (of {before.reference})" if before and before.reference else ""
        print(f"{name:<{width}} {' '.join(numbers)} {change}   {verdict.word}{unit}")
    return good


def at_least_one(text: str) -> float:
    value = float(text)
    if not value >= 1:
        raise ValueError(text)
    return value


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", metavar="OLD.jsonl")
    parser.add_argument("new", metavar="NEW.jsonl")
    parser.add_argument(
        "--max-regression", type=at_least_one, default=1.1, metavar="RATIO", help="new/old that is still allowed (1.1)"
    )
    parser.add_argument(
        "--floor", type=float, default=0.02, metavar="SHARE", help="smaller changes are always noise (0.02)"
    )
    arguments = parser.parse_args()
    try:
        old, new = read(arguments.old), read(arguments.new)
    except (OSError, ValueError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    warn_of_other_machine(old, new)
    return 0 if compare(old, new, arguments.floor, arguments.max_regression) else 1


if __name__ == "__main__":
    sys.exit(main())
