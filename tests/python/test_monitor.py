"""PerformanceMonitor: exact percentiles, throughput, slow calls and callbacks, for whatever is traced in this process."""

from __future__ import annotations

import logging
import random
import statistics
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import libperf
from libperf._core import ffi, lib
from libperf.monitor import PerformanceMonitor, TraceContext
from libperf.names import intern
from libperf.slow import SlowCall

SECOND = 1_000_000_000


@pytest.fixture
def monitor() -> Iterator[PerformanceMonitor]:
    monitor = PerformanceMonitor(slow_threshold=1.0, histogram_window=1000)
    monitor.get_stats()  # what other tests recorded
    yield monitor
    monitor.close()


@pytest.fixture
def base() -> int:
    """When calls with given times begin: now, where the clock's rate, known to 0.1 %, matters least."""
    return int(lib.perf_clock_now_ns())


def record(name: str, start_ns: int, duration_ns: int) -> None:
    """A span that was begun and ended at given times of the monotonic clock."""
    ticks = lib.perf_clock_ns_to_ticks
    handle = lib.perf_span_begin_at(intern(libperf.Kind.SPAN, name), ffi.new("perf_span *")[0], 0, ticks(start_ns))
    lib.perf_span_end_at(handle, lib.PERF_STATUS_OK, 0, ticks(start_ns + duration_ns))


# ---- by hand ----


def test_a_call_from_start_to_finish(seen: Any, monitor: PerformanceMonitor, name: str) -> None:
    """Tags and log lines are kept, the duration is what the reader sees, and get_stats() has it."""
    context = monitor.start_trace(name, user="ann")
    assert isinstance(context, TraceContext)
    context.add_tag("bytes", 120)
    context.add_log("half way", "warning")
    duration = monitor.finish_trace(context)
    span = seen.span(name)
    assert span.attributes == {"user": "ann", "bytes": 120}
    assert [(log.status, log.attributes) for log in seen.logs(name)] == [(3, {"message": "half way"})]
    assert duration == pytest.approx((span.end - span.start) / 1e9, abs=2e-9)
    latency = monitor.get_stats().latencies[name]
    assert latency.count == 1
    assert {latency.min, latency.p50, latency.p95, latency.p99, latency.max, latency.mean} == {latency.max}
    assert latency.max == pytest.approx(duration, abs=2e-9)
    assert monitor.get_latency_percentiles(name) == latency


def test_a_trace_is_a_child_but_not_current(seen: Any, monitor: PerformanceMonitor, name: str) -> None:
    """Its parent is the current span; two may be open at once and end in any order."""
    with libperf.span(f"{name}.outer") as outer:
        first, second = monitor.start_trace(f"{name}.first"), monitor.start_trace(f"{name}.second")
        assert libperf.current_span().id == outer.id
        monitor.finish_trace(first)
        monitor.finish_trace(second)
    parents = {seen.span(f"{name}.{which}").parent for which in ("first", "second")}
    assert parents == {seen.span(f"{name}.outer").id}


def test_finished_twice_raises(seen: Any, monitor: PerformanceMonitor, name: str) -> None:
    """RuntimeError names the trace, and it is counted once."""
    context = monitor.start_trace(name)
    monitor.finish_trace(context)
    with pytest.raises(RuntimeError, match=f"'{name}' was finished before"):
        monitor.finish_trace(context)
    assert seen.totals(name).count == 1


def test_an_error_is_counted(seen: Any, monitor: PerformanceMonitor, name: str) -> None:
    """finish_trace(error=...) keeps its class, and get_stats().errors counts it."""
    monitor.finish_trace(monitor.start_trace(name))
    monitor.finish_trace(monitor.start_trace(name), error=KeyError("secret"))
    assert seen.counts(name) == (2, 1, 0)
    assert seen.spans(name)[1].attributes == {"error.type": "KeyError"}
    assert monitor.get_stats().errors[name] == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"slow_threshold": -1}, "slow_threshold=-1"),
        ({"slow_threshold": float("nan")}, "slow_threshold=nan"),
        ({"slow_threshold": "1"}, "slow_threshold='1'"),
        ({"slow_threshold": None}, "slow_threshold=None"),
        ({"histogram_window": 0}, "histogram_window=0"),
        ({"histogram_window": -5}, "histogram_window=-5"),
        ({"histogram_window": 2.5}, "histogram_window=2.5"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    """ValueError holds the value, and what it should be."""
    with pytest.raises(ValueError, match="is not a number of") as raised:
        PerformanceMonitor(**arguments)
    assert named in str(raised.value)


def test_an_unknown_name_is_named(monitor: PerformanceMonitor, name: str) -> None:
    """KeyError holds it, and lists ten of those there are."""
    monitor.finish_trace(monitor.start_trace(name))
    with pytest.raises(KeyError) as raised:
        monitor.get_latency_percentiles("nobody")
    (message,) = raised.value.args
    known = sorted(monitor.get_stats().latencies)
    assert name in known
    more = f" and {len(known) - 10} more" if len(known) > 10 else ""
    assert message == f"no call of 'nobody' was recorded; there are: {', '.join(known[:10])}{more}"
    with pytest.raises(TypeError, match="not 5"):
        monitor.start_trace(5)  # type: ignore[arg-type]


# ---- statistics ----


def test_percentiles_are_exact(monitor: PerformanceMonitor, name: str, base: int) -> None:
    """Nearest rank of the values themselves, not of buckets."""
    dice = random.Random(3)
    values = [round(dice.lognormvariate(16, 1)) for _ in range(777)]
    for value in values:
        record(name, base, value)
    latency = monitor.get_latency_percentiles(name)
    ranked = sorted(values)
    expected = [ranked[-(-percent * 777 // 100) - 1] / 1e9 for percent in (50, 95, 99)]
    assert latency.count == 777
    assert [latency.p50, latency.p95, latency.p99] == pytest.approx(expected, rel=1e-3, abs=2e-9)
    assert latency.mean == pytest.approx(statistics.fmean(values) / 1e9, rel=1e-3)
    assert (latency.min, latency.max) == pytest.approx((ranked[0] / 1e9, ranked[-1] / 1e9), rel=1e-3, abs=2e-9)


def test_the_window_holds_the_latest_calls(name: str, base: int) -> None:
    """Of 250 calls the last 100 count; what was asked before does not change that."""
    monitor = PerformanceMonitor(histogram_window=100)
    for number in range(1, 251):
        record(name, base + number * SECOND, number * 1_000_000)
        if number == 120:
            assert monitor.get_stats().latencies[name].count == 100
    latency = monitor.get_stats().latencies[name]
    assert latency.count == 100
    assert [latency.min, latency.p50, latency.max] == pytest.approx([0.151, 0.2, 0.25], rel=1e-3)


def test_throughput_is_of_the_last_second(monitor: PerformanceMonitor, name: str, base: int) -> None:
    """Current: the second before `now_ns`. Avg: since the first call. Max: the best second there was."""
    for number in range(30):  # thirty in the first second, ten each in the next four
        record(name, base + number * SECOND // 30, 1000)
    for number in range(40):
        record(name, base + SECOND + number * SECOND // 10, 1000)
    end = base + 5 * SECOND - SECOND // 20
    throughput = monitor.get_stats(now_ns=end).throughput[name]
    assert throughput.current == 10.0
    assert throughput.avg == pytest.approx(70 / 4.95, rel=0.01)
    assert 30 <= throughput.max <= 31
    later = monitor.get_stats(now_ns=end + 10 * SECOND).throughput[name]
    assert (later.current, later.max) == (0.0, throughput.max)
    assert later.avg == pytest.approx(70 / 14.95, rel=0.01)


def test_everything_traced_is_seen(monitor: PerformanceMonitor, name: str) -> None:
    """Decorated functions and span() too, each call once however often it is asked."""
    libperf.trace(f"{name}.function")(lambda: None)()
    with libperf.span(f"{name}.span"):
        monitor.get_stats()
    for _ in range(3):
        stats = monitor.get_stats()
    assert stats.latencies[f"{name}.function"].count == stats.latencies[f"{name}.span"].count == 1
    assert name not in stats.latencies


# ---- slow calls ----


def test_slow_calls_are_listed_and_told(name: str, caplog: Any) -> None:
    """With a threshold of 0 every call is slow: in the list, in get_stats(), in the log, and to the callback."""
    monitor = PerformanceMonitor(slow_threshold=0)
    told: list[SlowCall] = []
    monitor.on_slow_call(told.append)
    with caplog.at_level(logging.WARNING, "libperf"):
        context = monitor.start_trace(name)
        duration = monitor.finish_trace(context)
    (call,) = told
    assert (call.name, call.duration, call.threshold) == (name, duration, 0)
    assert (call.trace_id, call.span_id) == (context.trace_id, context.id)
    assert monitor.slow_calls() == monitor.get_stats().slow_calls == [call]
    assert [entry.getMessage() for entry in caplog.records] == [f"{name} took {duration:.3f} s (threshold 0 s)"]


def test_a_callback_that_raises_is_logged(name: str, caplog: Any) -> None:
    """The traced program never sees it, and the next callback is called."""
    monitor = PerformanceMonitor(slow_threshold=0)
    told: list[SlowCall] = []
    monitor.on_slow_call(lambda call: 1 / 0)
    monitor.on_slow_call(told.append)
    assert monitor.finish_trace(monitor.start_trace(name)) > 0
    assert len(told) == 1
    assert "a callback for slow calls failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_the_list_of_slow_calls_is_bounded(name: str) -> None:
    """By the window: the latest stay, oldest first."""
    monitor = PerformanceMonitor(slow_threshold=0, histogram_window=5)
    for number in range(12):
        monitor.finish_trace(monitor.start_trace(f"{name}.{number}"))
    assert [call.name for call in monitor.slow_calls()] == [f"{name}.{number}" for number in range(7, 12)]


# ---- threads, losses, close ----


def test_many_threads_use_one_monitor(monitor: PerformanceMonitor, name: str) -> None:
    """Traced and asked from eight threads at once: every call is counted once, whoever reads it."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(100):
                monitor.finish_trace(monitor.start_trace(name))
                if number % 25 == 0:
                    monitor.get_stats()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert monitor.get_stats().latencies[name].count == 800


def test_a_closed_monitor_can_be_used_again(monitor: PerformanceMonitor, name: str) -> None:
    """close() gives memory back; what the segment still holds is read again, and nothing is counted twice."""
    for expected in (1, 2):
        monitor.finish_trace(monitor.start_trace(name))
        assert monitor.get_stats().latencies[name].count == expected
        monitor.close()
        monitor.close()


def test_a_forked_child_has_calls_of_its_own(run: Any) -> None:
    """The monitor it inherits begins anew with the child's segment, also when another thread was just using it."""
    code = """if True:
        import os
        from libperf.monitor import PerformanceMonitor

        monitor = PerformanceMonitor(slow_threshold=0)

        def work():
            monitor.finish_trace(monitor.start_trace("work"))

        work()
        print(monitor.get_stats().latencies["work"].count, len(monitor.slow_calls()), flush=True)
        with monitor._lock:  # as in the middle of another thread's get_stats()
            child = os.fork()
        if not child:
            work()
            work()
            print(monitor.get_stats().latencies["work"].count, len(monitor.slow_calls()), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        work()
        print(monitor.get_stats().latencies["work"].count, len(monitor.slow_calls()), flush=True)
        """
    done = run(code)
    assert done.stdout.splitlines() == ["1 1", "2 2", "2 2"]


def test_overwritten_calls_are_counted_as_lost(run: Any) -> None:
    """What the ring no longer had is missing in the percentiles, and get_stats().lost says how much."""
    code = """if True:
        import libperf
        libperf.configure(ring_bytes=64 * 1024)
        monitor = libperf.PerformanceMonitor(histogram_window=100_000)
        work = libperf.trace("work")(lambda: None)
        for _ in range(5000):
            work()
        stats = monitor.get_stats()
        print(stats.lost > 0, stats.latencies["work"].count + stats.lost)
        """
    done = run(code)
    assert (done.stdout, done.stderr) == ("True 5000\n", "")
