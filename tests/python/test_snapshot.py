"""snapshot() and report(): what a process recorded so far, as plain data that agrees with itself and with what was done."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

import libperf
from libperf._core import ffi, lib
from libperf.names import intern

SECOND = 1_000_000_000


def row(name: str, kind: str = "span") -> dict[str, Any]:
    """The operation of that name in a new snapshot."""
    (found,) = (row for row in libperf.snapshot()["operations"] if (row["kind"], row["name"]) == (kind, name))
    return found


def record(name: str, start_ns: int, duration_ns: int, status: int = lib.PERF_STATUS_OK) -> None:
    """A span that was begun and ended at given times of the monotonic clock."""
    ticks = lib.perf_clock_ns_to_ticks
    handle = lib.perf_span_begin_at(intern(libperf.Kind.SPAN, name), ffi.new("perf_span *")[0], 0, ticks(start_ns))
    lib.perf_span_end_at(handle, status, 0, ticks(start_ns + duration_ns))


# ---- operations ----


def test_a_row_says_what_was_done(name: str) -> None:
    """Calls, errors, cancelled ones, sum, mean, extremes and percentiles of given durations."""
    now = lib.perf_clock_now_ns()
    for number in range(1, 101):
        status = {1: lib.PERF_STATUS_ERROR, 2: lib.PERF_STATUS_CANCELLED}.get(number, lib.PERF_STATUS_OK)
        record(name, now, number * 1_000_000, status)
    found = row(name)
    assert (found["calls"], found["errors"], found["cancelled"]) == (100, 1, 1)
    for field, value in {"total_s": 5.05, "mean_s": 0.0505, "min_s": 0.001, "max_s": 0.1}.items():
        assert found[field] == pytest.approx(value, rel=2e-3), field
    for field, value in {"p50_s": 0.05, "p95_s": 0.095, "p99_s": 0.099}.items():
        assert found[field] == pytest.approx(value, rel=2**-8 + 2e-3), field


def test_tokens_and_other_quantities_are_added_up(name: str) -> None:
    """Input and output tokens have fields of their own, others are in `quantities`."""
    for number in (1, 2):
        usage = {"gen_ai.usage.input_tokens": 10 * number, "gen_ai.usage.output_tokens": number}
        with libperf.span(name, kind="llm", bytes=7, **usage):
            pass
    found = row(name, "llm")
    assert (found["input_tokens"], found["output_tokens"], found["quantities"]) == (30, 3, {"bytes": 14})


def test_one_name_of_two_kinds_is_two_rows(name: str) -> None:
    """Kind is part of the name."""
    with libperf.span(name, kind="node"), libperf.span(name, kind="llm"):
        pass
    assert (row(name, "node")["calls"], row(name, "llm")["calls"]) == (1, 1)


def test_a_name_that_was_never_called_is_no_row(name: str) -> None:
    """Decorating is not calling."""
    libperf.trace(name)(lambda: None)
    assert name not in {found["name"] for found in libperf.snapshot()["operations"]}


def test_counts_only_grow(name: str) -> None:
    """A later snapshot has what the earlier had, and what came since; taking one changes nothing."""
    traced = libperf.trace(name)(lambda: None)
    traced()
    first, again = libperf.snapshot(), libperf.snapshot()
    traced()
    last = libperf.snapshot()

    def counts(snapshot: dict[str, Any]) -> dict[tuple[str, str], int]:
        return {(found["kind"], found["name"]): found["calls"] for found in snapshot["operations"]}

    assert counts(first) == counts(again)
    assert counts(last) == counts(first) | {("span", name): 2}


RECORD = """
import json
import libperf
from libperf._core import ffi, lib
from libperf.names import intern

base = lib.perf_clock_now_ns()

def record(name, start, duration):
    ticks = lib.perf_clock_ns_to_ticks
    handle = lib.perf_span_begin_at(intern(0, name), ffi.new("perf_span *")[0], 0, ticks(base + start * 10**9))
    lib.perf_span_end_at(handle, 0, 0, ticks(base + (start + duration) * 10**9))
"""


def test_the_wall_grows(run: Any) -> None:
    """Strictly, with each span that ends later."""
    code = """
walls = []
for start in range(5):
    record("later", start, 1)
    walls.append(libperf.snapshot()["wall_s"])
print(json.dumps(walls))
"""
    walls = json.loads(run(RECORD + code).stdout)
    assert 0 < walls[0] < walls[1] < walls[2] < walls[3] < walls[4]
    assert walls == pytest.approx([1, 2, 3, 4, 5], rel=2e-3)


def test_shares_of_the_wall(run: Any) -> None:
    """Overlapping calls count once; the share is of the time from the first span to the last."""
    code = """
record("whole", 0, 10)
record("part", 1, 2)
record("part", 2, 2)   # overlaps the one before: 1 to 4
record("part", 7, 1)
record("never", 5, 0)
print(json.dumps(libperf.snapshot()))
"""
    snapshot = json.loads(run(RECORD + code).stdout)
    shares = {found["name"]: found["share_of_wall"] for found in snapshot["operations"]}
    assert snapshot["wall_s"] == pytest.approx(10, rel=2e-3)
    assert shares == pytest.approx({"whole": 1.0, "part": 0.4, "never": 0.0}, rel=5e-3)
    assert [found["name"] for found in snapshot["operations"]] == ["whole", "part", "never"]
    starts = [call["start_s"] for call in snapshot["slowest"]]
    assert [starts[0], *sorted(starts[1:3]), *starts[3:]] == pytest.approx([0, 1, 2, 7, 5], abs=0.02)


# ---- calls, open ones, metrics, losses ----


def test_the_slowest_calls_are_shown_with_what_they_were_about(name: str) -> None:
    """Longest first, with attributes, status and ids that lead to the span."""
    now = lib.perf_clock_now_ns()
    for hours in (1, 3, 2):
        record(f"{name}.{hours}", now, hours * 3600 * SECOND, lib.PERF_STATUS_ERROR if hours == 3 else 0)
    found = [call for call in libperf.snapshot()["slowest"] if call["name"].startswith(name)]
    assert [call["name"] for call in found] == [f"{name}.{hours}" for hours in (3, 2, 1)]
    assert [call["status"] for call in found] == ["error", "ok", "ok"]
    assert found[0]["duration_s"] == pytest.approx(3 * 3600, rel=2e-3)
    assert {len(call["span_id"]) for call in found} == {16}


def test_open_spans_are_shown(name: str) -> None:
    """With their attributes and how long they have lasted; when they have ended they are rows."""
    with libperf.span(name, step="x") as span:
        (found,) = (call for call in libperf.snapshot()["open"] if call["name"] == name)
        assert (found["span_id"], found["trace_id"], found["status"]) == (span.id, span.trace_id, "open")
        assert (found["attributes"], found["duration_s"] > 0) == ({"step": "x"}, True)
        assert name not in {found["name"] for found in libperf.snapshot()["operations"]}
    assert name not in {call["name"] for call in libperf.snapshot()["open"]}
    assert row(name)["calls"] == 1


def test_metrics_are_in_it(name: str) -> None:
    """Counters, gauges and timings, each under its own heading."""
    libperf.Counter(name).add(5)
    libperf.Gauge(name).set(-1.5)
    libperf.Timing(name).record(0.25)
    snapshot = libperf.snapshot()
    assert (snapshot["counters"][name], snapshot["gauges"][name]) == (5, -1.5)
    (timing,) = (found for found in snapshot["timings"] if found["name"] == name)
    assert (timing["kind"], timing["calls"], timing["total_s"], timing["p50_s"]) == ("timing", 1, 0.25, 0.25)


@pytest.mark.parametrize(("value", "shown"), [(math.inf, "inf"), (-math.inf, "-inf"), (0.0, 0.0), (1e308, 1e308)])
def test_it_is_json(name: str, value: float, shown: object) -> None:
    """Also with infinite numbers, which JSON does not have: nothing in it is beyond the standard."""
    libperf.Gauge(name).set(value)
    with libperf.span(name, value=value, nan=math.nan):
        back = json.loads(json.dumps(libperf.snapshot(), allow_nan=False))
    assert back["gauges"][name] == shown
    (call,) = (call for call in back["open"] if call["name"] == name)
    assert call["attributes"] == {"value": shown, "nan": "nan"}


def test_losses_are_shown(name: str) -> None:
    """What found no room is in `lost`, by what it was."""
    before = libperf.snapshot()["lost"].get("dropped_attributes", 0)
    with libperf.span(name, **{f"key{number}": number for number in range(10)}):
        pass
    assert libperf.snapshot()["lost"]["dropped_attributes"] == before + 2


def test_a_process_that_recorded_nothing(run: Any) -> None:
    """An empty snapshot, not an error; who it is is known all the same."""
    code = "import json, os, libperf\nprint(json.dumps([libperf.snapshot(), os.getpid()]))\nprint(libperf.report())"
    done = run(code)
    snapshot, pid = json.loads(done.stdout.splitlines()[0])
    assert (done.returncode, done.stderr) == (0, "")
    assert (snapshot["program"]["pid"], snapshot["program"]["state"]) == (pid, "running")
    assert (snapshot["operations"], snapshot["slowest"], snapshot["open"], snapshot["wall_s"]) == ([], [], [], 0)
    assert (snapshot["counters"], snapshot["gauges"], snapshot["timings"], snapshot["lost"]) == ({}, {}, [], {})


def test_the_report_is_the_same_as_data(name: str) -> None:
    """str(report()) shows the rows of to_dict(), and both come from one picture."""
    with libperf.span(name):
        pass
    report = libperf.report()
    before = report.to_dict()
    with libperf.span(name):
        pass
    assert report.to_dict() == before
    assert [found["name"] for found in before["operations"]] == [found.name for found in report.rows]
    assert name in str(report)


# ---- asked for while the program works ----


def test_every_picture_agrees_with_itself(name: str) -> None:
    """Taken from several threads while others record: no call of the program waits, and no number contradicts another."""
    stop = threading.Event()
    errors: list[BaseException] = []
    traced = libperf.trace(name)(lambda: None)

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        return run

    def write() -> None:
        for _ in range(1500):
            traced()

    def look() -> None:
        calls = 0
        while not stop.is_set():
            for found in libperf.snapshot()["operations"]:
                assert found["min_s"] <= found["p50_s"] <= found["p95_s"] <= found["p99_s"] <= found["max_s"]
                assert 0 <= found["share_of_wall"] <= 1
                assert found["errors"] + found["cancelled"] <= found["calls"]
                if found["name"] == name:
                    assert found["calls"] >= calls
                    calls = found["calls"]

    readers = [threading.Thread(target=guarded(look)) for _ in range(2)]
    writers = [threading.Thread(target=guarded(write)) for _ in range(3)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert errors == []
    assert row(name)["calls"] == 3 * 1500


def test_asking_often_keeps_nothing(run: Any) -> None:
    """A hundred snapshots leave neither open files nor Python objects behind."""
    code = """
import gc, os
import libperf

with libperf.span("a"):
    pass
for turn in range(3):
    for _ in range(50):
        libperf.snapshot()
    gc.collect()
    print(len(os.listdir("/proc/self/fd")), len(gc.get_objects()))
"""
    first, second, third = (line.split() for line in run(code).stdout.splitlines())
    assert first[0] == second[0] == third[0]
    assert abs(int(third[1]) - int(second[1])) < 50
