"""OTLP requests of what was recorded: decoded by the published protobufs, and beside what OpenTelemetry's SDK makes."""

from __future__ import annotations

import io
import json
import math
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

import libperf
from libperf.errors import InvalidError
from libperf.exports import otlp
from libperf.otlp.settings import settle
from support_otlp import attributes, decode, logs_of, metrics_of, spans_of

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Encoded:
    """Everything of a segment, in both formats: they say the same."""

    def __init__(self, path: Path | None, **options: Any) -> None:
        self.bodies: list[tuple[str, Any]] = []
        both = []
        for protocol in ("http/protobuf", "http/json"):
            settings = settle(protocol=protocol, environment={}, **options)
            with libperf.Reader(path) as reader, otlp.Encoder(reader, settings) as encoder:
                found = [(signal, decode(signal, body, settings.json)) for signal, _, body in encoder.bodies()]
                self.stats = encoder.stats
            both.append(found)
        self.bodies = both[0]
        if path is not None:  # of a living process the second picture is a later one
            assert joined(both[0]) == joined(both[1])

    def spans(self, name: str | None = None) -> list[Any]:
        found = [span for signal, body in self.bodies if signal == "traces" for span in spans_of(body)]
        return [span for span in found if name is None or span.name == name]

    def span(self, name: str) -> Any:
        (span,) = self.spans(name)
        return span

    def logs(self) -> list[Any]:
        return [log for signal, body in self.bodies if signal == "logs" for log in logs_of(body)]

    def metric(self, name: str) -> Any:
        return self.metrics[name]

    @property
    def metrics(self) -> dict[str, Any]:
        return {k: v for signal, body in self.bodies if signal == "metrics" for k, v in metrics_of(body).items()}

    def resource(self) -> dict[str, Any]:
        body = next(body for signal, body in self.bodies if signal == "traces")
        return attributes(body.resource_spans[0].resource)


def joined(bodies: list[tuple[str, Any]]) -> dict[str, list[bytes]]:
    """Items, whatever bodies they came in."""
    take: dict[str, Callable[[Any], Any]] = {
        "traces": spans_of,
        "logs": logs_of,
        "metrics": lambda body: metrics_of(body).values(),
    }
    found: dict[str, list[bytes]] = {}
    for signal, body in bodies:
        found.setdefault(signal, []).extend(item.SerializeToString(deterministic=True) for item in take[signal](body))
    return found


@pytest.fixture
def encode(run: Run, segments: Callable[[], list[Path]]) -> Callable[..., Encoded]:
    """Run a program, then encode what it has recorded."""

    def encode(code: str, **options: Any) -> Encoded:
        answer = run("import libperf\n" + code)
        assert (answer.returncode, answer.stderr) == (0, "")
        (path,) = segments()
        return Encoded(path, **options)

    return encode


Encode = Callable[..., Encoded]

# ---- spans ----


def test_a_span(encode: Encode) -> None:
    """Ids, parent, name, kind, times since 1970, attributes by their type, status."""
    import time

    before = time.time_ns()
    found = encode("""
with libperf.span("outer", text="é\\0x", whole=-5, real=0.1, yes=True):
    try:
        with libperf.span("inner"): raise KeyError
    except KeyError: pass
""")
    after = time.time_ns()
    outer, inner = found.span("outer"), found.span("inner")
    assert (len(outer.trace_id), len(outer.span_id), outer.parent_span_id) == (16, 8, b"")
    assert (inner.trace_id, inner.parent_span_id) == (outer.trace_id, outer.span_id)
    assert before < outer.start_time_unix_nano <= inner.start_time_unix_nano
    assert inner.end_time_unix_nano <= outer.end_time_unix_nano < after
    given = attributes(outer)
    assert {k: given[k] for k in ("text", "whole", "real", "yes")} == {
        "text": "é\0x",
        "whole": -5,
        "real": 0.1,
        "yes": 1,
    }
    assert given["libperf.kind"] == "function" and given["thread.id"] > 0
    assert (outer.kind, outer.status.code) == (1, 0)
    assert (inner.status.code, attributes(inner)["error.type"]) == (2, "KeyError")
    assert (found.stats["spans"], found.stats["dropped"], found.stats["lost"]) == (2, 0, 0)


def test_a_cancelled_span_is_no_error(encode: Encode) -> None:
    """Its status is not set; an attribute says it."""
    found = encode("""
try:
    with libperf.span("x"): raise GeneratorExit
except GeneratorExit: pass
""")
    span = found.span("x")
    assert (span.status.code, attributes(span)["libperf.cancelled"]) == (0, True)


def test_generative_ai(encode: Encode) -> None:
    """Names, kinds and attributes are those of the semantic conventions."""
    found = encode("""
with libperf.span("plan", kind="llm", model="openai/gpt-4o-mini", input_tokens=5, finish_reason="stop"): pass
with libperf.span("look", kind="tool"): pass
with libperf.span("agent", kind="graph"): pass
with libperf.span("embed", kind="embedding", **{"gen_ai.request.model": "own", "model": "other"}): pass
with libperf.span("ask", kind="llm"): pass
with libperf.span("search", kind="retriever"): pass
""")
    plan = found.span("chat openai/gpt-4o-mini")
    given = attributes(plan)
    assert plan.kind == 3
    del given["thread.id"]
    assert given == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "openai/gpt-4o-mini",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.response.finish_reasons": ["stop"],
        "libperf.kind": "llm",
        "libperf.name": "plan",
    }
    tool = found.span("execute_tool look")
    assert (tool.kind, attributes(tool)["gen_ai.tool.name"]) == (1, "look")
    assert attributes(found.span("invoke_workflow agent"))["gen_ai.workflow.name"] == "agent"
    own = attributes(found.span("embeddings own"))
    assert (own["gen_ai.request.model"], "model" in own, "gen_ai.provider.name" in own) == ("own", False, False)
    assert attributes(found.span("ask"))["gen_ai.operation.name"] == "chat"
    assert (found.span("search").kind, attributes(found.span("search"))["gen_ai.operation.name"]) == (3, "retrieval")


def test_the_conventions_are_those_of_the_table(encode: Encode) -> None:
    """C and Python have one table: every kind, every alias, every maker of models."""
    conventions = pytest.importorskip("libperf.exports.conventions")
    cases: list[tuple[str, dict[str, Any]]] = [("function", {"model": "gpt-4"})]
    for kind in conventions.OPERATIONS:
        word = kind.name.lower()
        cases += [(word, {alias: "x"}) for alias in conventions.ALIASES]
        cases += [(word, {"model": f"{start}1"}) for start in conventions.PROVIDERS]
        cases += [(word, {"model": "a", "gen_ai.request.model": "b", "gen_ai.operation.name": "mine"})]
    found = encode(f"""
for i, (kind, given) in enumerate({cases!r}):
    with libperf.span(f"s{{i}}", kind="span" if kind == "function" else kind, **given): pass
""")
    assert len(found.spans()) == len(cases)
    for i, ((word, given), span) in enumerate(zip(cases, found.spans(), strict=True)):
        kind = libperf.Kind.SPAN if word == "function" else libperf.Kind.parse(word)
        expected = conventions.attributes(kind, f"s{i}", given)
        ours = {"thread.id", "libperf.kind", "libperf.name", "libperf.task"}
        assert {k: v for k, v in attributes(span).items() if k not in ours} == expected
        operation = conventions.OPERATIONS.get(kind)
        assert span.kind == (3 if operation and operation.span_kind == "CLIENT" else 1)


def test_batches_are_linked(encode: Encode) -> None:
    """An item's span links to the batch that it was in."""
    found = encode("""
import asyncio
async def double(items): return [2 * item for item in items]
async def main():
    async with libperf.BatchProcessor(double, name="twice", max_batch_size=4) as batcher:
        with libperf.span("caller"):
            await asyncio.gather(*[batcher.submit(i) for i in range(4)])
asyncio.run(main())
""")
    batches = {span.span_id: span for span in found.spans("batcher twice: batch")}
    items = found.spans("batcher twice: item")
    assert len(items) == 4 and batches
    for item in items:
        (link,) = item.links
        assert batches[link.span_id].trace_id == link.trace_id


def test_the_sdk_makes_the_same_request(encode: Encode) -> None:
    """A span with the same ids, times and attributes, encoded by OpenTelemetry's own encoder, has equal fields."""
    found = encode("""
with libperf.span("call", n=3, x=0.5, s="text") as s:
    s.log("half way")
""")
    ours = found.span("call")
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    theirs = provider.get_tracer("libperf").start_span(
        "call", kind=SpanKind.INTERNAL, attributes=attributes(ours), start_time=ours.start_time_unix_nano
    )
    theirs.add_event("half way", {"log.level": "info"}, ours.events[0].time_unix_nano)
    theirs.set_status(Status(StatusCode.UNSET))
    theirs.end(ours.end_time_unix_nano)
    (request,) = [encode_spans(exporter.get_finished_spans())]
    (expected,) = spans_of(request)
    expected.trace_id, expected.span_id, expected.flags = ours.trace_id, ours.span_id, 0
    assert expected.status.code == 0
    expected.ClearField("status")
    assert sorted(str(a) for a in expected.attributes) == sorted(str(a) for a in ours.attributes)
    expected.ClearField("attributes")
    ours.ClearField("attributes")
    assert expected == ours


# ---- log lines ----

LINES = """
span = libperf.span("never ends").__enter__()
span.log("lonely", "error")
with libperf.span("outer") as s:
    s.log("first", "debug")
    with libperf.span("inner") as t: t.log("deep", 200)
    s.log("second", "warning")
"""


def test_lines_are_events_of_their_span(encode: Encode) -> None:
    """In order, with their level; one whose span never ends is a log record."""
    found = encode(LINES)
    events = [(e.name, attributes(e)["log.level"]) for e in found.span("outer").events]
    assert events == [("first", "debug"), ("second", "warning")]
    assert [e.name for e in found.span("inner").events] == ["deep"]
    outer = found.span("outer")
    assert outer.start_time_unix_nano <= outer.events[0].time_unix_nano <= outer.end_time_unix_nano
    (log,) = found.logs()
    assert (log.body.string_value, log.severity_text, log.severity_number) == ("lonely", "error", 17)
    assert len(log.trace_id) == 16 and len(log.span_id) == 8


def test_lines_as_records(encode: Encode) -> None:
    """All of them, with the ids of their spans; spans have no events."""
    found = encode(LINES, logs="records")
    assert [log.body.string_value for log in found.logs()] == ["lonely", "first", "deep", "second"]
    assert [log.severity_number for log in found.logs()] == [17, 5, 21, 13]
    assert {log.span_id for log in found.logs()} >= {span.span_id for span in found.spans()}
    assert all(not span.events for span in found.spans())


def test_more_lines_than_there_is_room_for(encode: Encode) -> None:
    """A span carries 128 events, the first; what it leaves out is counted. Lines of 2,000 open spans are log records."""
    found = encode("""
with libperf.span("chatty") as s:
    for i in range(200): s.log(str(i))
open = [libperf.span("open").__enter__() for i in range(1500)]
for each in open: each.log("x")
""")
    chatty = found.span("chatty")
    assert [e.name for e in chatty.events] == [str(i) for i in range(128)]
    assert chatty.dropped_events_count == 72
    assert len(found.logs()) == 1500


def test_lines_that_come_after_their_span(name: str) -> None:
    """A line that was written by another thread, or after the end, is not lost: it becomes a log record."""
    settings = settle(environment={})
    with libperf.Reader() as reader, otlp.Encoder(reader, settings) as encoder:
        list(encoder.bodies())
        with libperf.span(name) as s:
            pass
        reader.refresh()
        list(encoder.bodies())
        s.log("too late")
        logs = []
        for _ in range(3):
            reader.refresh()
            raw = [body for signal, _, body in records_of(encoder) if signal == "logs"]
            logs += [log for body in raw for log in logs_of(decode("logs", body))]
        assert [log.body.string_value for log in logs] == ["too late"]


def records_of(encoder: Any) -> Any:
    from libperf._core import ffi, lib

    body = ffi.new("perf_otlp_body *")
    while lib.perf_otlp_records(encoder._get(), body) == 0 and body.items:
        yield otlp.SIGNALS[body.signal], body.items, bytes(ffi.buffer(body.bytes, body.size))


# ---- metrics ----


def points(metric: Any) -> list[Any]:
    return list(getattr(metric, metric.WhichOneof("data")).data_points)


def test_metrics(encode: Encode) -> None:
    """Counters are cumulative sums, gauges gauges, durations histograms; errors and tokens have their own."""
    found = encode("""
libperf.Counter("requests").add(7)
libperf.Gauge("depth").set(2.5)
libperf.Timing("wait").record(0.25)
for i in range(3):
    try:
        with libperf.span("plan", kind="llm", model="m", input_tokens=10, output_tokens=2, **{"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 1}):
            if i == 2: raise ValueError
    except ValueError: pass
""")
    (requests,) = points(found.metric("requests"))
    assert (requests.as_int, found.metric("requests").sum.is_monotonic) == (7, True)
    assert found.metric("requests").sum.aggregation_temporality == 2
    assert requests.start_time_unix_nano < requests.time_unix_nano
    assert points(found.metric("depth"))[0].as_double == 2.5
    (wait,) = points(found.metric("wait"))
    assert (wait.count, wait.sum, wait.min, wait.max) == (1, 0.25, 0.25, 0.25)
    (duration,) = points(found.metric("libperf.operation.duration"))
    assert duration.count == 3 and attributes(duration) == {"libperf.kind": "llm", "libperf.name": "plan"}
    (errors,) = points(found.metric("libperf.operation.errors"))
    assert errors.as_int == 1
    tokens = {attributes(p)["gen_ai.token.type"]: p for p in points(found.metric("gen_ai.client.token.usage"))}
    assert {kind: (p.count, p.sum) for kind, p in tokens.items()} == {"input": (2, 30.0), "output": (2, 3.0)}
    assert found.metric("gen_ai.client.token.usage").WhichOneof("data") == "histogram"
    (model,) = points(found.metric("gen_ai.client.operation.duration"))
    assert attributes(model)["gen_ai.operation.name"] == "chat"


VALUES = [random.Random(7).lognormvariate(-6, 2) for _ in range(3000)]
TIMING = f"""
values = {VALUES!r}
t = libperf.Timing("t")
for value in values: t.record(value)
t.record(0)
"""


def test_exponential_histograms(encode: Encode) -> None:
    """Every value lies in its bucket or the next one; at most 160 buckets; count, sum, extremes are exact."""
    (point,) = points(encode(TIMING).metric("t"))
    assert (point.count, point.zero_count) == (3001, 1)
    assert point.sum == pytest.approx(sum(VALUES), rel=1e-6)
    assert point.max == pytest.approx(max(VALUES), abs=1e-9)
    assert sum(point.positive.bucket_counts) == 3000
    assert len(point.positive.bucket_counts) <= 160 and point.scale <= 6
    base = 2 ** (2**-point.scale)
    exact = sorted(math.ceil(math.log(value, base)) - 1 for value in VALUES)
    given = [point.positive.offset + i for i, n in enumerate(point.positive.bucket_counts) for _ in range(n)]
    assert max(abs(a - b) for a, b in zip(exact, given, strict=True)) <= 1


def test_a_narrow_histogram_has_the_finest_scale(encode: Encode) -> None:
    """Scale 6, 1.1 % a bucket, where 160 buckets are enough."""
    (point,) = points(encode("t = libperf.Timing('t')\nfor i in range(100): t.record(0.1 + i / 1000)").metric("t"))
    assert point.scale == 6


def test_explicit_histograms(encode: Encode) -> None:
    """Bounds ascend, and each value counts at its bound, or next to it when it is within 0.4 % of one."""
    found = encode(TIMING, histograms="explicit")
    (point,) = points(found.metric("t"))
    bounds = list(point.explicit_bounds)
    assert bounds == sorted(bounds) and len(point.bucket_counts) == len(bounds) + 1
    assert sum(point.bucket_counts) == point.count == 3001
    seen = 0
    for bound, count in zip(bounds, point.bucket_counts, strict=False):
        seen += count
        near = sum(abs(value - bound) <= 0.004 * bound for value in VALUES)
        assert abs(seen - 1 - sum(value <= bound for value in VALUES)) <= near


def test_what_was_lost_is_a_metric(run: Run, segments: Callable[[], list[Path]]) -> None:
    """Records that were overwritten, names that found no room."""
    answer = run(
        """
import libperf
libperf.configure(ring_bytes=65536)
for _ in range(5000):
    with libperf.span("x"): pass
"""
    )
    assert answer.returncode == 0
    (path,) = segments()
    found = Encoded(path)
    lost = {attributes(p)["libperf.lost.what"]: p.as_int for p in points(found.metric("libperf.lost"))}
    assert lost == {"overwritten_records": found.stats["lost"]}
    assert len(found.spans()) + found.stats["lost"] == 5000


# ---- resource, sizes, hostile names ----


def test_the_resource(encode: Encode) -> None:
    """Service, process and who wrote it; what is given takes the place of what is there, under every key once."""
    assert encode("libperf.configure(service='shop')\nwith libperf.span('x'): pass").resource() == {
        "service.name": "shop",
        "telemetry.sdk.name": "libperf",
        "telemetry.sdk.version": libperf.__version__,
        "telemetry.sdk.language": "python",
        "process.pid": pytest.approx(0, abs=2**31),
    }


def test_a_resource_of_ones_own(encode: Encode) -> None:
    found = encode("with libperf.span('x'): pass", service="mine", resource={"process.pid": "7", "a": "\udcff\0b"})
    given = found.resource()
    assert (given["service.name"], given["process.pid"], given["a"]) == ("mine", "7", "?b")


NASTY = ["\x01", "\n\r\t\x1b[31m", '"\\', "\ud800x", "\U0001f600" * 50, "é" * 150, "\x7f\uffff", "</script>", "a" * 200]


def test_nasty_names(encode: Encode) -> None:
    """They come back from both formats, as far as they are UTF-8 and fit into 200 bytes."""
    found = encode(f"""
for name in {NASTY!r}:
    with libperf.span(name, **{{name: name}}) as s: s.log(name)
    libperf.Counter(name).add(1)
""")
    for name in NASTY:
        kept = name.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")
        shown = re.sub(r"[\x00-\x1f\x7f]", " ", kept)  # a name never has control characters
        span = found.span(shown)
        assert attributes(span)[shown] == kept
        assert [e.name for e in span.events] == [kept]
        assert points(found.metric(shown))[0].as_int == 1


def test_bytes_that_are_no_utf8(encode: Encode) -> None:
    """A C program may write anything: it becomes U+FFFD."""
    found = encode("""
from libperf._core import ffi, lib
raw = b"a\\xff\\xc3b\\xed\\xa0\\x80"
name = lib.perf_name(lib.PERF_KIND_SPAN, raw, len(raw))
key = lib.perf_name(lib.PERF_KIND_KEY, raw, len(raw))
span = lib.perf_span_begin(name, ffi.new("perf_span *")[0])
lib.perf_span_set_text(span, key, raw, len(raw))
lib.perf_span_log(span, 2, raw, len(raw))
lib.perf_span_end(span)
""")
    (span,) = found.spans()
    text = "a\ufffd\ufffdb\ufffd\ufffd\ufffd"
    assert (span.name, attributes(span)[text], span.events[0].name) == (text, text, text)


def test_numbers_that_are_none(encode: Encode) -> None:
    """NaN and infinity pass through both formats, and so do the largest integers."""
    found = encode("""
with libperf.span("x", a=float("inf"), b=-float("inf"), c=float("nan"), d=2**63 - 1, e=-2**63, f=1e-300, g=5e-324): pass
""")
    given = attributes(found.span("x"))
    assert math.isnan(given.pop("c"))
    assert {k: given[k] for k in "abdefg"} == {
        "a": math.inf,
        "b": -math.inf,
        "d": 2**63 - 1,
        "e": -(2**63),
        "f": 1e-300,
        "g": 5e-324,
    }


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_bodies_are_bounded(run: Run, segments: Callable[[], list[Path]], protocol: str) -> None:
    """Each is a whole request of at most max_body_bytes; together they have everything, once."""
    assert (
        run("""
import libperf
for i in range(3000):
    with libperf.span("x", i=i) as s: s.log(str(i))
    libperf.Counter(f"c{i % 300}").add(1)
""").returncode
        == 0
    )
    (path,) = segments()
    for logs in ("events", "records"):
        settings = settle(protocol=protocol, environment={}, max_body_bytes=8192, logs=logs)
        with libperf.Reader(path) as reader, otlp.Encoder(reader, settings) as encoder:
            bodies = list(encoder.bodies())
        assert max(len(body) for _, _, body in bodies) <= 8192 + 64
        decoded = [(signal, items, decode(signal, body, settings.json)) for signal, items, body in bodies]
        spans = [span for signal, _, body in decoded if signal == "traces" for span in spans_of(body)]
        lines = [log.body.string_value for signal, _, body in decoded if signal == "logs" for log in logs_of(body)]
        lines += [event.name for span in spans for event in span.events]
        assert sorted(attributes(span)["i"] for span in spans) == list(range(3000))
        assert sorted(map(int, lines)) == list(range(3000))
        counters = [name for signal, _, body in decoded if signal == "metrics" for name in metrics_of(body)]
        assert {f"c{i}" for i in range(300)} <= set(counters)
        assert len(counters) == len(set(counters))
        for signal, items, body in decoded:
            count = {"traces": spans_of, "logs": logs_of}.get(
                signal, lambda b: [p for m in metrics_of(b).values() for p in points(m)]
            )
            assert len(count(body)) == items


def test_wrong_settings(encode: Encode) -> None:
    """An error names the value and what would do."""
    with libperf.Reader() as reader:
        for options, words in (
            ({"encoding": "xml"}, "json, protobuf"),
            ({"signals": "spans"}, "traces, metrics, logs"),
            ({"encoding": "protobuf", "signals": ["traces", "logs"]}, "one signal"),
            ({"histograms": "linear"}, "exponential, explicit"),
            ({"resource": {"": "x"}}, "no name"),
        ):
            with pytest.raises(InvalidError, match=words):
                otlp.write(reader, io.BytesIO(), **options)  # type: ignore[arg-type]


def test_files(run: Run, segments: Callable[[], list[Path]]) -> None:
    """JSON: a request a line; protobuf: one request, made of one or many."""
    assert (
        run("""
import libperf
for i in range(100):
    with libperf.span("x", i=i): pass
""").returncode
        == 0
    )
    (path,) = segments()
    for size in (0, 4096):
        with libperf.Reader(path) as reader:
            out = io.BytesIO()
            assert otlp.write(reader, out, max_body_bytes=size) == []
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        assert {name for line in lines for name in line} == {"resourceSpans", "resourceMetrics"}
        with libperf.Reader(path) as reader:
            out = io.BytesIO()
            otlp.write(reader, out, encoding="protobuf", max_body_bytes=size)
        assert len(spans_of(decode("traces", out.getvalue()))) == 100
