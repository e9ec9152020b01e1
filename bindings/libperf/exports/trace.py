"""What every export starts from: the spans of a recording as columns, each with its parent, and what lies beside them.

Spans are columns, for there may be millions: one takes about 200 bytes, with its place among the ids, and what is attached to
it. Samples and scheduler events are read when they are asked for, and never all of them at once.
"""

import marshal
import math
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from .._core import ffi, lib
from ..events import ActorKind, Code, Event, read_events
from ..names import Kind
from ..reader import Info, Name, Reader
from ..samples import Sample, read_samples

__all__ = ["OPEN", "STATUS", "Log", "Spans", "Trace"]

BATCH = 1024  # records taken over at a time
RECORD = struct.Struct("=4I6Q2I448x")  # perf_record without its attributes
OPEN = 3  # status of a span that had not ended
STATUS = ("ok", "error", "cancelled", "open")
NO_PARENT = -1  # a root, or the parent is not among these spans: overwritten, or in another process


class Log(NamedTuple):
    """A line that a span wrote."""

    time: int
    level: int
    message: str
    span: int  # its row; NO_PARENT: not among these
    thread: int
    task: int


class Spans:
    """Columns; a row is a span. Times: nanoseconds of the monotonic clock."""

    def __init__(self) -> None:
        self.start, self.end, self.id, self.parent_id = array("Q"), array("Q"), array("Q"), array("Q")
        self.name, self.task, self.thread, self.trace = array("I"), array("I"), array("I"), array("I")
        self.status = array("B")
        self.parent = array("q")  # row; filled in by resolve()
        self.trace_ids: dict[int, int] = {}  # to the number in `trace`
        self.row: dict[int, int] = {}  # of an id
        self._attributes = array("Q")  # where they end in the heap
        self._heap = bytearray()

    def __len__(self) -> int:
        return len(self.start)

    def add(
        self,
        *,
        start: int,
        end: int,
        id: int,
        parent: int,
        name: int,
        status: int = 0,
        task: int = 0,
        thread: int = 0,
        trace_id: int = 0,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """`name` is a number of the trace's names. A span that ends before it begins has no length."""
        self.start.append(start)
        self.end.append(max(start, end))
        self.id.append(id)
        self.parent_id.append(parent)
        self.name.append(name)
        self.status.append(min(status, OPEN))
        self.task.append(task)
        self.thread.append(thread)
        self.trace.append(self.trace_ids.setdefault(trace_id, len(self.trace_ids)))
        self._heap += marshal.dumps(attributes) if attributes else b""
        self._attributes.append(len(self._heap))

    def attributes(self, row: int) -> dict[str, Any]:
        begin = self._attributes[row - 1] if row else 0
        end = self._attributes[row]
        return dict(marshal.loads(memoryview(self._heap)[begin:end])) if end > begin else {}

    def resolve(self) -> None:
        """Find each span's parent, when all are there."""
        self.row = row = {id: row for row, id in enumerate(self.id)}
        get = row.get
        self.parent = array("q", (get(id, NO_PARENT) if id else NO_PARENT for id in self.parent_id))

    def in_order(self) -> list[int]:
        """The rows by their begin; of spans that begin together the longest first, and parents before children."""
        # Rows lie in the order of their ends, so of two with the same times the later one is the outer.
        rows = sorted(range(len(self) - 1, -1, -1), key=self.end.__getitem__, reverse=True)
        rows.sort(key=self.start.__getitem__)
        return rows


class Trace:
    """One recording, for exporters. Made by Trace.read()."""

    def __init__(
        self,
        info: Info,
        names: list[Name],
        spans: Spans,
        logs: list[Log] | None = None,
        *,
        lost: int = 0,
        counters: dict[str, float] | None = None,
        samples: Callable[[], Iterable[Sample]] = tuple,
        events: Callable[[], Iterable[Event]] = tuple,
    ) -> None:
        self.info = info
        self.names = names
        self.spans = spans
        self.logs = logs or []
        self.lost = lost  # records that were overwritten before they were read
        self.counters = counters or {}  # and gauges: their last values
        self.samples = samples
        self.events = events
        self.begin = min(info.start_ns, min(spans.start)) if len(spans) else info.start_ns
        self.end = max(self.begin, max(spans.end)) if len(spans) else max(info.start_ns, info.latest_ns)

    @classmethod
    def read(cls, reader: Reader) -> "Trace":
        """Everything that a reader's file holds now, also when the reader has been read already."""
        path = reader.path
        with Reader(path) as fresh:
            names, info = fresh.names, fresh.info
            logs: list[Log] = []
            spans = _read_records(fresh, logs)
            now = max(info.latest_ns, lib.perf_clock_now_ns()) if info.alive else info.latest_ns
            _read_open(fresh, spans, now)
            spans.resolve()
            row = spans.row.get
            logs = [log._replace(span=row(log.span, NO_PARENT)) for log in logs]
            counters = dict(_counters(fresh))
            lost = fresh.lost

        def samples() -> Iterator[Sample]:
            with Reader(path) as again:
                yield from read_samples(again)

        def events() -> Iterator[Event]:
            with Reader(path) as again:
                yield from read_events(again)

        return cls(info, names, spans, logs, lost=lost, counters=counters, samples=samples, events=events)

    # ---- what rows are called ----

    def name_of(self, number: int) -> Name:
        return self.names[number] if number < len(self.names) else Name(number, Kind.SPAN, "(other)")

    def label(self, number: int) -> str:
        """A name as what_if() has it: "llm:plan"; of a function only "load"."""
        name = self.name_of(number)
        return name.text if name.kind is Kind.SPAN else f"{name.kind.name.lower()}:{name.text}"

    def trace_id(self, row: int) -> int:
        return self._trace_ids[self.spans.trace[row]]

    @cached_property
    def _trace_ids(self) -> list[int]:
        return list(self.spans.trace_ids)

    def thread_name(self, thread: int) -> str:
        return "main thread" if thread == self.info.pid else f"thread {thread}"

    @cached_property
    def thread_of_block(self) -> dict[int, int]:
        """Whose ring it is, as far as spans tell: an event and a sample only know their ring."""
        found: dict[int, int] = {}
        row, thread = self.spans.row.get, self.spans.thread
        for event in self.events():
            if event.code == Code.THREAD and event.arg == ActorKind.MAIN:
                found[event.block] = self.info.pid
            elif event.code == Code.SPAN_END and event.block not in found and (ended := row(event.key)) is not None:
                found[event.block] = thread[ended]
        for sample in self.samples():
            if sample.thread:
                found[sample.block] = sample.thread
            elif sample.block not in found and (current := row(sample.span)) is not None:
                found[sample.block] = thread[current]
        return found

    def block_name(self, block: int) -> str:
        """The thread whose ring it is, as a name."""
        thread = self.thread_of_block.get(block)
        return f"thread of ring {block}" if thread is None else self.thread_name(thread)

    @property
    def title(self) -> str:
        """What the program is called."""
        info = self.info
        return info.service or info.command.rpartition("/")[2] or "process"

    @property
    def started_at(self) -> int:
        """Nanoseconds since 1970 at `begin`."""
        return self.begin + self.info.wall_offset_ns

    @property
    def notes(self) -> list[str]:
        """What is missing, for people."""
        return [f"{self.lost:,} records were overwritten before they were read"] if self.lost else []


def _read_records(reader: Reader, logs: list[Log]) -> Spans:
    """Finished spans as rows; log lines, with the id of their span, into `logs`."""
    spans = Spans()
    batch = ffi.new("perf_record[]", BATCH)
    raw = memoryview(ffi.buffer(batch))
    add, span_type = spans.add, lib.PERF_RECORD_SPAN
    while count := lib.perf_reader_records(reader._get(), batch, BATCH):
        for i, fields in enumerate(RECORD.iter_unpack(raw[: count * RECORD.size])):
            type_, status, name, attached, start, end, id_, parent, hi, lo, task, thread = fields
            attributes = reader._attributes(batch + i, attached) if attached else None
            if type_ == span_type:
                add(
                    start=start,
                    end=end,
                    id=id_,
                    parent=parent,
                    name=name,
                    status=status,
                    task=task,
                    thread=thread,
                    trace_id=hi << 64 | lo,
                    attributes=attributes,
                )
            else:
                message = str((attributes or {}).get("message", ""))
                logs.append(Log(start, status, message, parent, thread, task))
    return spans


def _read_open(reader: Reader, spans: Spans, now: int) -> None:
    """Open spans end now. The newest first, so that in_order() finds the outer one later, as among those that ended."""
    numbers = {(name.kind, name.text): name.number for name in reader.names}
    for record in reversed(reader.open_spans()):
        spans.add(
            start=record.start,
            end=now,
            id=record.id,
            parent=record.parent,
            name=numbers.get((record.kind, record.name), len(numbers)),
            status=OPEN,
            task=record.task,
            thread=record.thread,
            trace_id=record.trace_id,
            attributes=record.attributes,
        )


def _counters(reader: Reader) -> Iterator[tuple[str, float]]:
    for name in reader.names:
        if name.kind is Kind.COUNTER:
            if value := reader.totals(name).value:
                yield name.text, value
        elif name.kind is Kind.GAUGE:
            gauge = reader.totals(name).gauge
            if gauge is not None and math.isfinite(gauge):
                yield name.text, gauge
