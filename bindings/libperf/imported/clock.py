"""When a file's zero was, on the recording's clock.

| what is known | it comes from |
|---|---|
| the zero itself | memray and Tachyon write it; or the user says it |
| when functions ran | spans that are named after them began and ended at the same times: the shift at which most of them fit |
| when the file was written | py-spy writes when it ends; wrong for a copy |

A stack in which a function is that a span is named after shows whether a zero is right: then such a span must have been
open. That share is the agreement; it is given out with the result, and a join that disagrees is refused.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ..errors import InvalidError
from ..exports.trace import Trace
from .looks import Looks
from .timeline import Intervals, Named

__all__ = ["Clock", "find_clock"]

MS = 1_000_000
CHECKED = 4_000  # looks by which a zero is judged
RUNS = 100  # of a function, the longest, that are compared with as many of its spans
OPERATIONS = 100
BIN = 10 * MS
COVERED = 0.1  # of the samples must lie in the time of the recording
AGREED = 0.5  # of those in functions that spans are named after, in such a span
ENOUGH = 10  # of these, for a share to say anything
LATE = 200 * MS  # a file may be written that long after the last sample
LONGEST = 100 * MS  # a look counts by its length up to that: a stack may linger
NEARLY = 0.05  # as good as what agrees so little better
CLEARLY = 0.25  # better than when the file was written: what repeats itself fits at many times


class Clock(NamedTuple):
    """Where a file's zero is."""

    zero: int  # nanoseconds of the monotonic clock
    how: str  # for people
    spread: int  # nanoseconds that it may be off; 0: not known
    agreement: float | None  # share of samples of named functions that lie in their span; None: too few
    covered: float  # share of samples in the time of the recording


class Judge:
    """How good a zero is."""

    def __init__(self, trace: Trace, looks: Looks, named: Named) -> None:
        self.trace, self.looks, self.named = trace, looks, named
        self.intervals = Intervals(trace, set(named.innermost))
        step = max(1, len(looks) // CHECKED)
        self.some = range(0, len(looks), step)
        telling = [place for place in range(len(looks)) if named.innermost[looks.node[place]]]
        self.telling = telling[:: max(1, len(telling) // CHECKED)]
        self.enough = len(telling) >= ENOUGH or len(telling) > len(looks) // 2

    def _middle(self, place: int, zero: int) -> int:
        return zero + (self.looks.start[place] + self.looks.end[place]) // 2

    def covered(self, zero: int) -> float:
        begin, end = self.trace.begin, self.trace.end
        inside = sum(begin <= self._middle(place, zero) <= end for place in self.some)
        return inside / len(self.some) if self.some else 0.0

    def agreement(self, zero: int) -> float | None:
        if not self.enough or not self.telling:
            return None
        name, node = self.named.innermost, self.looks.node
        fits = whole = 0
        for place in self.telling:
            length = min(max(self.looks.end[place] - self.looks.start[place], 1), LONGEST)
            whole += length
            fits += length * self.intervals.open(name[node[place]], self._middle(place, zero))
        return fits / whole

    def clock(self, zero: int, how: str, spread: int = 0) -> Clock:
        return Clock(zero, how, spread, self.agreement(zero), self.covered(zero))


def find_clock(trace: Trace, looks: Looks, named: Named, path: Path, start: float | None) -> Clock:
    """The best that there is; InvalidError: it is not good enough."""
    judge = Judge(trace, looks, named)
    offset = trace.info.wall_offset_ns
    if start is not None:
        found = judge.clock(int(start * 1e9) - offset, "as given", looks.precision)
    else:
        known = looks.zero_wall - offset if looks.zero_wall is not None else looks.zero_monotonic
        found = judge.clock(known or 0, f"{looks.tool} wrote when it began", looks.precision)
        if known is None or not _is_good(found):
            written = path.stat().st_mtime_ns - offset - looks.length
            found = _best(judge, judge.clock(written, "from when the file was written"))
    if not _is_good(found):
        raise InvalidError(_refusal(trace, looks, found, path))
    return found


def _is_good(clock: Clock) -> bool:
    return clock.covered >= COVERED and (clock.agreement is None or clock.agreement >= AGREED)


def _best(judge: Judge, written: Clock) -> Clock:
    """When the file was written, or what the functions fit better: a busy machine writes late, a copy has another time."""
    precise = judge.looks.precision
    found = [
        judge.clock(zero, "from functions that spans are named after", max(spread, precise))
        for zero, spread in _shifts(judge)
    ]
    agreed = written.agreement or 0.0
    best = max(found, key=lambda clock: (clock.agreement or 0.0, clock.covered), default=written)
    if (best.agreement or 0.0) > agreed + CLEARLY or not written.covered:
        return best
    near = [
        clock for clock in found if (clock.agreement or 0.0) > agreed - NEARLY and clock.zero - written.zero >= -LATE
    ]
    nearest = min(near, key=lambda clock: abs(clock.zero - written.zero), default=written)
    off = nearest.zero - written.zero
    return nearest if precise < -off <= LATE else written


def _shifts(judge: Judge) -> Iterator[tuple[int, int]]:
    """Zeros at which begins and ends of functions and of spans fall together most often, with their spread."""
    spans, shifts = judge.trace.spans, array("q")
    runs = _runs(judge.looks, judge.named)
    for text in sorted(runs, key=lambda text: -len(runs[text]))[:OPERATIONS]:
        rows = sorted(judge.intervals.rows.get(text, ()), key=lambda row: spans.start[row] - spans.end[row])[:RUNS]
        for start, end in sorted(runs[text], key=lambda run: run[0] - run[1])[:RUNS]:
            for row in rows:
                shifts.append(spans.start[row] - start)
                shifts.append(spans.end[row] - end)
    votes = Counter(shift // BIN for shift in shifts)
    pairs = Counter({place: count + max(votes[place - 1], votes[place + 1]) for place, count in list(votes.items())})
    for place, _ in pairs.most_common(5):
        near = sorted(shift for shift in shifts if abs(shift // BIN - place) <= 1)
        low, high = near[len(near) // 10], near[len(near) * 9 // 10]
        yield int(median(near)), max((high - low) // 2, MS)


def _runs(looks: Looks, named: Named) -> dict[str, list[tuple[int, int]]]:
    """When each operation's function was on a stack without a break: begins and ends."""
    found: dict[str, list[tuple[int, int]]] = {}
    open_: dict[tuple[int, str], tuple[int, int]] = {}
    for place in range(len(looks)):
        thread, start, end = looks.thread[place], looks.start[place], looks.end[place]
        for text in named.all[looks.node[place]]:
            run = open_.get((thread, text))
            if run and start <= run[1] + MS:
                open_[thread, text] = run[0], max(run[1], end)
                continue
            if run:
                found.setdefault(text, []).append(run)
            open_[thread, text] = start, end
    for (_, text), run in open_.items():
        found.setdefault(text, []).append(run)
    return found


def _refusal(trace: Trace, looks: Looks, clock: Clock, path: Path) -> str:
    begin, end = (f"{(time + trace.info.wall_offset_ns) / 1e9:.3f}" for time in (trace.begin, trace.end))
    first = (clock.zero + min(looks.start) + trace.info.wall_offset_ns) / 1e9
    last = (clock.zero + looks.length + trace.info.wall_offset_ns) / 1e9
    if clock.covered < COVERED:
        problem = f"only {clock.covered:.0%} of its samples lie in the time of the recording"
    else:
        problem = (
            f"only {clock.agreement:.0%} of its samples of functions that spans are named after lie in such a span"
        )
    return (
        f"{path}: {problem} ({begin} to {end}; the samples, {clock.how}: {first:.3f} to {last:.3f}). Is it of the same "
        "run? If so, say when the profiler began, in seconds since 1970: --samples-start SECONDS"
    )
