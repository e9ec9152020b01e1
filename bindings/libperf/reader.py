"""Reading segments: of this process, of a living one, of a dead one, or of a trace file."""

import os
import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ._core import ffi, lib
from ._handle import Handle
from .errors import ClosedError, NotFoundError, check, text_to_bytes
from .folders import folders, segments
from .metrics import Histogram
from .names import Kind

__all__ = ["Info", "Name", "Reader", "Record", "Totals", "find_segment"]

BATCH = 1024  # records taken over at a time
OPEN_LOOKED_AT = 16_384  # spans, half a kilobyte each, when only the oldest are wanted
DESCRIPTORS = Path("/proc/self/fd")
RECORD = struct.Struct("=4I6Q2I")  # the fixed part of perf_record


class Name(NamedTuple):
    """An interned name of the segment."""

    number: int
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything counted under one name since the process started. Durations in seconds."""

    count: int
    errors: int
    cancelled: int
    sum: float
    min: float
    max: float
    value: int  # of a counter
    gauge: float | None
    quantities: dict[str, int]


class Record(NamedTuple):
    """One finished span, one open span (`end` is None) or one log line. Times: nanoseconds of the monotonic clock."""

    type: str  # "span" or "log"
    name: str
    kind: Kind
    status: int  # of a span: 0 ok, 1 error, 2 cancelled; of a log line: its level
    start: int
    end: int | None
    id: int
    parent: int
    trace_id: int
    task: int
    thread: int
    attributes: dict[str, Any]


class Info(NamedTuple):
    """Who wrote the segment, and what it could not keep."""

    pid: int
    service: str
    command: str
    version: str
    start_ns: int
    latest_ns: int
    wall_offset_ns: int
    finished: bool
    alive: bool
    clock: str
    threads: int
    damaged: int
    used_bytes: int
    max_bytes: int
    dropped_records: int
    dropped_values: int
    dropped_attributes: int
    cut_texts: int
    names_over: int
    spans_unseen: int
    frames_over: int

    @property
    def losses(self) -> dict[str, int]:
        """What was not kept, by what it was; empty when nothing was lost."""
        kept = ("dropped_records", "dropped_values", "dropped_attributes", "cut_texts", "names_over", "spans_unseen")
        return {field: count for field in (*kept, "frames_over", "damaged") if (count := getattr(self, field))}


def find_segment(pid: int) -> Path:
    """The newest segment of a process, dead or alive; NotFoundError says where it was looked for."""
    try:
        uid = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        uid = os.geteuid()
    found = [each.path for each in segments(uid=uid) if each.pid == pid]
    if found:
        return max(found, key=_changed)
    hint = "is it running with libperf, under the same LIBPERF_DIR?"
    places = " or ".join(map(str, folders(uid=uid)))
    if not places:
        raise NotFoundError(f"no process of user {uid} has recorded anything yet: {hint}")
    raise NotFoundError(f"no segment of process {pid} in {places}: {hint}")


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # swept meanwhile
        return 0


class Reader(Handle):
    """A consistent picture of a segment, taken at `Reader()` and at each `refresh()`.

    Reader()        this process
    Reader(path)    a segment or trace file; records=False: as of refresh()
                    fd=: a descriptor of it, which stays the caller's; `path` then only says which one it is
    Threads: one at a time. The writer is never disturbed.
    """

    __slots__ = ("_names", "path")

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, records: bool = True, fd: int | None = None
    ) -> None:
        out = ffi.new("perf_reader **")
        if path is None:
            check(lib.perf_reader_open_self_blocking(ffi.NULL, out), "reading this process's own segment")
        else:
            open_ = lib.perf_reader_open_blocking if records else lib.perf_reader_open_counts_blocking
            where = path if fd is None or not DESCRIPTORS.exists() else DESCRIPTORS / str(fd)
            check(open_(text_to_bytes(where), ffi.NULL, out), f"reading {os.fspath(path)!r}")
        super().__init__(out[0], lib.perf_reader_close)
        self.path = None if path is None else Path(path)
        self._names: list[Name] = []

    def refresh(self, *, records: bool | Literal["new"] = True) -> None:
        """Take a new picture. After an error the old one stays.

        records=False: one without finished spans and log lines, for a small part of the cost, as often as you like.
        records() finds nothing in it, and misses nothing by it: it goes on with the next whole picture.
        records="new": the same, and those that records() has not given out; forget_news() when it has.
        """
        if records == "new":
            code = lib.perf_reader_refresh_news_blocking(self._get())
        elif records:
            code = lib.perf_reader_refresh_blocking(self._get())
        else:
            code = lib.perf_reader_refresh_counts_blocking(self._get())
        if code == lib.PERF_ERR_CLOSED:
            raise ClosedError("this Reader() was made before a fork, for the parent process: make a new one here")
        check(code, f"reading {self.path or 'this process'}")
        if self._names and lib.perf_reader_name(self._get(), len(self._names) - 1, ffi.NULL) == ffi.NULL:
            self._names = []  # fewer than before: no longer the same file

    def forget_news(self) -> None:
        """Give back the memory of new records; all that was counted is still there."""
        lib.perf_reader_forget_news(self._get())

    @property
    def info(self) -> Info:
        raw = ffi.new("perf_reader_info *")
        check(lib.perf_reader_info_get(self._get(), raw), "info")
        stats = raw.stats
        return Info(
            pid=raw.pid,
            service=_text(raw.service),
            command=_text(raw.command),
            version=_text(raw.version),
            start_ns=raw.start_ns,
            latest_ns=raw.latest_ns,
            wall_offset_ns=raw.wall_offset_ns,
            finished=bool(raw.finished),
            alive=bool(raw.alive),
            clock="tsc" if raw.clock else "monotonic",
            threads=raw.threads,
            damaged=raw.damaged,
            used_bytes=stats.used_bytes,
            max_bytes=stats.max_bytes,
            dropped_records=stats.dropped_records,
            dropped_values=stats.dropped_values,
            dropped_attributes=stats.dropped_attributes,
            cut_texts=stats.cut_texts,
            names_over=stats.names_over,
            spans_unseen=stats.spans_unseen,
            frames_over=stats.frames_over,
        )

    @property
    def names(self) -> list[Name]:
        """Every name, in the order of their numbers."""
        self._names.extend(self._read_names(len(self._names)))  # a name stays what it is
        return self._names

    def _read_names(self, number: int) -> Iterator[Name]:
        kind = ffi.new("perf_kind *")
        while (text := lib.perf_reader_name(self._get(), number, kind)) != ffi.NULL:
            yield Name(number, Kind(kind[0]), _text(text))
            number += 1

    def totals(self, name: Name) -> Totals:
        raw = ffi.new("perf_totals *")
        check(lib.perf_reader_totals(self._get(), name.number, raw), f"totals of {name.text!r}")
        quantities = {self._name_of(raw.quantity_key[i]).text: raw.quantity_sum[i] for i in range(raw.quantities)}
        return Totals(
            count=raw.count,
            errors=raw.errors,
            cancelled=raw.cancelled,
            sum=raw.sum_ns / 1e9,
            min=raw.min_ns / 1e9,
            max=raw.max_ns / 1e9,
            value=raw.sum_ns,
            gauge=raw.gauge if raw.gauge_ns else None,
            quantities=quantities,
        )

    def histogram(self, name: Name, into: Histogram | None = None) -> Histogram:
        """The name's latencies, all threads; added to `into` when given."""
        into = into or Histogram()
        check(lib.perf_reader_histogram(self._get(), name.number, into._get()), f"histogram of {name.text!r}")
        return into

    def buckets(self, name: Name) -> "array[int]":
        """The name's latencies as what its histogram holds: nanoseconds, count, nanoseconds, count, …, smallest first.

        The first of each two is the middle of a bucket, within 0.4 %. Small enough to keep many of them.
        """
        count = lib.perf_reader_buckets(self._get(), name.number, ffi.NULL, 0)
        found = array("Q", bytes(16 * count))
        if count:
            lib.perf_reader_buckets(self._get(), name.number, ffi.from_buffer("perf_bucket[]", found), count)
        return found

    def records(self) -> Iterator[Record]:
        """Finished spans and log lines, each once: what is new since the last call."""
        batch = ffi.new("perf_record[]", BATCH)
        while count := lib.perf_reader_records(self._get(), batch, BATCH):
            for i in range(count):
                yield self._record(batch, i)

    @property
    def lost(self) -> int:
        """Records that were overwritten before records() came to them."""
        return int(lib.perf_reader_lost(self._get()))

    def open_spans(self, oldest: int | None = None) -> list[Record]:
        """The spans that were open when the picture was taken, oldest first.

        oldest: no more than that many of them, and those around them; of more than 16,384 not all are looked at.
        """
        count = self.open_count if oldest is None else min(self.open_count, OPEN_LOOKED_AT)
        batch = ffi.new("perf_record[]", max(1, count))
        count = min(count, lib.perf_reader_open_spans(self._get(), batch, count))
        chosen = range(count) if oldest is None or count <= oldest else _oldest(batch, count, oldest)
        return sorted((self._record(batch, i) for i in chosen), key=lambda record: record.start)

    @property
    def open_count(self) -> int:
        """How many spans were open."""
        return int(lib.perf_reader_open_spans(self._get(), ffi.NULL, 0))

    def _name_of(self, number: int) -> Name:
        names = self._names if number < len(self._names) else self.names
        return names[number] if number < len(names) else Name(number, Kind.SPAN, "(other)")

    def _record(self, batch: Any, index: int) -> Record:
        raw = ffi.buffer(batch + index)
        type_, status, number, attributes, start, end, id_, parent, hi, lo, task, thread = RECORD.unpack_from(raw)
        name = self._name_of(number)
        return Record(
            "log" if type_ == lib.PERF_RECORD_LOG else "span",
            name.text,
            name.kind,
            status,
            start,
            end or None,
            id_,
            parent,
            hi << 64 | lo,
            task,
            thread,
            self._attributes(batch + index, attributes) if attributes else {},
        )

    def _attributes(self, record: Any, count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        raw = ffi.new("perf_attribute *")
        for i in range(count):
            if not lib.perf_record_attribute(record, i, raw):
                break
            value: Any
            if raw.type == lib.PERF_ATTRIBUTE_INT:
                value = raw.int_value
            elif raw.type == lib.PERF_ATTRIBUTE_FLOAT:
                value = raw.float_value
            elif raw.type == lib.PERF_ATTRIBUTE_NAME:
                value = self._name_of(raw.name).text
            else:
                value = bytes(ffi.buffer(raw.text, raw.length)).decode("utf-8", "replace")
            found[self._name_of(raw.key).text if raw.key else "message"] = value
        return found


def _oldest(batch: Any, count: int, wanted: int) -> Iterable[int]:
    """Places of the oldest records of a batch, and of the parents that they have in it."""
    size = ffi.sizeof("perf_record")
    raw = ffi.buffer(batch, count * size)
    fixed = [RECORD.unpack_from(raw, i * size) for i in range(count)]
    place = {record[6]: i for i, record in enumerate(fixed)}
    chosen: set[int] = set()
    for i in sorted(range(count), key=lambda i: fixed[i][4])[:wanted]:
        at: int | None = i
        while at is not None and at not in chosen:
            chosen.add(at)
            at = place.get(fixed[at][7])
    return chosen


def _text(raw: Any) -> str:
    return bytes(ffi.string(raw)).decode("utf-8", "replace")
