"""A report: what a segment says about a program, as rows. The table, the JSON and snapshot() are all made of it.

Counts, errors, sums, maxima and percentiles come from the counters, which miss nothing. Shares of the wall and the
slowest calls come from the records; when the ring has overwritten some, the report says how many.
"""

import heapq
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ..memory.report import Allocation, find_allocations
from ..names import ALLOCATED_BYTES, INPUT_TOKENS, OUTPUT_TOKENS, Kind
from ..reader import Info, Reader, Record
from .batchers import Batcher, find_batchers
from .caches import Cache, find_caches

__all__ = ["Call", "Report", "Row", "report", "snapshot"]

SCHEMA = 1  # of to_dict(): goes up when a field changes what it means; new fields do not count, none is ever removed
SLOWEST = 5
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Row:
    """One operation. Durations in seconds."""

    kind: Kind
    name: str
    calls: int
    errors: int
    cancelled: int
    total: float
    min: float
    p50: float
    p95: float
    p99: float
    max: float
    per_second: float  # calls, over the wall
    share: float  # of the wall in which at least one call was going on, 0..1
    input_tokens: int
    output_tokens: int
    quantities: dict[str, int] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        return self.total / self.calls if self.calls else 0.0

    @property
    def allocated(self) -> int:
        """Bytes, without what operations inside of it allocated; 0, too, where nobody counted."""
        return self.quantities.get(ALLOCATED_BYTES, 0)


@dataclass(frozen=True, slots=True)
class Call:
    """One call: a slow one, or one that is still open. `start` is in seconds since the first span."""

    kind: Kind
    name: str
    start: float
    duration: float
    status: str  # "ok", "error", "cancelled", "open"
    attributes: dict[str, Any]
    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a program did, from the start of its first span to the end of its last."""

    info: Info
    wall: float
    rows: list[Row]
    slowest: list[Call]
    open: list[Call]
    counters: dict[str, int]
    gauges: dict[str, float]
    timings: list[Row]
    lost: int  # records overwritten before they were read
    records: int
    allocations: list[Allocation] = field(default_factory=list)  # lines that allocated most, where that was counted

    @property
    def state(self) -> str:
        """ "running", "finished", or "killed" when the program never came to its end."""
        return "running" if self.info.alive else "finished" if self.info.finished else "killed"

    @property
    def is_empty(self) -> bool:
        """No span, and no metric."""
        return not (self.rows or self.open or self.timings or self.counters or self.gauges)

    @property
    def caches(self) -> list[Cache]:
        """What counters, gauges and timings say of caches."""
        return find_caches(self.counters, self.gauges, self.timings)

    @property
    def batchers(self) -> list[Batcher]:
        """What they say of batchers."""
        return find_batchers(self.counters, self.gauges, self.timings)

    @classmethod
    def read(cls, reader: Reader) -> "Report":
        """Make a report of everything that a reader's picture holds. Takes all its records."""
        return _Builder(reader).build()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `--json` writes it (docs/json.md). Durations in seconds."""
        info = self.info
        return {
            "schema": SCHEMA,
            "libperf": info.version,
            "program": {
                "pid": info.pid,
                "command": info.command,
                "service": info.service,
                "state": self.state,
                "started_at": (info.start_ns + info.wall_offset_ns) / 1e9,
                "clock": info.clock,
                "segment_bytes": info.used_bytes,
            },
            "wall_s": self.wall,
            "operations": [_row_dict(row) for row in self.rows],
            "slowest": [_call_dict(call) for call in self.slowest],
            "open": [_call_dict(call) for call in self.open],
            "counters": self.counters,
            "gauges": {name: _finite(value) for name, value in self.gauges.items()},
            "timings": [_row_dict(row) for row in self.timings],
            "caches": [cache.to_dict() for cache in self.caches],
            "batchers": [batcher.to_dict() for batcher in self.batchers],
            "allocations": [line.to_dict() for line in self.allocations],
            "records": self.records,
            "lost": {"records_overwritten": self.lost, **info.losses} if self.lost else dict(info.losses),
        }

    def __str__(self) -> str:
        from .table import render_text

        return render_text(self)


def _finite(value: Any) -> Any:
    """JSON knows no infinity and no NaN: they become "inf", "-inf", "nan"."""
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _row_dict(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind.name.lower(),
        "name": row.name,
        "calls": row.calls,
        "errors": row.errors,
        "cancelled": row.cancelled,
        "total_s": row.total,
        "mean_s": row.mean,
        "min_s": row.min,
        "p50_s": row.p50,
        "p95_s": row.p95,
        "p99_s": row.p99,
        "max_s": row.max,
        "calls_per_s": row.per_second,
        "share_of_wall": row.share,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "quantities": row.quantities,
    }


def _call_dict(call: Call) -> dict[str, Any]:
    return {
        "kind": call.kind.name.lower(),
        "name": call.name,
        "start_s": call.start,
        "duration_s": call.duration,
        "status": call.status,
        "attributes": {name: _finite(value) for name, value in call.attributes.items()},
        "trace_id": call.trace_id,
        "span_id": call.span_id,
    }


class _Builder:
    """Goes over the records once, then over the names once."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.info = reader.info
        self.intervals: dict[tuple[Kind, str], list[tuple[int, int]]] = defaultdict(list)
        self.slow: list[tuple[int, int, Record]] = []
        self.records = 0
        self.open = reader.open_spans()
        # what an open span has lasted so far: until now, or until the last sign of life of a dead process
        self.now = max([self.info.latest_ns, *(record.start for record in self.open)])
        if self.info.alive:
            from .._core import lib

            self.now = max(self.now, lib.perf_clock_now_ns())

    def build(self) -> Report:
        for record in self.reader.records():
            self._take(record)
        begin = min((start for spans in self.intervals.values() for start, _ in spans), default=0)
        end = max((end for spans in self.intervals.values() for _, end in spans), default=0)
        for record in self.open:
            begin = min(begin or record.start, record.start)
            end = max(end, self.now)
            self.intervals[record.kind, record.name].append((record.start, self.now))
        if self.reader.lost:
            begin = min(begin, self.info.start_ns) if begin else self.info.start_ns
        wall = (end - begin) / 1e9
        rows, timings, counters, gauges = self._totals(wall)
        return Report(
            info=self.info,
            wall=wall,
            rows=rows,
            slowest=[self._call(record, begin) for _, _, record in sorted(self.slow, reverse=True)],
            open=[self._call(record, begin) for record in self.open],
            counters=counters,
            gauges=gauges,
            timings=timings,
            lost=self.reader.lost,
            records=self.records,
            allocations=find_allocations(self.reader, counters),
        )

    def _take(self, record: Record) -> None:
        self.records += 1
        if record.type != "span" or record.end is None:
            return
        self.intervals[record.kind, record.name].append((record.start, record.end))
        if record.kind is Kind.GRAPH:  # the whole is always the slowest: it says nothing
            return
        item = (record.end - record.start, -self.records, record)
        if len(self.slow) < SLOWEST:
            heapq.heappush(self.slow, item)
        elif item > self.slow[0]:
            heapq.heapreplace(self.slow, item)

    def _call(self, record: Record, begin: int) -> Call:
        end = self.now if record.end is None else record.end
        status = "open" if record.end is None else ("ok", "error", "cancelled")[min(record.status, 2)]
        return Call(
            kind=record.kind,
            name=record.name,
            start=(record.start - begin) / 1e9,
            duration=max(0, end - record.start) / 1e9,
            status=status,
            attributes=record.attributes,
            trace_id=f"{record.trace_id:032x}",
            span_id=f"{record.id:016x}",
        )

    def _totals(self, wall: float) -> tuple[list[Row], list[Row], dict[str, int], dict[str, float]]:
        rows: list[Row] = []
        timings: list[Row] = []
        counters: dict[str, int] = {}
        gauges: dict[str, float] = {}
        for name in self.reader.names:
            if name.kind.is_operation or name.kind is Kind.TIMING:
                row = self._row(name, wall)
                if row.calls:
                    (timings if name.kind is Kind.TIMING else rows).append(row)
            elif name.kind in (Kind.COUNTER, Kind.GAUGE):
                totals = self.reader.totals(name)
                if totals.value:
                    counters[name.text] = totals.value
                if totals.gauge is not None:
                    gauges[name.text] = totals.gauge
        rows.sort(key=lambda row: (-row.share, -row.total, row.name))
        return rows, timings, counters, gauges

    def _row(self, name: Any, wall: float) -> Row:
        totals = self.reader.totals(name)
        p50 = p95 = p99 = 0.0
        if totals.count:
            with self.reader.histogram(name) as histogram:
                p50, p95, p99 = histogram.quantiles(QUANTILES)
        quantities = dict(totals.quantities)
        return Row(
            kind=name.kind,
            name=name.text,
            calls=totals.count,
            errors=totals.errors,
            cancelled=totals.cancelled,
            total=totals.sum,
            min=totals.min,
            p50=p50,
            p95=p95,
            p99=p99,
            max=totals.max,
            per_second=totals.count / wall if wall else 0.0,
            share=self._share(name.kind, name.text, totals.sum, wall),
            input_tokens=quantities.pop(INPUT_TOKENS, 0),
            output_tokens=quantities.pop(OUTPUT_TOKENS, 0),
            quantities=quantities,
        )

    def _share(self, kind: Kind, name: str, total: float, wall: float) -> float:
        if not wall:
            return 0.0
        if self.reader.lost:  # not every interval is known; calls that overlap count twice here, so this is a bound
            return min(1.0, total / wall)
        return min(1.0, _covered(self.intervals[kind, name]) / 1e9 / wall)


def _covered(intervals: list[tuple[int, int]]) -> int:
    """How long at least one of the intervals was going on."""
    covered, until = 0, 0
    for start, end in sorted(intervals):
        if end > until:
            covered += end - max(start, until)
            until = end
    return covered


def report() -> Report:
    """A report of this process up to now; `print()` shows it as a table."""
    with Reader() as reader:
        return Report.read(reader)


def snapshot() -> dict[str, Any]:
    """The same as plain data: what `libperf report --json` writes. Costs milliseconds, and no traced call waits."""
    return report().to_dict()
