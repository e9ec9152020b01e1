"""`@libperf.trace(slow="auto")`: a call is slow when it took much longer than calls of its name usually do."""

import time
from typing import Any

from .._core import lib
from ..metrics import Histogram
from . import note, slow_call

__all__ = ["AutoSlow"]

LEAST_NS = 100_000_000  # 0.1 s: nothing shorter is slow
TIMES = 3.0  # the 95th percentile
CALLS_MIN = 100  # before anything is said
WINDOW = 1000  # calls; the percentile is of the latest 1,000 to 2,000
INTERVAL_S = 60.0  # between two warnings about one name


class AutoSlow:
    """What a traced function does after each call. Functions of one kind and name share it.

    Slow is what took more than 0.1 s and three times the 95th percentile of the latest 1,000 to 2,000 calls; not before
    there were 100. Each such call is listed; at most once a minute it is logged and told to callbacks.
    Cost: a call's duration goes into a histogram, 0.1 us. Threads: any. Memory: 119 kB a name.
    """

    __slots__ = ("_before", "_count", "_name", "_told", "_window", "clock")

    def __init__(self, name: str) -> None:
        self._name = name
        self._window, self._before = Histogram(), Histogram()
        self._count = 0
        self._told: float | None = None
        self.clock = time.monotonic

    def __call__(self, handle: Any, duration_ns: int) -> None:
        if duration_ns > LEAST_NS:
            self._judge(handle, duration_ns)
        lib.perf_histogram_record(self._window._get(), duration_ns)
        self._count += 1
        if self._count >= WINDOW:
            self._window, self._before, self._count = Histogram(), self._window, 0

    @property
    def threshold(self) -> float | None:
        """Seconds; None: too few calls so far."""
        with self._before.copy() as both:
            both.merge(self._window)
            if both.count < CALLS_MIN:
                return None
            return max(LEAST_NS / 1e9, TIMES * both.quantile(0.95))

    def _judge(self, handle: Any, duration_ns: int) -> None:
        threshold = self.threshold
        if threshold is None or duration_ns <= threshold * 1e9:
            return
        now = self.clock()
        tell = self._told is None or now - self._told >= INTERVAL_S
        if tell:
            self._told = now
        note(slow_call(self._name, duration_ns, threshold, handle), tell=tell)


_by_name: dict[tuple[int, str], AutoSlow] = {}


def auto_slow(kind: int, name: str) -> AutoSlow:
    """The one of a kind and name."""
    key = kind, name
    if key not in _by_name:
        _by_name.setdefault(key, AutoSlow(name))
    return _by_name[key]
