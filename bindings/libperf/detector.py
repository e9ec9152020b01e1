"""`libperf.BottleneckDetector`: alerts about what takes too long or too much memory, gathered by name."""

import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from .errors import NotFoundError
from .slow import Callbacks, at_least_zero, logger, on_slow_call
from .units import seconds, size

if TYPE_CHECKING:
    from .analysis.bottlenecks import Bottleneck

__all__ = ["Alert", "BottleneckDetector", "Detected", "Gathered"]

NAMES = 1000  # of alerts; those of more names are gathered under one
OTHER = "(other)"


class Alert(NamedTuple):
    """One thing that was over its threshold. `at` is seconds since 1970."""

    name: str
    kind: str  # "time" or "memory"
    value: float  # seconds, or bytes
    threshold: float
    at: float

    def __str__(self) -> str:
        if self.kind == "time":
            return f"{self.name} took {seconds(self.value)} (threshold {self.threshold} s)"
        return f"{self.name} used {size(self.value)} (threshold {size(self.threshold)})"


@dataclass(frozen=True, slots=True)
class Gathered:
    """All alerts of one name and kind."""

    name: str
    kind: str
    count: int
    worst: Alert
    last: Alert


class Detected(NamedTuple):
    """What get_bottlenecks() returns."""

    alerts: "list[Gathered]"
    bottlenecks: "list[Bottleneck]"


class BottleneckDetector:
    """Notices what takes longer, or more memory, than it should.

    >>> detector = libperf.BottleneckDetector(time_threshold=1.0, memory_threshold=100 * 1024 * 1024)
    >>> detector.detect_time_bottleneck("analyze_code", 2.5)        # logs "analyze_code took 2.50 s (threshold 1.0 s)"
    >>> detector.detect_memory_bottleneck("load", 150 * 1024 * 1024)
    >>> [(each.name, each.count, each.worst.value) for each in detector.get_bottlenecks().alerts]

    time_threshold:   seconds; longer is an alert
    memory_threshold: bytes; more is an alert
    watch:            calls over the `slow=` of their `@libperf.trace` come here by themselves, until close()
    Alerts are logged as warnings of the logger "libperf". Memory is bounded: the alerts of the first 1,000 names are
    kept apart, others together as "(other)".
    Threads: any.
    """

    def __init__(
        self, time_threshold: float = 1.0, memory_threshold: float = 100 * 1024 * 1024, *, watch: bool = False
    ) -> None:
        self.time_threshold = at_least_zero("time_threshold", time_threshold, "seconds")
        self.memory_threshold = at_least_zero("memory_threshold", memory_threshold, "bytes")
        self._callbacks: Callbacks[Alert] = Callbacks("alerts")
        self._gathered: dict[tuple[str, str], Gathered] = {}
        self._lock = threading.Lock()
        self._stop_watching: Callable[[], None] = lambda: None
        if watch:
            self._stop_watching = on_slow_call(lambda call: self.detect_time_bottleneck(call.name, call.duration))
        _detectors.add(self)

    def detect_time_bottleneck(self, name: str, duration: float) -> Alert | None:
        """Say how many seconds something took. The alert, when that was too long."""
        at_least_zero("duration", duration, "seconds")
        return self._alert(name, "time", duration, self.time_threshold)

    def detect_memory_bottleneck(self, name: str, used: float) -> Alert | None:
        """Say how many bytes something used. The alert, when that was too much."""
        at_least_zero("used", used, "bytes")
        return self._alert(name, "memory", used, self.memory_threshold)

    def on_alert(self, callback: Callable[[Alert], object]) -> Callable[[], None]:
        """Call `callback(alert)` for each one from now on, in the thread that noticed it. Returns what takes it back.
        What a callback raises is logged, never passed on."""
        return self._callbacks.add(callback)

    def get_bottlenecks(self) -> Detected:
        """What was noticed so far: `alerts`, gathered by name, those furthest above their threshold first; and
        `bottlenecks`, what slows the program and what each fix would save, while it runs in profiling mode (under
        `libperf run`, with LIBPERF_PROFILE=1, or between a Profiler's start() and stop()), else an empty list. In
        profiling mode this replays everything that was recorded, which takes up to seconds."""
        with self._lock:
            alerts = list(self._gathered.values())
        alerts.sort(key=lambda each: -each.worst.value / (each.worst.threshold or 1e-9))
        return Detected(alerts, _profiled())

    def close(self) -> None:
        """Stop watching. Alerts are still there, and more can be given."""
        self._stop_watching()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _alert(self, name: str, kind: str, value: float, threshold: float) -> Alert | None:
        if not isinstance(name, str):
            raise ValueError(f"name={name!r} is not a text")
        if value <= threshold:
            return None
        alert = Alert(name, kind, value, threshold, time.time())
        with self._lock:
            key = name, kind
            if key not in self._gathered and len(self._gathered) >= NAMES:
                key = OTHER, kind
            known = self._gathered.get(key)
            worst = known.worst if known and known.worst.value >= value else alert
            self._gathered[key] = Gathered(*key, known.count + 1 if known else 1, worst, alert)
        logger.warning("%s", alert)
        self._callbacks.tell(alert)
        return alert


def _profiled() -> "list[Bottleneck]":
    from .profiler import Profiler

    profiler = Profiler._now
    if profiler is None:
        return []
    try:
        with profiler.analyze() as analysis:
            return analysis.bottlenecks
    except NotFoundError:  # nothing has happened yet
        return []


_detectors: "weakref.WeakSet[BottleneckDetector]" = weakref.WeakSet()


def _renew_locks() -> None:
    """A forked child has no thread that would give back a lock."""
    for detector in _detectors:
        detector._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)
