"""What can be told from spans alone: two usual ways to rank operations, to compare with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

TIE = 0.01  # of the whole time; what differs by less is as good


class Span(NamedTuple):
    name: str
    parent: int  # its place in the list of spans; -1: none
    start: float
    end: float


def total_time(spans: list[Span]) -> dict[str, float]:
    """Seconds in spans of each name, whether or not anybody waited for them."""
    seconds: dict[str, float] = defaultdict(float)
    for span in spans:
        seconds[span.name] += span.end - span.start
    return seconds


def critical_path(spans: list[Span]) -> dict[str, float]:
    """Seconds of each name on the critical path, if each span is taken to have waited for the child that ended last.

    From the end of a span back: its child that ended last, then that which ended last before this one began, and so
    on. What lies between them is the span's own.
    """
    children: dict[int, list[int]] = defaultdict(list)
    for number, span in enumerate(spans):
        children[span.parent].append(number)
    seconds: dict[str, float] = defaultdict(float)

    def walk(number: int) -> None:
        name, _, start, until = spans[number]
        for child in sorted(children[number], key=lambda each: spans[each].end, reverse=True):
            if start < spans[child].end <= until:
                seconds[name] += until - spans[child].end
                until = spans[child].start
                walk(child)
        seconds[name] += until - start

    for root in children[-1]:
        walk(root)
    return seconds


def first_of(ranking: Mapping[str, float], names: Collection[str]) -> str:
    """The name that ranks highest."""
    return max(names, key=lambda name: ranking.get(name, 0.0))


def is_right(first: str, gains: Mapping[str, float]) -> bool:
    """Whether nothing gains more than `first` does."""
    return gains[first] >= max(gains.values()) - TIE
