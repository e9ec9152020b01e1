"""What the tests of metrics share: programs that record, and looking at what the parsers of prometheus_client find."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_classic

# records what its arguments say, says "ready", and lives until its input ends: SERVICE CALLS [GAUGE]
PROGRAM = """
import sys, libperf
libperf.configure(service=sys.argv[1])
libperf.Counter("jobs").add(int(sys.argv[2]))
libperf.Timing("steps").record(0.25)
libperf.Counter("cache.users.memory.hits").add(2)
libperf.Gauge("cache.users.memory.entries").set(5)
for _ in range(int(sys.argv[2])):
    with libperf.span("work"): pass
with libperf.span("gpt", kind="llm") as span:
    span.set(**{"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2})
if sys.argv[3:]:
    libperf.Gauge("depth").set(float(sys.argv[3]))
print("ready", flush=True)
for line in sys.stdin:
    if line == "end\\n": break
    for _ in range(int(line)):
        with libperf.span("work"): pass
    print("done", flush=True)
"""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], Any]


def samples_of(families: Iterable[Any]) -> Samples:
    """By name and labels; each must be there once."""
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample
    return found


def openmetrics(text: str) -> Samples:
    return samples_of(parse_openmetrics(text))


def classic(text: str) -> Samples:
    return samples_of(parse_classic(text))


def value(samples: Samples, name: str, /, **labels: str) -> float | None:
    """The only sample that has these labels; None: there is none."""
    wanted = set(labels.items())
    found = [sample.value for (known, has), sample in samples.items() if known == name and wanted <= has]
    assert len(found) <= 1, (name, labels, found)
    return float(found[0]) if found else None


def check_histograms(samples: Samples) -> int:
    """Buckets are cumulative, the last is the count, exemplars lie in their buckets. Returns how many there were."""
    series: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[float, Any]]] = {}
    for (name, labels), sample in samples.items():
        if name.endswith("_bucket"):
            rest = frozenset(label for label in labels if label[0] != "le")
            series.setdefault((name.removesuffix("_bucket"), rest), []).append((float(dict(labels)["le"]), sample))
    for (name, rest), buckets in series.items():
        buckets.sort(key=lambda bucket: bucket[0])
        counts = [sample.value for _, sample in buckets]
        assert counts == sorted(counts)
        assert math.isinf(buckets[-1][0])
        assert counts[-1] == samples[f"{name}_count", rest].value
        assert (counts[-1] == 0) <= (samples[f"{name}_sum", rest].value == 0)
        below = -math.inf
        for le, sample in buckets:
            if sample.exemplar:
                assert below < sample.exemplar.value <= le
                assert sum(len(key) + len(text) for key, text in sample.exemplar.labels.items()) <= 128
            below = le
    return len(series)
