"""Reading segments: of this process, of a living one, of a dead one, or of a trace file."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ._core import ffi, lib
from ._handle import Handle
from .errors import ClosedError, NotFoundError, check, text_to_bytes
from .metrics import Histogram
from .names import Kind

__all__ = ["Info", "Name", "Reader", "Record", "Totals", "find_segment"]

BATCH = 1024  # records taken over at a time
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

    @property
    def losses(self) -> dict[str, int]:
        """What was not kept, by what it was; empty when nothing was lost."""
        kept = ("dropped_records", "dropped_values", "dropped_attributes", "cut_texts", "names_over", "spans_unseen")
        return {field: count for field in (*kept, "damaged") if (count := getattr(self, field))}


def find_segment(pid: int) -> Path:
    """The newest segment of a process, dead or alive; NotFoundError says where it was looked for."""
    try:
        uid = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        uid = os.geteuid()
    out = ffi.new("char[]", lib.PERF_PATH_MAX_BYTES)
    hint = "is it running with libperf, under the same LIBPERF_DIR?"
    if lib.perf_segment_folder(uid, out, lib.PERF_PATH_MAX_BYTES):
        raise NotFoundError(f"no process of user {uid} has recorded anything yet: {hint}")
    folder = Path(os.fsdecode(ffi.string(out)))
    found = sorted(folder.glob(f"{pid}-*.perf"), key=_changed)
    if not found:
        raise NotFoundError(f"no segment of process {pid} in {folder}: {hint}")
    return found[-1]


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # swept meanwhile
        return 0


class Reader(Handle):
    """A consistent picture of a segment, taken at `Reader()` and at each `refresh()`.

    Reader()        this process
    Reader(path)    a segment or trace file
    Threads: one at a time. The writer is never disturbed.
    """

    __slots__ = ("_names", "path")

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        out = ffi.new("perf_reader **")
        if path is None:
            check(lib.perf_reader_open_self_blocking(ffi.NULL, out), "reading this process's own segment")
        else:
            check(lib.perf_reader_open_blocking(text_to_bytes(path), ffi.NULL, out), f"reading {os.fspath(path)!r}")
        super().__init__(out[0], lib.perf_reader_close)
        self.path = None if path is None else Path(path)
        self._names: list[Name] = []

    def refresh(self) -> None:
        """Take a new picture. After an error the old one stays."""
        code = lib.perf_reader_refresh_blocking(self._get())
        if code == lib.PERF_ERR_CLOSED:
            raise ClosedError("this Reader() was made before a fork, for the parent process: make a new one here")
        check(code, f"reading {self.path or 'this process'}")
        self._names = []

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
        )

    @property
    def names(self) -> list[Name]:
        """Every name, in the order of their numbers."""
        if not self._names:
            self._names = list(self._read_names())
        return self._names

    def _read_names(self) -> Iterator[Name]:
        kind = ffi.new("perf_kind *")
        number = 0
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

    def open_spans(self) -> list[Record]:
        """The spans that were open when the picture was taken, oldest first."""
        count = lib.perf_reader_open_spans(self._get(), ffi.NULL, 0)
        batch = ffi.new("perf_record[]", max(1, count))
        count = min(count, lib.perf_reader_open_spans(self._get(), batch, count))
        return sorted((self._record(batch, i) for i in range(count)), key=lambda record: record.start)

    def _name_of(self, number: int) -> Name:
        names = self.names
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


def _text(raw: Any) -> str:
    return bytes(ffi.string(raw)).decode("utf-8", "replace")
