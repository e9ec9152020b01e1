"""What one process has counted, as numbers that can be added up: the matter that metrics are made of.

Reading takes the segment's counters, and of its records one example a bucket; it never stops the process.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .._core import ffi, lib
from .._handle import Handle
from ..errors import check
from ..metrics import Histogram, to_ns
from ..names import Kind
from ..reader import Info, Reader

__all__ = ["Bounds", "Counts", "Durations", "Exemplar", "Gauge", "read_counts"]

SERIES_MAX = 20_000  # names that are kept apart in a sum over processes; later ones are counted under "(other)"
OTHER = "(other)"
EXEMPLAR_RECORDS = 1_000_000  # looked at for examples in one reading of one process: 0.1 s

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
    exemplars: list[Exemplar | None] | None = None  # by bound, and one above all

    def add(self, other: "Durations") -> None:
        self.count += other.count
        self.errors += other.errors
        self.cancelled += other.cancelled
        self.sum_ns += other.sum_ns
        self.up_to = [a + b for a, b in zip(self.up_to, other.up_to, strict=True)]
        for name, amount in other.quantities.items():
            self.quantities[name] = self.quantities.get(name, 0) + amount
        if other.exemplars:
            ours = self.exemplars or [None] * len(other.exemplars)
            self.exemplars = [_slower(a, b) for a, b in zip(ours, other.exemplars, strict=True)]

    def is_before(self, later: "Durations") -> bool:
        """Whether `later` can be the same series at a later time."""
        return (
            self.count <= later.count
            and self.errors <= later.errors
            and self.cancelled <= later.cancelled
            and self.sum_ns <= later.sum_ns
            and all(a <= b for a, b in zip(self.up_to, later.up_to, strict=True))
        )


def _slower(a: Exemplar | None, b: Exemplar | None) -> Exemplar | None:
    if a is None or b is None:
        return a or b
    return max(a, b)


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

    def of(self, number: int, classes: int, wall_offset_ns: int) -> list[Exemplar | None] | None:
        raw = lib.perf_exemplars_of(self._get(), number)
        if raw == ffi.NULL:
            return None
        return [
            Exemplar(
                found.duration_ns,
                (found.end_ns + wall_offset_ns) / 1e9,
                f"{found.trace_hi:016x}{found.trace_lo:016x}",
                f"{found.id:016x}",
            )
            if found.id
            else None
            for found in raw[0:classes]
        ]


def read_counts(
    reader: Reader, bounds: Bounds, *, exemplars: bool = True, info: Info | None = None, before: Counts | None = None
) -> Counts:
    """What a reader's picture holds. With `exemplars` it takes the records that were not read yet; unless nothing has
    happened since `before`: then the examples are those."""
    info = info or reader.info
    counts = Counts(losses=dict(info.losses))
    raw, up_to = ffi.new("perf_totals *"), ffi.new("uint64_t[]", len(bounds))
    names = reader.names
    pointer = reader._get()
    with Histogram() as histogram:
        for number, kind, text in names:
            if kind.is_operation or kind is Kind.TIMING:
                check(lib.perf_reader_totals(pointer, number, raw), f"totals of {text!r}")
                if not raw.count:
                    continue
                lib.perf_histogram_reset(histogram._get())
                check(lib.perf_reader_histogram(pointer, number, histogram._get()), f"histogram of {text!r}")
                check(lib.perf_histogram_up_to(histogram._get(), bounds.raw, len(bounds), up_to), "buckets")
                durations = Durations(
                    raw.count,
                    raw.errors,
                    raw.cancelled,
                    raw.sum_ns,
                    ffi.unpack(up_to, len(bounds)),
                    dict(_quantities(raw, lambda key: names[key].text if key < len(names) else OTHER)),
                )
                _put(counts.durations, (kind, text), durations)
            elif kind is Kind.COUNTER or kind is Kind.GAUGE:
                check(lib.perf_reader_totals(pointer, number, raw), f"totals of {text!r}")
                if raw.sum_ns and kind is Kind.COUNTER:
                    counts.counters[text] = counts.counters.get(text, 0) + raw.sum_ns
                if raw.gauge_ns and kind is Kind.GAUGE:
                    counts.gauges[text] = max(counts.gauges.get(text, Gauge(0, 0.0)), Gauge(raw.gauge_ns, raw.gauge))
    if exemplars:
        _add_exemplars(counts, reader, bounds, info, before)
    return counts


def _add_exemplars(counts: Counts, reader: Reader, bounds: Bounds, info: Info, before: Counts | None) -> None:
    if before and all(
        key in before.durations and before.durations[key].count == found.count
        for key, found in counts.durations.items()
    ):
        for key, found in counts.durations.items():
            found.exemplars = before.durations[key].exemplars
        return
    with _Exemplars(bounds) as examples:
        examples.take(reader)
        for number, kind, text in reader.names:
            if (durations := counts.durations.get((kind, text))) and kind is not Kind.TIMING:
                durations.exemplars = examples.of(number, len(bounds) + 1, info.wall_offset_ns)


def _put(known: dict[Key, Durations], key: Key, durations: Durations) -> None:
    """Control characters are blanks to a reader: two names may have become one."""
    if key in known:
        known[key].add(durations)
    else:
        known[key] = durations


def _quantities(raw: Any, text_of: Callable[[int], str]) -> Iterator[tuple[str, int]]:
    for i in range(raw.quantities):
        yield text_of(raw.quantity_key[i]), raw.quantity_sum[i]
