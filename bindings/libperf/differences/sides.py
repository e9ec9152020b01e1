"""The two sides of a comparison: what each run says of each operation, wherever it was recorded."""

import os
import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Union

from .._core import ffi, lib
from ..errors import CorruptError, InvalidError, NotFoundError, check
from ..metrics import Histogram, to_ns
from ..names import ALLOCATED_BLOCKS, ALLOCATED_BYTES, Kind
from ..reader import Name, Reader, find_segment
from ..reporting.caches import find_caches

__all__ = ["Calls", "Key", "Operation", "Run", "Side", "Source", "read_side"]

Times = Mapping[str, Histogram | Iterable[float]]
Source = Union[str, "os.PathLike[str]", int, Reader, Times]

TIMES = "times"  # the label of a run that is no file
TAIL = 0.99
LEAST_TAIL = 100  # calls: with fewer P99 is the slowest of them
BATCH = 1024  # records taken over at a time
RECORD = struct.Struct("=4I6Q2I448x")  # perf_record without its attributes


class Key(NamedTuple):
    """A name: `kind` is that of an operation, "timing", or "cache" (then `name` ends in its tier)."""

    kind: str
    name: str


@dataclass(slots=True)
class Calls:
    """Single calls, as far as there are records of them: what tells whether they hang together."""

    start: "array[int]" = field(default_factory=lambda: array("Q"))
    duration: "array[int]" = field(default_factory=lambda: array("Q"))
    wrong: "array[int]" = field(default_factory=lambda: array("B"))

    def inflation(self) -> tuple[float, float, float]:
        """So many calls tell as much as one that is independent: of a shift, of the tail, of errors. 1 where too few
        are known to say."""
        count = len(self.start)
        if count < lib.PERF_REGRESSION_RECORDS:
            return 1.0, 1.0, 1.0
        out = ffi.new("perf_dependence *")
        code = lib.perf_regression_dependence_blocking(
            ffi.from_buffer("uint64_t[]", self.start),
            ffi.from_buffer("uint64_t[]", self.duration),
            ffi.from_buffer("uint8_t[]", self.wrong),
            count,
            TAIL,
            ffi.NULL,
            out,
        )
        check(code, f"how {count:,} calls hang together")
        return out.shift, out.tail, out.wrong


@dataclass(slots=True)
class Operation:
    """What one run says of one name. Durations in seconds."""

    calls: int
    wrong: int = 0  # errors; of a cache misses
    cancelled: int = 0
    p50: float = 0.0
    p99: float = 0.0
    quantities: dict[str, int] = field(default_factory=dict)
    histogram: Callable[[], Histogram] | None = None  # while the run is open
    single: Calls | None = None


@dataclass(slots=True)
class Run:
    """One run of the program."""

    label: str
    operations: dict[Key, Operation]
    began: float = 0.0  # seconds since 1970; 0: not known
    losses: dict[str, int] = field(default_factory=dict)

    @property
    def counted_memory(self) -> bool:
        return any(ALLOCATED_BYTES in each.quantities for each in self.operations.values())

    def forget_memory(self) -> None:
        for each in self.operations.values():
            for name in (ALLOCATED_BYTES, ALLOCATED_BLOCKS):
                each.quantities.pop(name, None)


@dataclass(slots=True)
class Side:
    """One or several runs."""

    runs: list[Run]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(run.label for run in self.runs)

    @property
    def keys(self) -> list[Key]:
        """Every name, as they first come."""
        return list(dict.fromkeys(key for run in self.runs for key in run.operations))

    def of(self, key: Key) -> list[Operation]:
        """The name in those runs that have it."""
        return [run.operations[key] for run in self.runs if key in run.operations]


def read_side(sources: "Source | Sequence[Source]", what: str, stack: ExitStack) -> Side:
    """One source, or several: of one run its distributions, too, as long as the stack is open. `what`: "old" or "new",
    for messages."""
    several = isinstance(sources, Sequence) and not isinstance(sources, str)
    every = [each for source in (sources if several else [sources]) for each in _spread(source, what)]  # type: ignore[union-attr]
    if not every:
        raise InvalidError(f"{what}={sources!r}: nothing to compare; give a trace file, a process, or times by name")
    alone = len(every) == 1
    return Side([_read(source, what, stack, alone) for source in every])


def _spread(source: Any, what: str) -> list[Any]:
    """A folder is what is in it."""
    if not isinstance(source, (str, os.PathLike)) or not os.path.isdir(source):  # noqa: PTH112
        return [source]
    found = sorted(Path(source).glob("*.perf"))
    if not found:
        raise NotFoundError(
            f"{what}: no *.perf in the folder {os.fspath(source)!r}; make them by `libperf run --trace`"
        )
    return found


def _read(source: Any, what: str, stack: ExitStack, alone: bool) -> Run:
    if isinstance(source, Mapping):
        return _from_times(source, what)
    if isinstance(source, Reader):
        source = source.path  # a reader of our own: reading takes records away
    elif isinstance(source, int) and not isinstance(source, bool):
        source = find_segment(source)
    elif not isinstance(source, (str, os.PathLike)):
        raise InvalidError(
            f"{what}={source!r} is nothing to compare: give a trace file, the id of a process, a Reader, or times by name"
        )
    reader = _open(source)
    if alone:
        stack.enter_context(reader)
        return _from_reader(reader, True)
    with reader:
        return _from_reader(reader, False)


def _open(source: "str | os.PathLike[str] | None") -> Reader:
    try:
        return Reader(source)
    except CorruptError:
        if source is not None and _is_json(source):
            raise InvalidError(
                f"{os.fspath(source)!r} is JSON, which has percentiles but no distributions: keep the traces of both "
                "runs by `libperf run --trace FILE`, and compare those"
            ) from None
        raise


def _is_json(path: "str | os.PathLike[str]") -> bool:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(64).lstrip()[:1] in (b"{", b"[")


# ---- from a segment ----


def _from_reader(reader: Reader, alone: bool) -> Run:
    info = reader.info
    single = _single_calls(reader) if alone else {}
    operations: dict[Key, Operation] = {}
    counters: dict[str, int] = {}
    for name in reader.names:
        if name.kind.is_operation or name.kind is Kind.TIMING:
            operation = _operation(reader, name, alone)
            if operation.calls:
                operation.single = single.get(name.number)
                operations[Key(name.kind.name.lower(), name.text)] = operation
        elif name.kind is Kind.COUNTER:
            counters[name.text] = reader.totals(name).value
    for cache in find_caches(counters, {}, ()):
        for tier in cache.tiers:
            if asked := tier.hits + tier.misses:
                operations[Key("cache", f"{cache.name} {tier.name}")] = Operation(asked, tier.misses)
    label = "this process" if reader.path is None else str(reader.path)
    return Run(label, operations, (info.start_ns + info.wall_offset_ns) / 1e9, info.losses)


def _operation(reader: Reader, name: Name, alone: bool) -> Operation:
    totals = reader.totals(name)
    if not totals.count:
        return Operation(0)
    with reader.histogram(name) as histogram:
        p50, p99 = histogram.quantiles((0.5, TAIL))
    return Operation(
        totals.count,
        totals.errors,
        totals.cancelled,
        p50,
        p99,
        dict(totals.quantities),
        (lambda: reader.histogram(name)) if alone else None,
    )


def _single_calls(reader: Reader) -> dict[int, Calls]:
    """By the number of the name. Only what is needed: a trace may hold millions."""
    found: dict[int, Calls] = {}
    batch = ffi.new("perf_record[]", BATCH)
    span = lib.PERF_RECORD_SPAN
    while count := lib.perf_reader_records(reader._get(), batch, BATCH):
        raw = ffi.buffer(batch, count * RECORD.size)
        for type_, status, name, _, start, end, *_ in RECORD.iter_unpack(raw):
            if type_ != span or not end:
                continue
            calls = found.get(name)
            if calls is None:
                calls = found[name] = Calls()
            calls.start.append(start)
            calls.duration.append(max(0, end - start))
            calls.wrong.append(status == 1)
    return found


# ---- from times in memory ----


def _from_times(times: Times, what: str) -> Run:
    operations = {}
    for name, values in times.items():
        if not isinstance(name, str):
            raise InvalidError(f"{what}: the name {name!r} is no text")
        operation = _timed(name, values, what)
        if operation.calls:
            operations[Key("span", name)] = operation
    return Run(TIMES, operations)


def _timed(name: str, values: "Histogram | Iterable[float]", what: str) -> Operation:
    single = None
    if isinstance(values, Histogram):
        histogram = values
    else:
        try:
            durations = array("Q", (to_ns(value, "a duration") for value in values))
        except (TypeError, ValueError) as error:
            raise InvalidError(f"{what}[{name!r}]: {error}; give seconds, or a libperf.Histogram") from None
        histogram = Histogram()
        histogram.record_many_ns(durations)
        single = Calls(array("Q", range(len(durations))), durations, array("B", bytes(len(durations))))
    p50, p99 = histogram.quantiles((0.5, TAIL))
    return Operation(histogram.count, p50=p50, p99=p99, histogram=histogram.copy, single=single)
