"""One process as it is watched: what it does now, from the counts of its segment, again and again."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..folders import open_segment
from ..names import Kind
from ..reader import Info, Name, Reader, Record
from ..reporting import Row
from ..reporting.batchers import Batcher, find_batchers
from ..reporting.caches import Cache, find_caches
from ..system import Usage, usage_of
from .windows import NOTHING, Seen, Series, quantiles, row_between

__all__ = ["LEAST_HISTORY", "Operation", "Summary", "Tick", "Watched"]

SECOND = 1_000_000_000
LEAST_HISTORY = 60 * SECOND
MARKS = 64  # readings kept over the history
SLACK = 0.05  # of a window: readings are never exactly an interval apart
OPEN_KEPT = 200  # oldest open spans that are looked at closely
YOUNG = 5 * SECOND  # a process whose first seconds are a tick like any other


class Kept(NamedTuple):
    """A reading that is kept: everything that had been counted at a time."""

    time: int
    calls: int
    errors: int


class Tick(NamedTuple):
    """What happened between two readings that were kept."""

    time: int  # at its end, ns
    per_second: float
    p95: float | None  # seconds; None: no call ended


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: what it did in the window, and altogether."""

    row: Row
    calls: int  # since the process began
    errors: int
    open: int  # that go on now, of those that were looked at


@dataclass(frozen=True, slots=True)
class Summary:
    """A process in one line. `busiest` is where its calls spent the most time in the window; None: no call ended."""

    calls: int
    errors: int
    per_second: float
    errors_per_second: float
    busiest: Row | None


class Watched:
    """A process and its segment. refresh() reads; everything else answers from the last reading.

    Threads: one at a time.
    """

    def __init__(self, path: Path, now_ns: int, history_ns: int = LEAST_HISTORY, *, uid: int | None = None) -> None:
        """OSError for what is no plain file of that user (None: this one), PerfError for what is no segment."""
        self.path = path
        fd = open_segment(path, uid)
        try:
            self.inode = os.fstat(fd).st_ino
            self.reader = Reader(path, records=False, fd=fd)
        finally:
            os.close(fd)
        self.history_ns = max(history_ns, LEAST_HISTORY)
        self.info: Info = self.reader.info
        self.time = now_ns  # of the last reading
        self.start = min(self.info.start_ns, now_ns)
        self.kept: deque[Kept] = deque([Kept(self.start, 0, 0)])  # when it began all counts were 0
        self.series: dict[int, Series] = {}
        self.calls = self.errors = 0  # altogether
        self.recent = 0  # calls that ended between the last two readings
        self.open_count = 0
        self.open: list[Record] = []  # the oldest, and those around them
        self.usage: Usage | None = None
        self.cpu: float | None = None  # of one core, between the last two readings
        self.ended: int | None = None  # when it was first seen to be dead
        self._take()
        self.seen_alive = self.ended is None

    def close(self) -> None:
        self.reader.close()

    # ---- reading ----

    def refresh(self, now_ns: int, pid: int | None = None) -> None:
        """Take a reading; of the time of the last one there is one already. pid: the process's number here, for what
        the system says of it."""
        elapsed = now_ns - self.time
        if elapsed > 0:
            self.time = now_ns
            self.reader.refresh(records=False)
            self._take()
        self._ask_system(pid, elapsed)

    def _take(self) -> None:
        before = self.calls
        self._count()
        if not self.info.alive and self.ended is None:
            self.ended = self.time
            self.reader.refresh(records=False)  # what it did between that reading and its end
            self._count()
        self.recent = max(0, self.calls - before)
        self.open_count = self.reader.open_count
        self.open = self.reader.open_spans(OPEN_KEPT) if self.open_count else []
        self._keep()

    def _count(self) -> None:
        self.info = self.reader.info
        self.start = min(self.info.start_ns, self.time)
        self.calls = self.errors = 0
        for name in self.reader.names:
            if name.kind.is_operation or name.kind in (Kind.TIMING, Kind.COUNTER, Kind.GAUGE):
                self._take_name(name)

    def _take_name(self, name: Name) -> None:
        series = self.series.get(name.number)
        totals = self.reader.totals(name)
        if series is None:
            if totals == NOTHING.totals:
                return
            series = self.series[name.number] = Series(name)
        if totals != series.now.totals:
            timed = name.kind not in (Kind.COUNTER, Kind.GAUGE)
            series.take(totals, self.reader.buckets(name) if timed else NOTHING.buckets, self.time)
        if name.kind.is_operation:
            self.calls += totals.count
            self.errors += totals.errors

    def _keep(self) -> None:
        """Keep this reading unless it comes too soon after the last that was kept."""
        if self.time - self.kept[-1].time < self.history_ns // MARKS:
            return
        horizon = self.time - self.history_ns
        self.kept.append(Kept(self.time, self.calls, self.errors))
        while len(self.kept) > 2 and self.kept[1].time <= horizon:
            self.kept.popleft()
        for series in self.series.values():
            series.mark(horizon)

    def _ask_system(self, pid: int | None, elapsed: int) -> None:
        before = self.usage
        self.usage = usage_of(pid) if pid and self.info.alive else None
        self.cpu = None
        if before and self.usage and elapsed > 0:
            self.cpu = max(0.0, self.usage.cpu - before.cpu) * SECOND / elapsed

    # ---- who it is ----

    @property
    def pid(self) -> int:
        return self.info.pid

    @property
    def program(self) -> str:
        return self.info.service or self.info.command or "process"

    @property
    def state(self) -> str:
        """ "running", "finished", or "killed" when it never came to its end."""
        return "running" if self.info.alive else "finished" if self.info.finished else "killed"

    @property
    def until(self) -> int:
        """Up to when open spans lasted: now, or the last sign of life."""
        return self.time if self.info.alive else max([self.info.latest_ns, *(record.start for record in self.open)])

    def age(self, record: Record) -> float:
        """How long an open span has lasted, in seconds."""
        return max(0, self.until - record.start) / 1e9

    @property
    def activity(self) -> int:
        """What decides who is shown first when there are many."""
        return self.recent + self.open_count

    # ---- windows ----

    def begin(self, window_ns: int | None) -> int:
        """When the window begins: with the first reading in it, or, when there is none, the last one before it.
        None: when the process began."""
        if window_ns is None:
            return self.start
        earliest = self.time - window_ns - int(window_ns * SLACK)
        inside = (kept.time for kept in self.kept if earliest <= kept.time < self.time)
        before = (kept.time for kept in reversed(self.kept) if kept.time < self.time)
        return next(inside, next(before, self.start))

    def seconds(self, window_ns: int | None) -> float:
        """How long the window really is."""
        return max(0, self.time - self.begin(window_ns)) / 1e9

    def _row(self, series: Series, begin: int) -> Row:
        seconds = max(0, self.time - begin) / 1e9
        return row_between(series.name, series.now, _state(series, begin, self.start), seconds)

    def rows(self, kind: Kind | None, window_ns: int | None) -> list[Row]:
        """Operations (None), or metrics of a kind, with what they did in the window."""
        begin = self.begin(window_ns)
        return [self._row(series, begin) for series in self._of(kind)]

    def _of(self, kind: Kind | None) -> Iterator[Series]:
        for series in self.series.values():
            if series.name.kind is kind or (kind is None and series.name.kind.is_operation):
                yield series

    def operations(self, window_ns: int | None) -> list[Operation]:
        """Everything that calls are made of, also what only goes on now."""
        begin = self.begin(window_ns)
        going_on: dict[tuple[Kind, str], int] = {}
        for record in self.open:
            going_on[record.kind, record.name] = going_on.get((record.kind, record.name), 0) + 1
        found = []
        for series in self._of(None):
            totals = series.now.totals
            going = going_on.pop((series.name.kind, series.name.text), 0)
            found.append(Operation(self._row(series, begin), totals.count, totals.errors, going))
        for (kind, text), count in going_on.items():
            nothing = row_between(Name(0, kind, text), NOTHING, NOTHING, 0.0)
            found.append(Operation(nothing, 0, 0, count))
        return found

    def summary(self, window_ns: int | None) -> Summary:
        begin = self.begin(window_ns)
        seconds = max(0, self.time - begin) / 1e9
        calls = errors = 0
        most, busiest = 0.0, None
        for series in self._of(None):
            now, before = series.now.totals, _state(series, begin, self.start).totals
            calls += max(0, now.count - before.count)
            errors += max(0, now.errors - before.errors)
            spent = now.sum - before.sum
            if now.count > before.count and (busiest is None or spent > most):
                most, busiest = spent, series
        return Summary(
            calls=calls,
            errors=errors,
            per_second=calls / seconds if seconds else 0.0,
            errors_per_second=errors / seconds if seconds else 0.0,
            busiest=self._row(busiest, begin) if busiest else None,
        )

    def _intervals(self) -> list[tuple[Kept, Kept]]:
        """From one reading that was kept to the next; without all that was before anybody looked."""
        found = list(zip(self.kept, list(self.kept)[1:], strict=False))
        if found and found[0][0].time <= self.start and found[0][1].time - self.start > YOUNG:
            del found[0]
        return found

    def ticks(self) -> list[Tick]:
        """Calls per second over the last minute or more, reading by reading, oldest first."""
        return [Tick(b.time, (b.calls - a.calls) * SECOND / (b.time - a.time), None) for a, b in self._intervals()]

    def ticks_of(self, kind: Kind, name: str) -> list[Tick]:
        """The same of one operation, with P95."""
        series = next((each for each in self._of(None) if (each.name.kind, each.name.text) == (kind, name)), None)
        found = []
        for a, b in self._intervals():
            before, now = (_state(series, kept.time, self.start) if series else NOTHING for kept in (a, b))
            calls = max(0, now.totals.count - before.totals.count)
            p95 = quantiles(now.buckets, before.buckets, [0.95])[0] / 1e9 if calls else None
            found.append(Tick(b.time, calls * SECOND / (b.time - a.time), p95))
        return found

    # ---- metrics ----

    def metrics(self, window_ns: int | None) -> tuple[dict[str, int], dict[str, float]]:
        """What counters counted in the window, and what gauges say now."""
        begin = self.begin(window_ns)
        counters = {
            series.name.text: max(0, series.now.totals.value - _state(series, begin, self.start).totals.value)
            for series in self._of(Kind.COUNTER)
        }
        values = {series.name.text: series.now.totals.gauge for series in self._of(Kind.GAUGE)}
        return counters, {name: value for name, value in values.items() if value is not None}

    def caches(self, window_ns: int | None) -> list[Cache]:
        """What caches did in the window; entries and bytes are those of now."""
        return find_caches(*self.metrics(window_ns), self._timings(window_ns))

    def batchers(self, window_ns: int | None) -> list[Batcher]:
        """What batchers did in the window."""
        return find_batchers(*self.metrics(window_ns), self._timings(window_ns))

    def _timings(self, window_ns: int | None) -> Iterable[Row]:
        return [row for row in self.rows(Kind.TIMING, window_ns) if row.calls]

    # ---- open spans ----

    def parents(self, record: Record) -> list[Record]:
        """The open spans around an open span, outermost first."""
        known = {each.id: each for each in self.open if each.id != record.id}
        found: list[Record] = []
        at = known.pop(record.parent, None)
        while at is not None:  # each once: a damaged file may have circles
            found.append(at)
            at = known.pop(at.parent, None)
        return found[::-1]

    def innermost(self) -> list[Record]:
        """Open spans that no other open span is inside of: where it is now. Oldest first."""
        around = {record.parent for record in self.open}
        return [record for record in self.open if record.id not in around]


def _state(series: Series, time: int, start: int) -> Seen:
    """What had been counted then; when the process began it was nothing."""
    return NOTHING if time <= start else series.at(time)
