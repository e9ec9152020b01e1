"""`slow="auto"`: a call is slow beside what is usual for its name; durations and time are given."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

import libperf
from libperf import handles
from libperf._core import ffi
from libperf.slow import SlowCall, on_slow_call, slow_calls
from libperf.slow.auto import CALLS_MIN, INTERVAL_S, LEAST_NS, TIMES, WINDOW, AutoSlow, auto_slow

MS = 1_000_000


# a span that nobody has begun
HANDLE = handles.from_struct(ffi.new("perf_span *", {"trace_hi": 0xA, "trace_lo": 0xB, "id": 0xC})[0])


@pytest.fixture
def told() -> Iterator[list[SlowCall]]:
    found: list[SlowCall] = []
    take_back = on_slow_call(found.append)
    yield found
    take_back()


def calls_of(name: str) -> list[SlowCall]:
    return [call for call in slow_calls() if call.name == name]


def feed(slow: AutoSlow, count: int, ns: int) -> None:
    for _ in range(count):
        slow(HANDLE, ns)


def test_nothing_is_said_of_few_calls(told: list[SlowCall], name: str) -> None:
    """99 are too few to know what is usual."""
    slow = AutoSlow(name)
    feed(slow, CALLS_MIN - 1, 100 * MS)
    assert slow.threshold is None
    slow(HANDLE, 3600_000 * MS)
    assert told == calls_of(name) == []
    assert slow.threshold is not None


@pytest.mark.parametrize(("usual", "threshold"), [(100, 0.3), (1000, 3.0), (1, LEAST_NS / 1e9)])
def test_three_times_what_is_usual(told: list[SlowCall], name: str, usual: int, threshold: float) -> None:
    """And never less than 0.1 s; the call says what it was held against."""
    slow = AutoSlow(name)
    feed(slow, 200, usual * MS)
    assert slow.threshold == pytest.approx(threshold, rel=0.01)
    slow(HANDLE, int(threshold * 0.98e9))
    assert told == []
    slow(HANDLE, int(threshold * 1.05e9))
    (call,) = told
    assert (call.name, call.trace_id, call.span_id) == (name, f"{0xA:016x}{0xB:016x}", f"{0xC:016x}")
    assert call.duration == pytest.approx(threshold * 1.05)
    assert call.threshold == pytest.approx(threshold, rel=0.01)
    assert calls_of(name) == told


def test_a_few_outliers_do_not_move_it(name: str) -> None:
    """It is the 95th percentile."""
    slow = AutoSlow(name)
    for i in range(400):
        slow(HANDLE, 10_000 * MS if i % 25 == 0 else 200 * MS)
    assert slow.threshold == pytest.approx(TIMES * 0.2, rel=0.01)


def test_one_warning_a_minute(told: list[SlowCall], name: str, caplog: pytest.LogCaptureFixture) -> None:
    """All are listed."""
    slow, now = AutoSlow(name), [0.0]
    slow.clock = lambda: now[0]
    feed(slow, 2000, 100 * MS)
    with caplog.at_level(logging.WARNING):
        for second in (0, 1, INTERVAL_S - 1, INTERVAL_S, INTERVAL_S + 1, 2 * INTERVAL_S):
            now[0] = second
            slow(HANDLE, 1000 * MS)
    assert (len(calls_of(name)), len(told), len(caplog.records)) == (6, 3, 3)


def test_what_is_usual_changes(name: str) -> None:
    """Calls before the latest 2,000 are forgotten."""
    slow = AutoSlow(name)
    feed(slow, 3 * WINDOW, 100 * MS)
    feed(slow, 2 * WINDOW, 1000 * MS)
    assert slow.threshold == pytest.approx(TIMES, rel=0.01)


def test_functions_of_a_name_share_it(name: str) -> None:
    """Of one kind."""
    assert auto_slow(libperf.Kind.SPAN, name) is auto_slow(libperf.Kind.SPAN, name)
    assert auto_slow(libperf.Kind.SPAN, name) is not auto_slow(libperf.Kind.LLM, name)


def test_as_a_decorator(name: str, told: list[SlowCall], monkeypatch: pytest.MonkeyPatch) -> None:
    """The duration is the span's."""
    traced = libperf.trace(name, slow="auto")(lambda: None)
    for _ in range(CALLS_MIN):
        traced()
    slow = auto_slow(libperf.Kind.SPAN, name)
    assert slow.threshold == LEAST_NS / 1e9
    monkeypatch.setattr("libperf.slow.auto.LEAST_NS", 0)
    monkeypatch.setattr("libperf.slow.auto.TIMES", 0)
    traced()
    (call,) = told
    assert call.name == name
    assert call.duration > 0


@pytest.mark.parametrize("wrong", ["Auto", "", "1", -1, object()], ids=str)
def test_what_is_no_threshold(name: str, wrong: Any) -> None:
    """Is refused when the function is decorated."""
    with pytest.raises(ValueError, match="slow="):
        libperf.trace(name, slow=wrong)(lambda: None)
