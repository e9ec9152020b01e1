"""What exporters promise; see bars.py."""

from __future__ import annotations

from bars import Bar
from parts import Line


def alone(line: Line) -> float:
    """What encoding adds to opening and reading, which is the case's reference."""
    return float(line["median_ns"]) * (1 - 1 / float(line["ratio"]))


OTLP_BARS = [
    Bar(
        f"OTLP protobuf: encoding a span{what}",
        "<= 100 ns",
        name,
        alone,
        lambda x: x <= 100,
        "{:.0f} ns",
        lambda lines, name=name: (
            f"; JSON {alone(lines[json]):.0f} ns" if (json := name.replace("protobuf", "json")) in lines else ""
        ),  # type: ignore[misc]
    )
    for name, what in (("otlp/protobuf", ""), ("otlp/protobuf/4_attributes", " of a model, 4 attributes and 6 of ours"))
] + [
    Bar(
        "opentelemetry-sdk's encoder, the same span with 4 attributes, against libperf's",
        ">= 30x",
        "otlp/peer",
        lambda line: float(line["over_libperf"]),
        lambda x: x >= 30,
        "{:.0f}x",
    )
]

EXPORT_BARS = [*OTLP_BARS]
