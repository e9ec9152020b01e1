"""PerformanceMonitor: percentiles, throughput and slow calls of this process, asked for from inside it."""

import os
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._core import lib
from .context import get_current
from .handles import end_as
from .names import Kind, intern
from .reader import Reader, Record
from .slow import Callbacks, SlowCall, at_least_zero, notify, slow_call
from .spans import OK, Span, end_with_error, set_attribute
from .task import begin_in_task

__all__ = ["Latency", "MonitorStats", "PerformanceMonitor", "Throughput", "TraceContext"]

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Latency:
    """The latest calls of one name; seconds. `count` is how many there are in the window."""

    count: int
    min: float
    mean: float
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Calls per second: in the last second, since the first call, and in the best single second."""

    current: float
    avg: float
    max: float


@dataclass(frozen=True, slots=True)
class MonitorStats:
    """What get_stats() returns. Dictionaries are by name."""

    latencies: dict[str, Latency]
    throughput: dict[str, Throughput]
    errors: dict[str, int]
    slow_calls: list[SlowCall]
    lost: int  # calls that were overwritten before the monitor looked: they are missing above


class TraceContext(Span):
    """One call that is being traced by hand. Give it to finish_trace()."""

    __slots__ = ("finished", "name")

    def __init__(self, handle: Any, name: str) -> None:
        super().__init__(handle)
        self.name = name
        self.finished = False

    def add_tag(self, key: str, value: object) -> None:
        """Attach a value; see Span.set()."""
        set_attribute(self._handle, key, value)

    def add_log(self, message: str, level: str | int = "info") -> None:
        """Write a log line that belongs to the call."""
        self.log(message, level)


@dataclass(slots=True)
class _Series:
    """What the monitor keeps of one name."""

    window: deque[int]
    first: int = 0  # start of the first call, ns
    calls: int = 0
    errors: int = 0
    ends: deque[int] = field(default_factory=deque)  # of the last second
    best: int = 0


class PerformanceMonitor:
    """Percentiles and throughput of every traced call in this process, whichever way it is traced.

    >>> monitor = libperf.PerformanceMonitor(slow_threshold=1.0)
    >>> context = monitor.start_trace("fetch_user")
    >>> context.add_tag("user", 42)
    >>> monitor.finish_trace(context)
    >>> monitor.get_stats().latencies["fetch_user"].p95

    slow_threshold:   seconds; a call finished by finish_trace() that took longer is logged, listed and told to callbacks
    histogram_window: how many of the latest calls of each name the percentiles are of; they are exact (nearest rank)
    Threads: any. It reads this process's segment: traced calls never wait for it.
    """

    def __init__(self, slow_threshold: float = 1.0, histogram_window: int = 1000) -> None:
        at_least_zero("slow_threshold", slow_threshold, "seconds")
        if not isinstance(histogram_window, int) or histogram_window < 1:
            raise ValueError(f"histogram_window={histogram_window!r} is not a number of calls (1 or more)")
        self.slow_threshold = slow_threshold
        self.histogram_window = histogram_window
        self._callbacks: Callbacks[SlowCall] = Callbacks("slow calls")
        self._begin()
        _monitors.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._series: dict[str, _Series] = defaultdict(lambda: _Series(deque(maxlen=self.histogram_window)))
        self._slow: deque[SlowCall] = deque(maxlen=self.histogram_window)

    def start_trace(self, name: str, **tags: object) -> TraceContext:
        """Begin a call. It has the current span as its parent, but does not become current itself."""
        number = intern(Kind.SPAN, name)
        handle = begin_in_task(number, get_current())
        context = TraceContext(handle, name)
        context.set(**tags)
        return context

    def finish_trace(self, context: TraceContext, error: BaseException | None = None) -> float:
        """End a call; returns its duration in seconds. `error`: what it raised. RuntimeError when it ended before."""
        if context.finished:
            raise RuntimeError(f"trace {context.name!r} was finished before")
        context.finished = True
        handle = context._handle
        ns = end_as(handle, OK, 0) if error is None else end_with_error(handle, error)
        duration = float(ns) / 1e9
        if duration > self.slow_threshold:
            self._note_slow(context, ns)
        return duration

    def _note_slow(self, context: TraceContext, ns: int) -> None:
        call = slow_call(context.name, ns, self.slow_threshold, context._handle)
        with self._lock:
            self._slow.append(call)
        notify(call, self._callbacks)

    def on_slow_call(self, callback: Callable[[SlowCall], object]) -> None:
        """Call `callback(slow_call)` in the thread that finished the call. What it raises is logged."""
        self._callbacks.add(callback)

    def slow_calls(self) -> list[SlowCall]:
        """The latest slow calls, oldest first."""
        with self._lock:
            return list(self._slow)

    def get_stats(self, now_ns: int | None = None) -> MonitorStats:
        """Everything up to now. `now_ns`: another time of the monotonic clock to count the last second from."""
        now = int(lib.perf_clock_now_ns()) if now_ns is None else now_ns
        with self._lock:
            lost = self._read()
            return MonitorStats(
                latencies={name: _latency(series.window) for name, series in self._series.items()},
                throughput={name: _throughput(series, now) for name, series in self._series.items()},
                errors={name: series.errors for name, series in self._series.items() if series.errors},
                slow_calls=list(self._slow),
                lost=lost,
            )

    def get_latency_percentiles(self, name: str) -> Latency:
        """Percentiles of one name; KeyError names those there are."""
        latencies = self.get_stats().latencies
        if name not in latencies:
            known = sorted(latencies)
            more = f" and {len(known) - 10} more" if len(known) > 10 else ""
            raise KeyError(f"no call of {name!r} was recorded; there are: {', '.join(known[:10]) or 'none'}{more}")
        return latencies[name]

    def close(self) -> None:
        """Give back the memory. The monitor can still be used: it begins anew with what the segment still holds."""
        with self._lock:
            self._series.clear()  # or what is read again would count twice
            if self._reader:
                self._reader.close()
                self._reader = None

    def _read(self) -> int:
        """Take over what is new in the segment; returns how many calls were missed so far."""
        if self._reader is None:
            self._reader = Reader()
        else:
            self._reader.refresh()
        for record in sorted(self._reader.records(), key=lambda record: record.end or 0):
            if record.type == "span" and record.end is not None:
                self._take(record, record.end)
        return self._reader.lost

    def _take(self, record: Record, end: int) -> None:
        series = self._series[record.name]
        series.window.append(end - record.start - record.attributes.get("paused_ns", 0))
        series.first = min(series.first or record.start, record.start)
        series.calls += 1
        series.errors += record.status == 1
        series.ends.append(end)
        while end - series.ends[0] >= SECOND:
            series.ends.popleft()
        series.best = max(series.best, len(series.ends))


_monitors: "weakref.WeakSet[PerformanceMonitor]" = weakref.WeakSet()


def _begin_in_child() -> None:
    """A forked child has a segment of its own, and no thread that would give back a lock."""
    for monitor in _monitors:
        monitor._begin()


os.register_at_fork(after_in_child=_begin_in_child)


def _latency(window: deque[int]) -> Latency:
    values = sorted(window)
    count = len(values)

    def rank(percent: int) -> float:
        return values[-(-percent * count // 100) - 1] / 1e9

    return Latency(count, values[0] / 1e9, sum(values) / count / 1e9, rank(50), rank(95), rank(99), values[-1] / 1e9)


def _throughput(series: _Series, now: int) -> Throughput:
    current = sum(1 for end in series.ends if now - end < SECOND)
    elapsed = max(now - series.first, 1) / SECOND
    return Throughput(float(current), series.calls / elapsed, float(series.best))
