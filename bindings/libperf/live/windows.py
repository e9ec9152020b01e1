"""Windows over counts that only grow: the difference of two readings of one name, as a row."""

import math
from array import array
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ..names import INPUT_TOKENS, OUTPUT_TOKENS
from ..reader import Name, Totals
from ..reporting import QUANTILES, Row

__all__ = ["NOTHING", "Seen", "Series", "quantiles", "row_between"]

EMPTY = array("Q")


class Seen(NamedTuple):
    """What had been counted under a name at a time (nanoseconds)."""

    time: int
    totals: Totals
    buckets: "array[int]"  # Reader.buckets(); empty for counters and gauges


NOTHING = Seen(0, Totals(0, 0, 0, 0.0, 0.0, 0.0, 0, None, {}), EMPTY)


class Series:
    """One name's counts over time: the last reading, and as many earlier ones as are still wanted.

    A reading that changes nothing is not kept, so a quiet name costs nothing.
    """

    __slots__ = ("marks", "name", "now")

    def __init__(self, name: Name) -> None:
        self.name = name
        self.now = NOTHING
        self.marks: deque[Seen] = deque()

    def take(self, totals: Totals, buckets: "array[int]", time: int) -> None:
        """A reading that is not the same as the last one."""
        self.now = Seen(time, totals, buckets)

    def mark(self, horizon: int) -> None:
        """Keep the last reading; forget those that say what was before `horizon`, but the newest of them."""
        if not self.marks or self.marks[-1] is not self.now:
            self.marks.append(self.now)
        while len(self.marks) > 1 and self.marks[1].time <= horizon:
            self.marks.popleft()

    def at(self, time: int) -> Seen:
        """What had been counted at the time of a reading that was kept."""
        return next((seen for seen in reversed(self.marks) if seen.time <= time), NOTHING)


def quantiles(now: Sequence[int], before: Sequence[int], qs: Sequence[float]) -> list[int]:
    """Nearest ranks of what came between two readings of buckets, in nanoseconds; zeros when nothing did."""
    gone = dict(zip(before[::2], before[1::2], strict=True))
    came = [(value, count - gone.get(value, 0)) for value, count in zip(now[::2], now[1::2], strict=True)]
    came = [(value, count) for value, count in came if count > 0]
    total = sum(count for _, count in came)
    return [_ranked(came, max(1, math.ceil(q * total - 1e-9 * total))) for q in qs]


def _ranked(came: list[tuple[int, int]], rank: int) -> int:
    seen = 0
    for value, count in came:
        seen += count
        if seen >= rank:
            return value
    return came[-1][0] if came else 0


def row_between(name: Name, now: Seen, before: Seen, seconds: float) -> Row:
    """What came between two readings that were `seconds` apart, as a report has it.

    Percentiles and extremes are within 0.4 %; `share` is the time spent, over all calls, of those seconds, at most 1.
    """
    new, old = now.totals, before.totals
    calls = max(0, new.count - old.count)
    total = max(0.0, new.sum - old.sum) if calls else 0.0
    found = [0] * 5
    if calls:
        found = quantiles(now.buckets, before.buckets, (0.0, *QUANTILES, 1.0))
    # a bucket's middle may lie outside of what was ever measured
    least, p50, p95, p99, most = (min(max(value / 1e9, new.min), new.max) if calls else 0.0 for value in found)
    counted = {key: max(0, value - old.quantities.get(key, 0)) for key, value in new.quantities.items()}
    return Row(
        kind=name.kind,
        name=name.text,
        calls=calls,
        errors=max(0, new.errors - old.errors),
        cancelled=max(0, new.cancelled - old.cancelled),
        total=total,
        min=least,
        p50=p50,
        p95=p95,
        p99=p99,
        max=most,
        per_second=calls / seconds if seconds else 0.0,
        share=min(1.0, total / seconds) if seconds else 0.0,
        input_tokens=counted.pop(INPUT_TOKENS, 0),
        output_tokens=counted.pop(OUTPUT_TOKENS, 0),
        quantities=counted,
    )
