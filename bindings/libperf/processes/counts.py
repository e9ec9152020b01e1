"""What one process has counted, as numbers that can be added up: the matter that metrics are made of.

Reading takes the segment's counters, and of its records one example a bucket; it never stops the process.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import add, le
from typing import Any, NamedTuple

from .._core import ffi, lib
from .._handle import Handle
from ..errors import check
from ..metrics import to_ns
from ..names import Kind
from ..reader import Info, Name, Reader

__all__ = ["Bounds", "Counts", "Durations", "Exemplar", "Gauge", "newer", "read_counts"]

SERIES_MAX = 20_000  # names that are kept apart in a sum over processes; later ones are counted under "(other)"
OTHER = "(other)"
EXEMPLAR_RECORDS = 1_000_000  # looked at for examples in one reading of one process: 0.1 s
EXEMPLAR_S = 60.0  # so long a slow span is kept before a newer one that was less slow
TIMED = frozenset(kind for kind in Kind if kind.is_operation or kind is Kind.TIMING)
TOTALS = struct.Struct("@6QdQ5I4Q")  # perf_totals
EXEMPLAR = struct.Struct("=5Q")  # perf_exemplar

Key = tuple[Kind, str]


class Bounds:
    """Upper bounds of buckets in seconds, ascending, without the infinite one. Each family may use some of them.

    Raises ValueError for what is no list of bounds. Immutable.
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        self.seconds = tuple(seconds)
        if not self.seconds:
            raise ValueError("buckets=() has no bound: give seconds, such as (0.1, 1, 10)")
        self.ns = tuple(to_ns(value, "bucket") for value in self.seconds)
        if self.ns[0] == 0 or self.seconds[-1] == float("inf"):
            raise ValueError(
                f"buckets={self.seconds!r}: bounds are above 0 and finite, the infinite one comes by itself"
            )
        for below, above in zip(self.ns, self.ns[1:], strict=False):
            if below >= above:
                raise ValueError(f"buckets={self.seconds!r} are not ascending: {above / 1e9} comes after {below / 1e9}")

    @cached_property
    def raw(self) -> Any:
        """For C."""
        return ffi.new("uint64_t[]", self.ns)

    @classmethod
    def parse(cls, text: str) -> "Bounds":
        """ "0.1,0.5,1", as a command line gives them."""
        return cls([float(part) for part in text.split(",")])

    def __len__(self) -> int:
        return len(self.ns)

    def merged(self, other: "Bounds") -> "Bounds":
        return Bounds(sorted({*self.seconds, *other.seconds}))

    def places(self, some: "Bounds") -> list[int]:
        """Where the bounds of another one are in this one, which has them all."""
        return [self.ns.index(ns) for ns in some.ns]


class Exemplar(NamedTuple):
    """A span that stands for its bucket. `at`: seconds since 1970, when it ended."""

    duration_ns: int
    at: float
    trace_id: str
    span_id: str


@dataclass(slots=True)
class Durations:
    """Of one operation or timing. `up_to`: how many took at most so long, for each of the bounds."""

    count: int
    errors: int
    cancelled: int
    sum_ns: int
    up_to: list[int]
    quantities: dict[str, int] = field(default_factory=dict)
    exemplars: dict[int, Exemplar] = field(default_factory=dict)  # by number of the bound; one more: above all

    def add(self, other: "Durations") -> None:
        self.count += other.count
        self.errors += other.errors
        self.cancelled += other.cancelled
        self.sum_ns += other.sum_ns
        self.up_to = list(map(add, self.up_to, other.up_to))
        for name, amount in other.quantities.items():
            self.quantities[name] = self.quantities.get(name, 0) + amount
        for place, exemplar in other.exemplars.items():
            known = self.exemplars.get(place)
            if known is None or exemplar > known:
                self.exemplars[place] = exemplar

    def is_before(self, later: "Durations") -> bool:
        """Whether `later` can be the same series at a later time."""
        return (
            self.count <= later.count
            and self.errors <= later.errors
            and self.cancelled <= later.cancelled
            and self.sum_ns <= later.sum_ns
            and all(map(le, self.up_to, later.up_to))
        )


class Gauge(NamedTuple):
    """A value, and when it was set: nanoseconds of the monotonic clock, which all processes of a machine share."""

    at_ns: int
    value: float


@dataclass(slots=True)
class Counts:
    """Everything that grows, and the gauges."""

    durations: dict[Key, Durations] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Counts") -> None:
        """Add what grows. Gauges are left alone: how they go together is somebody else's choice."""
        for (kind, name), durations in other.durations.items():
            key = kind, _bounded(name, (kind, name) in self.durations, len(self.durations))
            known = self.durations.get(key)
            if known is None:
                known = self.durations[key] = Durations(0, 0, 0, 0, [0] * len(durations.up_to))
            known.add(durations)
        for name, value in other.counters.items():
            name = _bounded(name, name in self.counters, len(self.counters))
            self.counters[name] = self.counters.get(name, 0) + value
        for what, value in other.losses.items():
            self.losses[what] = self.losses.get(what, 0) + value

    def is_before(self, later: "Counts") -> bool:
        """Whether `later` can be the same process at a later time; else the file is damaged."""
        return all(
            name in later.counters and value <= later.counters[name] for name, value in self.counters.items()
        ) and all(
            key in later.durations and durations.is_before(later.durations[key])
            for key, durations in self.durations.items()
        )


def _bounded(name: str, known: bool, count: int) -> str:
    return name if known or count < SERIES_MAX else OTHER


class _Exemplars(Handle):
    """See exemplar.h."""

    __slots__ = ()

    def __init__(self, bounds: Bounds) -> None:
        out = ffi.new("perf_exemplars **")
        check(lib.perf_exemplars_create(ffi.NULL, bounds.raw, len(bounds), out), "exemplars")
        super().__init__(out[0], lib.perf_exemplars_destroy)

    def take(self, reader: Reader) -> None:
        code = lib.perf_exemplars_take_blocking(self._get(), reader._get(), EXEMPLAR_RECORDS)
        if code != lib.PERF_ERR_NOMEM:  # then some names have none
            check(code, "exemplars")

    def of(self, number: int, classes: int, wall_offset_ns: int) -> dict[int, Exemplar]:
        raw = lib.perf_exemplars_of(self._get(), number)
        if raw == ffi.NULL:
            return {}
        buffer = ffi.buffer(raw, classes * EXEMPLAR.size)
        found = {}
        for place, id in enumerate(memoryview(buffer).cast("Q")[2::5]):  # most classes have none
            if id:
                ns, end_ns, _, hi, lo = EXEMPLAR.unpack_from(buffer, place * EXEMPLAR.size)
                at = (end_ns + wall_offset_ns) / 1e9
                found[place] = Exemplar(ns, at, f"{hi:016x}{lo:016x}", f"{id:016x}")
        return found


def read_counts(
    reader: Reader, bounds: Bounds, *, exemplars: bool = True, info: Info | None = None, before: Counts | None = None
) -> Counts:
    """What a reader's picture holds. With `exemplars` it takes the records that were not read yet, and goes on with the
    examples of `before`, what was read from the same reader the last time."""
    info = info or reader.info
    counts = Counts(losses=info.losses)
    names = reader.names
    size, width = len(names), len(bounds)
    totals, below = ffi.new("perf_totals[]", size), ffi.new("uint64_t[]", size * width)
    check(lib.perf_reader_counts(reader._get(), bounds.raw, width, size, totals, below), "counts")
    up_to = ffi.unpack(below, size * width) if size else []
    for (number, kind, text), raw in zip(names, TOTALS.iter_unpack(ffi.buffer(totals)), strict=True):
        count, errors, cancelled, sum_ns, _, _, gauge, gauge_ns, quantities, *more = raw
        if kind in TIMED:
            if count:
                at_most = up_to[number * width : number * width + width]
                used = _quantities(quantities, more, names) if quantities else {}
                _put(counts.durations, (kind, text), Durations(count, errors, cancelled, sum_ns, at_most, used))
        elif kind is Kind.COUNTER:
            if sum_ns:
                counts.counters[text] = counts.counters.get(text, 0) + sum_ns
        elif kind is Kind.GAUGE and gauge_ns:
            counts.gauges[text] = max(counts.gauges.get(text, Gauge(0, 0.0)), Gauge(gauge_ns, gauge))
    if exemplars:
        _add_exemplars(counts, reader, bounds, info, before)
    return counts


def _add_exemplars(counts: Counts, reader: Reader, bounds: Bounds, info: Info, before: Counts | None) -> None:
    known = before.durations if before else {}
    with _Exemplars(bounds) as examples:
        examples.take(reader)
        for number, kind, text in reader.names:
            if kind is Kind.TIMING or (durations := counts.durations.get((kind, text))) is None:
                continue
            durations.exemplars = examples.of(number, len(bounds) + 1, info.wall_offset_ns)
            if was := known.get((kind, text)):
                durations.exemplars = newer(was.exemplars, durations.exemplars)


def newer(was: dict[int, Exemplar], now: dict[int, Exemplar]) -> dict[int, Exemplar]:
    """The slowest of the last minute, or else the last one there was."""
    if not now:
        return was
    found = was | now
    for place, exemplar in now.items():
        old = was.get(place)
        if old and old.duration_ns > exemplar.duration_ns and old.at > exemplar.at - EXEMPLAR_S:
            found[place] = old
    return found


def _put(known: dict[Key, Durations], key: Key, durations: Durations) -> None:
    """Control characters are blanks to a reader: two names may have become one."""
    if key in known:
        known[key].add(durations)
    else:
        known[key] = durations


def _quantities(used: int, keys_and_sums: list[Any], names: list[Name]) -> dict[str, int]:
    most = len(keys_and_sums) // 2
    keys, sums = keys_and_sums[:most][:used], keys_and_sums[most:]
    return {names[key].text if key < len(names) else OTHER: amount for key, amount in zip(keys, sums, strict=False)}
