"""Objectives: which share of an operation's calls is to be good, and alerts when it will not be.

| series of objective NAME | kind |
|---|---|
| `slo.NAME.calls`, `.bad` | counters, written by the C core at the end of each call |
| `slo.NAME.limit`, `.objective` | gauges: seconds, a share |
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .._core import lib
from ..errors import FullError, check
from ..metrics import UINT64_MAX, Gauge, to_ns
from ..names import Kind, intern
from ..slow import Callbacks, logger
from .burn import Burning, BurnRates, Pair

if TYPE_CHECKING:
    from ..exports.families import Families

__all__ = ["SLO", "BurnAlert", "Objective", "SLOStatus", "find_objectives"]

NAME_MAX = 180  # bytes: the series' names are a bit longer, and cut at 200
INTERVAL = 10.0  # seconds between two looks of the thread


class BurnAlert(NamedTuple):
    """A budget burns too fast. `at` is seconds since 1970; windows in seconds."""

    name: str
    factor: float
    long_window: float
    short_window: float
    long_burn: float
    short_burn: float
    calls: int  # in the long window
    bad: int
    at: float

    def __str__(self) -> str:
        return (
            f"objective {self.name}: {self.bad} of {self.calls} calls were bad, the budget burns {self.long_burn:.1f} times "
            f"too fast over {_span(self.long_window)} and {self.short_burn:.1f} times over {_span(self.short_window)}"
        )


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


@dataclass(frozen=True, slots=True)
class SLOStatus:
    """How an objective is doing, in this process."""

    name: str
    objective: float
    latency: float | None
    calls: int  # since the SLO was made
    bad: int
    burning: list[Burning]

    @property
    def good(self) -> float | None:
        """The share of calls that were good; None: there was none."""
        return 1 - self.bad / self.calls if self.calls else None

    @property
    def budget(self) -> float | None:
        """What is left of the budget for the calls so far: 1 all of it, 0 nothing, below 0 more than it was used up."""
        return 1 - self.bad / self.calls / (1 - self.objective) if self.calls else None

    @property
    def alerting(self) -> bool:
        return any(each.alerting for each in self.burning)


class SLO:
    """An objective for one operation of this process: so many of its calls end without an error and in time.

    >>> slo = libperf.SLO("fetch", latency=0.5, objective=0.99)
    >>> slo.on_alert(lambda alert: page_somebody(str(alert)))
    >>> slo.status().good

    operation: the name of traced functions or spans, of one `kind`
    latency:   seconds; a call that takes longer is bad; None: only an error is
    objective: the share of calls that is to be good, above 0 and below 1
    kind:      "span", "llm", "tool", "node", "graph", "retriever", "embedding" or "request"
    name:      of the objective; default: the operation's. Two of one name are an error, unless they are equal.
    min_calls: no alert rests on fewer calls than this in its long window
    Every call is counted exactly, by the C core, at its end; one that is cancelled before the limit is no call. An alert
    comes when a pair of windows burns the budget too fast: 14.4 times over 1 h and 5 min, 6 times over 6 h and 30 min,
    once over 3 days and 6 h. It is logged as a warning, once, until the pair is calm again.
    A thread looks every ten seconds, in forked children too. ValueError for bad values, FullError above 256 objectives.
    Threads: any.
    """

    def __init__(
        self,
        operation: str,
        /,
        *,
        latency: float | None = None,
        objective: float = 0.99,
        kind: str | Kind = "span",
        name: str | None = None,
        min_calls: int = 100,
    ) -> None:
        if not isinstance(objective, (int, float)) or not 0 < objective < 1:
            raise ValueError(
                f"objective={objective!r} is no share above 0 and below 1 (0.99: one call in 100 may be bad)"
            )
        if not isinstance(min_calls, int) or min_calls < 1:
            raise ValueError(f"min_calls={min_calls!r} is not a number of calls (1 or more)")
        self.operation, self.kind = operation, Kind.parse(kind)
        self.name = operation if name is None else name
        if not isinstance(self.name, str) or not 0 < len(self.name.encode("utf-8", "replace")) <= NAME_MAX:
            raise ValueError(f"{self.name!r} is no name of an objective: a text of 1 to {NAME_MAX} bytes; give name=")
        self.objective, self.latency, self.min_calls = objective, latency, min_calls
        limit = UINT64_MAX if latency is None else to_ns(latency, "latency")
        self._numbers = [intern(Kind.COUNTER, f"slo.{self.name}.{what}") for what in ("calls", "bad")]
        self._callbacks: Callbacks[BurnAlert] = Callbacks("objectives")
        self._begin()
        _claim(self)
        code = lib.perf_slo_set(intern(self.kind, operation), limit, *self._numbers)
        if code:
            self.close()
            if code == lib.PERF_ERR_FULL:
                raise FullError(f"SLO({operation!r}): there are {lib.PERF_SLOS_MAX} objectives already")
            check(code, f"SLO({operation!r}): the table of names is full")
        self._say_what_it_is()
        _watch()

    def _begin(self) -> None:
        """Counting begins here; so it does in a forked child."""
        self._lock = threading.Lock()
        self._rates = BurnRates(self.objective, min_calls=self.min_calls)
        self._alerting: set[Pair] = set()
        self._before = self._read()
        self._rates.observe_at(time.monotonic(), 0, 0)

    def _say_what_it_is(self) -> None:
        """For readers in other processes."""
        Gauge(f"slo.{self.name}.objective").set(self.objective)
        if self.latency is not None:
            Gauge(f"slo.{self.name}.limit").set(self.latency)

    def _read(self) -> tuple[int, int]:
        bad = int(lib.perf_metric_total(self._numbers[1]))  # first: so it is never more than the calls
        return int(lib.perf_metric_total(self._numbers[0])), bad

    def status(self, now: float | None = None) -> SLOStatus:
        """Up to now. `now`: seconds of the monotonic clock."""
        with self._lock:
            return self._status(time.monotonic() if now is None else now)

    def _status(self, now: float) -> SLOStatus:
        calls, bad = (here - before for here, before in zip(self._read(), self._before, strict=True))
        self._rates.observe_at(now, calls, bad)
        return SLOStatus(self.name, self.objective, self.latency, calls, bad, self._rates.burning_at(now))

    def check(self, now: float | None = None) -> list[BurnAlert]:
        """What the thread does every ten seconds: look, log alerts that are new, and tell the callbacks."""
        with self._lock:
            status = self._status(time.monotonic() if now is None else now)
            alerting = {each.pair for each in status.burning if each.alerting}
            new = [each for each in status.burning if each.pair in alerting - self._alerting]
            self._alerting = alerting
        alerts = [
            BurnAlert(self.name, *each.pair, each.long, each.short, each.calls, each.bad, time.time()) for each in new
        ]
        for alert in alerts:
            logger.warning("%s", alert)
            self._callbacks.tell(alert)
        return alerts

    def on_alert(self, callback: Callable[[BurnAlert], object]) -> Callable[[], None]:
        """Call `callback(alert)` for each new alert from now on, in the thread that looks. Returns what takes it back.
        What a callback raises is logged, never passed on."""
        return self._callbacks.add(callback)

    def close(self) -> None:
        """Judge no more calls. What was counted stays."""
        with _guard:
            if _living.get(self.name) is self:
                del _living[self.name]
                lib.perf_slo_remove(self._numbers[0])

    def __repr__(self) -> str:
        limit = "" if self.latency is None else f" latency={self.latency:g}"
        return f"<libperf.SLO {self.name!r}{limit} objective={self.objective:g}>"


# ---- all objectives of this process ----

_guard = threading.Lock()
_living: "dict[str, SLO]" = {}  # kept until close(): who makes one need not hold it
_stop = threading.Event()
_thread: threading.Thread | None = None


def _claim(slo: SLO) -> None:
    with _guard:
        other = _living.get(slo.name)
        if other is not None and (other.operation, other.kind, other.latency, other.objective) != (
            slo.operation,
            slo.kind,
            slo.latency,
            slo.objective,
        ):
            raise ValueError(f"there is {other!r} already: give this one another name=, or close() that one")
        if other is not None:
            slo._callbacks = other._callbacks  # the same one made again, as when a module is loaded twice
        _living[slo.name] = slo


def _watch() -> None:
    """Start the thread unless it runs."""
    global _thread
    with _guard:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_look, name="libperf-slo", daemon=True)
            _thread.start()


def _look() -> None:
    while True:
        _stop.wait(INTERVAL)
        for slo in list(_living.values()):
            try:
                slo.check()
            except Exception:
                logger.exception("looking at %r failed", slo)


def _after_fork() -> None:
    """The child counts from zero, and has no thread."""
    global _guard, _thread, _stop
    _guard, _stop, _thread = threading.Lock(), threading.Event(), None
    for slo in _living.values():
        slo._begin()
        slo._say_what_it_is()
    if _living:
        _watch()


os.register_at_fork(after_in_child=_after_fork)


# ---- objectives in a segment ----


class Objective(NamedTuple):
    """What the series of one say."""

    name: str
    calls: int
    bad: int
    objective: float
    limit: float | None


def find_objectives(counters: Mapping[str, int], gauges: Mapping[str, float]) -> list[Objective]:
    """By name; those of which it is not known what they want are left out."""
    found = []
    for series in sorted(gauges):
        if not (series.startswith("slo.") and series.endswith(".objective") and 0 < gauges[series] < 1):
            continue
        name = series.removeprefix("slo.").removesuffix(".objective")
        calls, bad = (counters.get(f"slo.{name}.{what}", 0) for what in ("calls", "bad"))
        found.append(Objective(name, calls, min(bad, calls), gauges[series], gauges.get(f"slo.{name}.limit")))
    return found


def add_burn_families(
    families: "Families", name: str, rates: BurnRates, now: float, labels: Iterable[tuple[str, str]]
) -> None:
    """Burn rates by window, and which pair alerts."""
    own = (("slo", name), *labels)
    windows = sorted({window for pair in rates.pairs for window in (pair.short, pair.long)})
    for window in windows:
        text = "How many times too fast an objective's budget burns, over what was seen of the window."
        these = (*own, ("window", _span(window).replace(" ", "")))
        families.add("libperf_slo_burn_rate", "gauge", text, these, rates.rate_at(now, window))
    for each in rates.burning_at(now):
        text = "1: both windows of this factor burn faster than it."
        these = (*own, ("factor", f"{each.pair.factor:g}"))
        families.add("libperf_slo_alerting", "gauge", text, these, int(each.alerting))
