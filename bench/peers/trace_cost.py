"""What one traced call costs, side by side in one process: libperf, plain Python, OpenTelemetry, Prometheus.

Every form wraps the same empty function and is called in the same loop; the bare function's time in that round is taken
off. Each tracer has a root span open, so that every span measured gets a parent and ids. The garbage collector is off
while the clock runs, as `timeit` has it, and OpenTelemetry's queue is emptied between the rounds: its batch processor is
on, its exporter does nothing, and neither exporting nor waking up for it is counted. All of this favours the others.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import importlib
import statistics
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from measure import Row, positive, rounds, write

import libperf

TARGET_NS = 10_000_000  # one timing lasts about that long
TAIL_CALLS = 50_000  # of one round, for the 99th percentile
QUEUE = 1 << 17  # more than one round's spans: nothing is dropped or exported while the clock runs


@dataclass
class Form:
    """A way to trace a call: what is called, which bare form it is compared with, and what surrounds a round."""

    what: str
    call: Callable[[], Any]
    bare: str = "bare/sync"
    root: Callable[[], AbstractContextManager[Any]] = nullcontext
    after: Callable[[], object] = lambda: None
    awaited: bool = False


def empty() -> None:
    pass


async def empty_async() -> None:
    pass


class Thing:
    def empty(self) -> None:
        pass

    @libperf.trace
    def traced(self) -> None:
        pass


# ---- plain Python ----

_current: ContextVar[int] = ContextVar("current", default=0)


def python_trace(function: Callable[[], None]) -> Callable[[], None]:
    """The least a tracer in pure Python does: two times, an id, the parent; `finished` stands for its buffer."""
    finished: list[tuple[int, int, int, int]] = []
    next_id = iter(range(1, sys.maxsize)).__next__

    @functools.wraps(function)
    def wrapper() -> None:
        parent, own = _current.get(), next_id()
        token = _current.set(own)
        start = perf_counter_ns()
        try:
            return function()
        finally:
            finished.append((own, parent, start, perf_counter_ns()))
            _current.reset(token)
            if len(finished) > 1000:
                finished.clear()

    return wrapper


# ---- forms ----


def libperf_forms() -> dict[str, Form]:
    def with_span() -> None:
        with libperf.span("x"):
            pass

    def root() -> AbstractContextManager[Any]:
        return libperf.span("root")

    thing = Thing()
    return {
        "bare/sync": Form("bare function", empty),
        "bare/method": Form("bare method", thing.empty),
        "bare/async": Form("bare coroutine, awaited", empty_async, awaited=True),
        "trace/sync": Form("@libperf.trace", libperf.trace(empty), root=root),
        "trace/method": Form("@libperf.trace, method", thing.traced, "bare/method", root),
        "trace/async": Form("@libperf.trace, awaited", libperf.trace(empty_async), "bare/async", root, awaited=True),
        "span/with": Form("with libperf.span", with_span, root=root),
        "python/decorator": Form("pure Python decorator, ContextVar", python_trace(empty)),
    }


def opentelemetry_forms() -> dict[str, Form]:
    trace = importlib.import_module("opentelemetry.sdk.trace")
    export = importlib.import_module("opentelemetry.sdk.trace.export")

    class Nowhere(export.SpanExporter):  # type: ignore[misc, name-defined]
        def export(self, spans: object) -> Any:
            return export.SpanExportResult.SUCCESS

    provider = trace.TracerProvider()
    provider.add_span_processor(
        export.BatchSpanProcessor(
            Nowhere(), max_queue_size=QUEUE, max_export_batch_size=QUEUE, schedule_delay_millis=3_600_000
        )
    )
    tracer = provider.get_tracer("bench")

    def with_span() -> None:
        with tracer.start_as_current_span("x"):
            pass

    def root() -> Any:
        return tracer.start_as_current_span("root")

    decorated = tracer.start_as_current_span("x")(empty)
    return {
        "otel/with": Form("opentelemetry-sdk, with", with_span, root=root, after=provider.force_flush),
        "otel/decorator": Form("opentelemetry-sdk, decorator", decorated, root=root, after=provider.force_flush),
    }


def prometheus_forms() -> dict[str, Form]:
    client = importlib.import_module("prometheus_client")
    histogram = client.Histogram("bench_seconds", "empty function", registry=client.CollectorRegistry())

    def with_timer() -> None:
        with histogram.time():
            pass

    return {
        "prometheus/with": Form("prometheus_client Histogram.time(), with", with_timer),
        "prometheus/decorator": Form("prometheus_client Histogram.time(), decorator", histogram.time()(empty)),
    }


def all_forms() -> dict[str, Form]:
    forms = libperf_forms()
    for peer, make in (("opentelemetry-sdk", opentelemetry_forms), ("prometheus-client", prometheus_forms)):
        try:
            forms |= make()
        except ImportError as error:
            print(f"trace_cost.py: {peer} is left out: {error} (see bench/peers/requirements.txt)", file=sys.stderr)
    return forms


# ---- timing ----


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def time_calls(call: Callable[[], Any], count: int) -> float:
    start = perf_counter_ns()
    for _ in range(count):
        call()
    return (perf_counter_ns() - start) / count


async def time_awaits(call: Callable[[], Coroutine[Any, Any, None]], count: int) -> float:
    start = perf_counter_ns()
    for _ in range(count):
        await call()
    return (perf_counter_ns() - start) / count


def timed(form: Form, loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Something that returns ns per call of `form`, over as many calls as fill TARGET_NS."""

    async def in_loop(count: int) -> float:
        with form.root():
            return await time_awaits(form.call, count)

    def measure(count: int) -> float:
        with no_garbage_collection():
            if form.awaited:
                ns = loop.run_until_complete(in_loop(count))
            else:
                with form.root():
                    ns = time_calls(form.call, count)
        form.after()
        return ns

    count = min(QUEUE // 2, max(100, int(TARGET_NS / measure(500))))
    return lambda: measure(count)


# ---- one busy thread beside it ----


def p99(call: Callable[[], Any]) -> float:
    times = [0] * TAIL_CALLS
    with no_garbage_collection():
        for i in range(TAIL_CALLS):
            start = perf_counter_ns()
            call()
            times[i] = perf_counter_ns() - start
    times.sort()
    return float(times[-(-TAIL_CALLS * 99 // 100) - 1])  # nearest rank


@contextmanager
def busy_thread() -> Iterator[None]:
    """Another thread that never gives up the GIL by itself."""
    stop = False

    def spin() -> None:
        number = 0
        while not stop:
            number += 1

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop = True
        thread.join()


def tails(forms: dict[str, Form], count: int) -> Row:
    with busy_thread():
        found = rounds({name: functools.partial(p99, forms[name].call) for name in ("bare/sync", "trace/sync")}, count)
    added = [traced - bare for traced, bare in zip(found["trace/sync"], found["bare/sync"], strict=True)]
    return Row("trace/p99_busy", "@libperf.trace, p99 added, busy thread beside it", "ns", added)


# ---- results ----


def cost_rows(forms: dict[str, Form], count: int) -> list[Row]:
    loop = asyncio.new_event_loop()
    try:
        found = rounds({name: timed(form, loop) for name, form in forms.items()}, count)
    finally:
        loop.close()
    rows = []
    for name, form in forms.items():
        if name == form.bare or name.startswith("bare/"):
            rows.append(Row(name, form.what, "ns", found[name]))
        else:
            added = [own - bare for own, bare in zip(found[name], found[form.bare], strict=True)]
            rows.append(Row(name, f"{form.what}: added", "ns", added))
    return rows


def compare_with_trace(rows: list[Row]) -> None:
    """How many times what @libperf.trace adds: median over the rounds of the ratio within each."""
    trace = next(row for row in rows if row.name == "trace/sync")
    for row in rows:
        if row is not trace and not row.name.startswith(("bare/", "trace/")):
            ratio = statistics.median(a / b for a, b in zip(row.samples, trace.samples, strict=True))
            row.more["over_trace"] = round(ratio, 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: .venv-peers/bin/python bench/peers/trace_cost.py --rounds 31 --json trace_cost.jsonl",
    )
    parser.add_argument("--rounds", type=positive, default=21, metavar="N", help="at least 15 to be quoted (21)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    arguments = parser.parse_args()
    forms = all_forms()
    rows = cost_rows(forms, arguments.rounds)
    compare_with_trace(rows)
    rows.append(tails(forms, arguments.rounds))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
