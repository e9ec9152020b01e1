"""BottleneckDetector: alerts when, and only when, something is over its threshold; gathered, logged, told."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

import libperf
from libperf import detector as module
from libperf.detector import NAMES, OTHER, Alert, BottleneckDetector

MIB = 1024 * 1024


@pytest.fixture
def detector() -> BottleneckDetector:
    return libperf.BottleneckDetector(time_threshold=1.0, memory_threshold=100 * MIB)


# ---- one alert ----


@pytest.mark.parametrize(
    ("duration", "is_alert"), [(0, False), (0.999, False), (1, False), (1.0, False), (1.001, True), (1e9, True)]
)
def test_longer_than_the_threshold(detector: BottleneckDetector, duration: float, is_alert: bool, caplog: Any) -> None:
    """Exactly at the threshold is none: nothing is returned, gathered, or logged."""
    alert = detector.detect_time_bottleneck("work", duration)
    assert (alert is not None) == is_alert
    assert len(detector.get_bottlenecks().alerts) == len(caplog.records) == is_alert


@pytest.mark.parametrize(("used", "is_alert"), [(0, False), (100 * MIB, False), (100 * MIB + 1, True), (2**63, True)])
def test_more_than_the_threshold(detector: BottleneckDetector, used: int, is_alert: bool) -> None:
    """The same for bytes."""
    assert (detector.detect_memory_bottleneck("load", used) is not None) == is_alert


def test_what_is_said(detector: BottleneckDetector, caplog: Any) -> None:
    """The name, how much, and the threshold, as a warning of the logger "libperf"; the alert holds the same."""
    before = time.time()
    first = detector.detect_time_bottleneck("analyze_code", 2.5)
    second = detector.detect_memory_bottleneck("load", 150 * MIB)
    after = time.time()
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("libperf", "WARNING", "analyze_code took 2.50 s (threshold 1.0 s)"),
        ("libperf", "WARNING", "load used 150 MiB (threshold 100 MiB)"),
    ]
    assert first is not None and second is not None
    assert first[:4] == ("analyze_code", "time", 2.5, 1.0)
    assert second[:4] == ("load", "memory", 150 * MIB, 100 * MIB)
    assert before <= first.at <= second.at <= after


def test_defaults() -> None:
    """A second, and a hundred mebibytes."""
    detector = BottleneckDetector()
    assert (detector.time_threshold, detector.memory_threshold) == (1.0, 100 * MIB)


def test_a_threshold_of_zero() -> None:
    """Everything that takes any time is an alert."""
    detector = BottleneckDetector(time_threshold=0, memory_threshold=0)
    assert detector.detect_time_bottleneck("a", 0) is None
    assert str(detector.detect_time_bottleneck("a", 1e-6)) == "a took 1.00 µs (threshold 0 s)"
    assert str(detector.detect_memory_bottleneck("a", 1)) == "a used 1 B (threshold 0 B)"
    assert [each.kind for each in detector.get_bottlenecks().alerts] == ["memory", "time"]


# ---- bad input ----


@pytest.mark.parametrize("wrong", [-1, -1e-9, float("nan"), "1", None, [1.0]], ids=repr)
def test_what_is_no_number_is_named(detector: BottleneckDetector, wrong: Any) -> None:
    """ValueError says which argument, what was given, and what it should be."""
    for call, said in (
        (lambda: BottleneckDetector(time_threshold=wrong), f"time_threshold={wrong!r} is not a number of seconds"),
        (lambda: BottleneckDetector(memory_threshold=wrong), f"memory_threshold={wrong!r} is not a number of bytes"),
        (lambda: detector.detect_time_bottleneck("a", wrong), f"duration={wrong!r} is not a number of seconds"),
        (lambda: detector.detect_memory_bottleneck("a", wrong), f"used={wrong!r} is not a number of bytes"),
    ):
        with pytest.raises(ValueError, match="or more") as raised:
            call()
        assert said in str(raised.value)
    assert detector.get_bottlenecks().alerts == []


@pytest.mark.parametrize("wrong", [None, 3, b"name", ["name"]], ids=repr)
def test_what_is_no_name_is_named(detector: BottleneckDetector, wrong: Any) -> None:
    """Also when it is below the threshold: a mistake shows at once."""
    for call in (detector.detect_time_bottleneck, detector.detect_memory_bottleneck):
        with pytest.raises(ValueError, match="is not a text") as raised:
            call(wrong, 0)
        assert f"name={wrong!r}" in str(raised.value)


# ---- what is gathered ----


def test_alerts_are_gathered_by_name(detector: BottleneckDetector) -> None:
    """How many, the worst and the last; time and memory of one name apart; furthest above its threshold first."""
    for duration in (2.0, 5.0, 3.0):
        detector.detect_time_bottleneck("plan", duration)
    detector.detect_time_bottleneck("fetch", 9.0)
    detector.detect_memory_bottleneck("plan", 700 * MIB)
    found = detector.get_bottlenecks().alerts
    assert [(each.name, each.kind, each.count, each.worst.value, each.last.value) for each in found] == [
        ("fetch", "time", 1, 9.0, 9.0),
        ("plan", "memory", 1, 700 * MIB, 700 * MIB),
        ("plan", "time", 3, 5.0, 3.0),
    ]


def test_memory_is_bounded(detector: BottleneckDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first thousand names others count together; those that are known go on."""
    monkeypatch.setattr(module.logger, "disabled", True)
    for number in range(NAMES + 50):
        detector.detect_time_bottleneck(f"name {number}", 2.0 + number)
    detector.detect_time_bottleneck("name 0", 1.5)
    detector.detect_memory_bottleneck("one more", 200 * MIB)
    found = {(each.name, each.kind): each for each in detector.get_bottlenecks().alerts}
    assert len(found) == NAMES + 2
    assert found["name 0", "time"].count == 2
    others = found[OTHER, "time"]
    assert (others.count, others.worst.name, others.last.name) == (50, f"name {NAMES + 49}", f"name {NAMES + 49}")
    assert found[OTHER, "memory"].worst.name == "one more"


def test_what_was_given_out_does_not_change(detector: BottleneckDetector) -> None:
    """The list is the caller's."""
    detector.detect_time_bottleneck("a", 2.0)
    found = detector.get_bottlenecks().alerts
    detector.detect_time_bottleneck("a", 3.0)
    assert (found[0].count, found[0].worst.value) == (1, 2.0)
    found.clear()
    assert detector.get_bottlenecks().alerts[0].count == 2


def test_bottlenecks_of_the_profiling_mode(detector: BottleneckDetector) -> None:
    """While a Profiler runs they are those of the program so far; else there are none."""
    assert detector.get_bottlenecks().bottlenecks == []
    with libperf.Profiler():
        assert detector.get_bottlenecks().bottlenecks == []
        with libperf.span("slow step"):
            time.sleep(0.01)
        (row,) = [each for each in detector.get_bottlenecks().bottlenecks if each.name == "slow step"]
    assert row.gain > 0
    assert detector.get_bottlenecks().bottlenecks == []


# ---- callbacks ----


def test_callbacks_are_told(detector: BottleneckDetector) -> None:
    """Each of them, until it is taken back; taking back twice is allowed, and takes back no other."""
    told: list[Alert] = []
    first, second = detector.on_alert(told.append), detector.on_alert(told.append)
    one = detector.detect_time_bottleneck("a", 2.0)
    assert told == [one, one]
    first()
    first()
    detector.detect_memory_bottleneck("b", 200 * MIB)
    assert [alert.name for alert in told] == ["a", "a", "b"]
    second()
    detector.detect_time_bottleneck("c", 2.0)
    assert len(told) == 3


def test_a_callback_that_fails_is_logged(detector: BottleneckDetector, caplog: Any) -> None:
    """The others are told, and the caller gets its alert."""
    told: list[Alert] = []

    def fail(alert: Alert) -> None:
        raise KeyError("mine")

    detector.on_alert(fail)
    detector.on_alert(told.append)
    assert detector.detect_time_bottleneck("a", 2.0) in told
    assert "a callback for alerts failed" in caplog.text and "KeyError: 'mine'" in caplog.text


def test_a_callback_may_use_the_detector(detector: BottleneckDetector) -> None:
    """No lock is held while it is told."""
    seen: list[int] = []
    detector.on_alert(lambda alert: seen.append(detector.get_bottlenecks().alerts[0].count))
    detector.detect_time_bottleneck("a", 2.0)
    assert seen == [1]


# ---- calls of traced functions ----


def test_slow_calls_come_by_themselves(name: str) -> None:
    """With watch=True those of `@libperf.trace(slow=…)`, when they are over the detector's threshold, until close()."""
    traced = libperf.trace(name, slow=0)(lambda: None)
    with BottleneckDetector(time_threshold=0, watch=True) as detector, BottleneckDetector(watch=True) as patient:
        traced()
        (found,) = detector.get_bottlenecks().alerts
        assert (found.name, found.kind, found.count) == (name, "time", 1)
        assert patient.get_bottlenecks().alerts == []
    traced()
    assert detector.get_bottlenecks().alerts == [found]
    detector.close()
    assert detector.detect_time_bottleneck("by hand", 1.0) is not None


def test_nothing_comes_by_itself_unless_asked(name: str) -> None:
    """Without watch only what is said."""
    detector = BottleneckDetector(time_threshold=0)
    libperf.trace(name, slow=0)(lambda: None)()
    assert detector.get_bottlenecks().alerts == []


# ---- threads and processes ----


def test_many_threads(detector: BottleneckDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    """No alert is lost, and gathering them meanwhile does no harm."""
    monkeypatch.setattr(module.logger, "disabled", True)
    together = threading.Barrier(8, timeout=30)
    told: list[Alert] = []
    detector.on_alert(told.append)

    def many(thread: int) -> None:
        together.wait()
        for number in range(500):
            detector.detect_time_bottleneck("shared", 2.0 + thread + 8 * number)
            if number % 100 == 0:
                detector.get_bottlenecks()

    threads = [threading.Thread(target=many, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (found,) = detector.get_bottlenecks().alerts
    assert (found.count, len(told), found.worst.value) == (4000, 4000, 2.0 + 7 + 8 * 499)


def test_a_fork_while_another_thread_is_in_it(detector: BottleneckDetector) -> None:
    """The child goes on with a lock of its own."""
    with detector._lock:  # as another thread would hold it
        child = os.fork()
        if not child:
            alert = detector.detect_time_bottleneck("in the child", 2.0)
            os._exit(0 if alert else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
