"""Counters, gauges, timings that any process can read, and the histogram as an object of its own."""

from array import array
from collections.abc import Iterable, Sequence

from ._core import ffi, lib
from ._handle import Handle
from .errors import check
from .names import Kind, intern

__all__ = ["Counter", "Gauge", "Histogram", "Timing"]

UINT64_MAX = 2**64 - 1


def to_ns(seconds: float, what: str) -> int:
    """Seconds as nanoseconds; ValueError for what is no duration."""
    if not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise ValueError(f"{what}={seconds!r} is not a number of seconds (0 or more)")
    return UINT64_MAX if seconds >= UINT64_MAX / 1e9 else round(seconds * 1e9)


class Counter:
    """A number that grows. Threads: any; each writes a place of its own, readers add up."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = intern(Kind.COUNTER, name)

    def add(self, amount: int = 1) -> None:
        try:
            if not 0 <= amount <= UINT64_MAX:
                raise ValueError(f"amount={amount!r}: a counter grows by 0 or more, at most 2**64 - 1")
            lib.perf_metric_add(self._name, amount)
        except TypeError:
            raise TypeError(f"amount={amount!r}: a counter grows by an int") from None


class Gauge:
    """A number that goes up and down: readers see what was set last, by whichever thread."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = intern(Kind.GAUGE, name)

    def set(self, value: float) -> None:
        try:
            lib.perf_metric_set(self._name, value)
        except TypeError:
            raise TypeError(f"value={value!r}: a gauge is set to a number") from None


class Timing:
    """Durations under a name, without spans: count, sum, extremes and percentiles."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = intern(Kind.TIMING, name)

    def record(self, seconds: float) -> None:
        lib.perf_metric_record(self._name, to_ns(seconds, "seconds"))


class Histogram(Handle):
    """Durations in buckets of at most 0.78 % of their value: quantiles within 0.4 %, everything else exact.

    Threads: one writer at a time, any number of readers. Memory: 59 kB, whatever is recorded.
    """

    __slots__ = ()

    def __init__(self, values: Iterable[float] = ()) -> None:
        out = ffi.new("perf_histogram **")
        check(lib.perf_histogram_create(ffi.NULL, out), "Histogram()")
        super().__init__(out[0], lib.perf_histogram_destroy)
        self.record_many(values)

    def record(self, seconds: float) -> None:
        lib.perf_histogram_record(self._get(), to_ns(seconds, "seconds"))

    def record_many(self, seconds: Iterable[float]) -> None:
        self.record_many_ns(array("Q", (to_ns(value, "seconds") for value in seconds)))

    def record_many_ns(self, values: "array[int]") -> None:
        """Nanoseconds in an `array("Q")`: 2 ns a value."""
        view = memoryview(values)
        if view.itemsize != 8 or view.format not in ("Q", "L"):
            raise TypeError(f"expected 64-bit unsigned integers, array('Q'), not format {view.format!r}")
        lib.perf_histogram_record_many(self._get(), ffi.from_buffer("uint64_t[]", values), view.nbytes // 8)

    def record_intended(self, intended: float, end: float) -> None:
        """From the time the call should have started (both in seconds of one clock): a stall then counts against
        every call that it delayed (coordinated omission)."""
        late = end - intended
        lib.perf_histogram_record(self._get(), to_ns(0.0 if late < 0 else late, "end - intended"))

    def merge(self, other: "Histogram") -> None:
        check(lib.perf_histogram_merge(self._get(), other._get()), "merge()")

    def subtract(self, before: "Histogram") -> None:
        """Become the window since `before`, an earlier copy."""
        check(lib.perf_histogram_subtract(self._get(), before._get()), "subtract(): `before` is no earlier copy")

    def copy(self) -> "Histogram":
        fresh = Histogram()
        fresh.merge(self)
        return fresh

    def quantile(self, q: float) -> float:
        """The ceil(q * count)-th smallest, in seconds; 0 when empty. q: 0..1."""
        if not 0 <= q <= 1:
            raise ValueError(f"q={q!r} is not between 0 and 1 (0.95 is the 95th percentile)")
        return float(lib.perf_histogram_quantile(self._get(), q)) / 1e9

    def quantiles(self, qs: Sequence[float]) -> list[float]:
        return [self.quantile(q) for q in qs]

    @property
    def count(self) -> int:
        return int(lib.perf_histogram_count(self._get()))

    @property
    def sum(self) -> float:
        return float(lib.perf_histogram_sum(self._get())) / 1e9

    @property
    def min(self) -> float:
        return float(lib.perf_histogram_min(self._get())) / 1e9

    @property
    def max(self) -> float:
        return float(lib.perf_histogram_max(self._get())) / 1e9
