"""Calls that took longer than they should: a bounded list, a log line, and callbacks."""

import contextlib
import functools
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from .._core import ffi, lib
from ..handles import struct_of
from ..names import text_of

__all__ = ["Callbacks", "Slow", "SlowCall", "at_least_zero", "on_slow_call", "slow_calls"]

logger = logging.getLogger("libperf")

KEPT = 1000
AROUND = 32  # spans around a slow call that are named, the innermost

T = TypeVar("T")


class SlowCall(NamedTuple):
    """One call over its threshold. Times in seconds; `at` is since 1970, when it ended.

    around: names of the spans that were open around it then, the outermost first; those that had ended are not among
        them, nor what is around those
    """

    name: str
    duration: float
    threshold: float
    at: float
    trace_id: str
    span_id: str
    around: tuple[str, ...] = ()


class Callbacks(Generic[T]):
    """Callbacks for one kind of news. Threads: any."""

    def __init__(self, what: str) -> None:
        self._what = what  # "slow calls"
        self._all: list[Callable[[T], object]] = []

    def add(self, callback: Callable[[T], object]) -> Callable[[], None]:
        """Returns what takes it back."""
        registered = functools.partial(callback)  # another object each time: who takes one back takes back no other

        def take_back() -> None:
            with contextlib.suppress(ValueError):  # taken back before
                self._all.remove(registered)

        self._all.append(registered)
        return take_back

    def tell(self, news: T) -> None:
        for callback in tuple(self._all):
            try:
                callback(news)
            except Exception:
                logger.exception("a callback for %s failed: %r", self._what, callback)


def at_least_zero(name: str, value: Any, unit: str) -> float:
    """A number that somebody gave us; ValueError names it."""
    if not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"{name}={value!r} is not a number of {unit} (0 or more)")
    return value


_calls: deque[SlowCall] = deque(maxlen=KEPT)
_callbacks: Callbacks[SlowCall] = Callbacks("slow calls")


def slow_calls() -> list[SlowCall]:
    """The latest 1,000 calls of this process that took longer than the `slow=` of their `@libperf.trace`, oldest
    first."""
    return list(_calls)


def on_slow_call(callback: Callable[[SlowCall], object]) -> Callable[[], None]:
    """Call `callback(slow_call)` for each one from now on, in the thread of the call. Returns what takes it back. What
    a callback raises is logged, never passed on."""
    return _callbacks.add(callback)


def notify(call: SlowCall, callbacks: Callbacks[SlowCall]) -> None:
    """Log a call and tell everybody who asked."""
    from ..units import printable

    inside = f" in {printable(' > '.join(call.around))}" if call.around else ""
    logger.warning("%s took %.3f s (threshold %g s)%s", printable(call.name), call.duration, call.threshold, inside)
    callbacks.tell(call)


def spans_around(handle: Any) -> tuple[str, ...]:
    """Names of the open spans around one that may have ended, the outermost first."""
    names = ffi.new("uint32_t[]", AROUND)
    count = lib.perf_span_around(struct_of(handle), names, AROUND)
    return tuple(text_of(names[place]) for place in reversed(range(count)))


def slow_call(name: str, duration_ns: int, threshold: float, handle: Any) -> SlowCall:
    """What is known of a call that has just ended."""
    trace_id = f"{handle.trace_hi:016x}{handle.trace_lo:016x}"
    return SlowCall(
        name, duration_ns / 1e9, threshold, time.time(), trace_id, f"{handle.id:016x}", spans_around(handle)
    )


def note(call: SlowCall, *, tell: bool = True) -> None:
    """List a call of a traced function; and say so."""
    _calls.append(call)
    if tell:
        notify(call, _callbacks)


class Slow:
    """What a traced function does after each call when it has a threshold."""

    __slots__ = ("_name", "threshold_ns")

    def __init__(self, name: str, threshold: float) -> None:
        self._name = name
        self.threshold_ns = at_least_zero("slow", threshold, "seconds") * 1e9

    def __call__(self, handle: Any, duration_ns: int) -> None:
        if duration_ns <= self.threshold_ns:
            return
        note(slow_call(self._name, duration_ns, self.threshold_ns / 1e9, handle))


def slow_after(kind: int, name: str, slow: Any) -> Callable[[Any, int], None] | None:
    """What a traced function does after each call: nothing, compare with seconds, or with what is usual ("auto")."""
    if slow is None:
        return None
    if isinstance(slow, str) and slow == "auto":
        from .auto import auto_slow

        return auto_slow(kind, name)
    return Slow(name, slow)
