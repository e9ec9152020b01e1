"""What it takes to make an OTLP request of a thousand finished spans with 4 attributes, side by side: libperf's encoder
and opentelemetry-sdk's (opentelemetry-exporter-otlp-proto-common), down to the bytes of protobuf.

libperf's time has the reading of the segment in it; OpenTelemetry's spans lie there as objects, with the ids, times and
attributes that the SDK gave them. Nothing is sent.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from measure import Row, positive, rounds, write
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import libperf
from libperf.exports.otlp import Encoder
from libperf.otlp.settings import settle

SPANS = 1000
GIVEN: dict[str, Any] = {
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 512,
    "gen_ai.request.temperature": 0.2,
    "user": "user-0123456789",
}


def libperf_spans() -> Callable[[], float]:
    settings = settle(signals=["traces"], environment={})
    reader = libperf.Reader()
    encoder = Encoder(reader, settings)
    list(encoder.bodies())

    def measure() -> float:
        for _ in range(SPANS):
            with libperf.span("call", kind="llm", **GIVEN):
                pass
        start = perf_counter_ns()
        reader.refresh()
        found = sum(items for _, items, _ in encoder.bodies())
        took = perf_counter_ns() - start
        assert found == SPANS, found
        return took / SPANS

    return measure


def opentelemetry_spans() -> Callable[[], float]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("bench")
    for _ in range(SPANS):
        with tracer.start_as_current_span("call", attributes=GIVEN):
            pass
    spans = exporter.get_finished_spans()

    def measure() -> float:
        start = perf_counter_ns()
        encode_spans(spans).SerializeToString()
        return (perf_counter_ns() - start) / SPANS

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=31, metavar="N", help="at least 15 to be quoted (31)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    arguments = parser.parse_args()
    libperf.configure(ring_bytes=1 << 20)  # what is copied before it is read
    found = rounds({"otlp/own": libperf_spans(), "otlp/peer": opentelemetry_spans()}, arguments.rounds)
    rows = [
        Row("otlp/own", "libperf: read and encoded", "ns", found["otlp/own"]),
        Row("otlp/peer", "opentelemetry-sdk: encoded", "ns", found["otlp/peer"]),
    ]
    ratios = [theirs / ours for theirs, ours in zip(found["otlp/peer"], found["otlp/own"], strict=True)]
    rows[1].more["over_libperf"] = round(statistics.median(ratios), 2)
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
