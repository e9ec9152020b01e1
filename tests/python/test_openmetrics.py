"""OpenMetrics and the classic text of Prometheus: parsed by prometheus_client, every value where it belongs."""

from __future__ import annotations

import io
import math
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf import Kind
from libperf.exports.families import DURATION_BOUNDS, Families, Family, Group, Sample, all_bounds
from libperf.exports.known_series import KNOWN
from libperf.exports.openmetrics import CLASSIC, OPENMETRICS, choose, render, write
from libperf.processes.counts import Bounds, Counts, Durations, Exemplar, newer, read_counts
from libperf.reader import Reader
from support_metrics import check_histograms, classic, openmetrics, value

SMALL = Bounds((0.1, 1, 10))


def text_of(*families: Family, in_classic: bool = False) -> str:
    return "".join(render(families, classic=in_classic))


def families_of(counts: Counts, counted: Bounds = SMALL, **settings: Any) -> list[Family]:
    families = Families(counted=counted, durations=counted, gen_ai=False, **settings)
    families.add_group(Group((("service", "test"),), counts))
    return families.list()


# ---- a real segment ----

RECORDED = """
import libperf
libperf.configure(service="shop")
for seconds in (0.0005, 0.02, 0.3, 7, 400):
    libperf.Timing("step").record(seconds)
libperf.Counter("jobs").add(3)
libperf.Gauge("depth").set(2.5)
for i in range(4):
    try:
        with libperf.span("load", tokens=5):
            if i == 3: raise KeyError
    except KeyError:
        pass
with libperf.span("gpt", kind="llm") as span:
    span.set(**{"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2})
with libperf.span("search", kind="tool"): pass
with libperf.span("find", kind="retriever"): pass
libperf.Counter("cache.users.redis.misses").add(4)
libperf.Timing("cache.users.memory.get").record(0.001)
libperf.Gauge("cache.users.memory.bytes").set(100)
libperf.Counter("batcher.embed.went.full").add(6)
libperf.Gauge("batcher.embed.each").set(0.5)
libperf.Counter("cache.stats").add(1)
libperf.Gauge("cache.users.computed").set(1)
"""


@pytest.fixture
def recorded(run: Callable[..., subprocess.CompletedProcess[str]], segments: Callable[[], list[Path]]) -> Path:
    answer = run(RECORDED)
    assert answer.stderr == ""
    (path,) = segments()
    return path


def written(path: Path, **options: Any) -> str:
    out = io.StringIO()
    with Reader(path) as reader:
        write(reader, out, **options)
    return out.getvalue()


def test_everything_has_its_family(recorded: Path) -> None:
    """Operations, timings, counters, gauges, quantities; caches and batchers as families of their own."""
    found = openmetrics(written(recorded))
    assert value(found, "libperf_operation_duration_seconds_count", kind="span", name="load", service="shop") == 4
    assert value(found, "libperf_operation_errors_total", name="load") == 1
    assert value(found, "libperf_operation_cancelled_total", name="load") == 0
    assert value(found, "libperf_operation_quantity_total", name="load", quantity="tokens") == 20
    assert value(found, "libperf_timing_seconds_sum", name="step") == pytest.approx(407.3205)
    assert value(found, "libperf_count_total", name="jobs") == 3
    assert value(found, "libperf_value", name="depth") == 2.5
    assert value(found, "libperf_cache_misses_total", cache="users", tier="redis") == 4
    assert value(found, "libperf_cache_get_seconds_count", cache="users", tier="memory") == 1
    assert value(found, "libperf_cache_bytes", cache="users", tier="memory") == 100
    assert value(found, "libperf_batcher_went_total", batcher="embed", reason="full") == 6
    assert value(found, "libperf_batcher_each_seconds", batcher="embed") == 0.5
    assert value(found, "libperf_count_total", name="cache.stats") == 1  # no cache's series
    assert value(found, "libperf_value", name="cache.users.computed") == 1  # a gauge where a cache has a counter
    assert check_histograms(found) > 5


def test_the_names_of_opentelemetry(recorded: Path) -> None:
    """Models, retrievers and tools by the conventions for generative AI; not when that is not wanted."""
    found = openmetrics(written(recorded))
    duration, usage = "gen_ai_client_operation_duration_seconds_count", "gen_ai_client_token_usage_sum"
    assert value(found, duration, gen_ai_operation_name="chat", name="gpt") == 1
    assert value(found, duration, gen_ai_operation_name="retrieval", name="find") == 1
    assert value(found, "gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="search") == 1
    assert value(found, usage, gen_ai_token_type="input", name="gpt") == 7
    assert value(found, usage, gen_ai_token_type="output", name="gpt") == 2
    bounds = {
        float(dict(labels)["le"]) for name, labels in found if name == "gen_ai_client_operation_duration_seconds_bucket"
    }
    assert bounds == {0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, math.inf}
    assert "gen_ai_client" not in written(recorded, gen_ai=False)


def test_the_classic_text_says_the_same(recorded: Path) -> None:
    """Value for value, without units, exemplars and end."""
    text = written(recorded, classic=True)
    new, old = openmetrics(written(recorded)), classic(text)
    assert {key: sample.value for key, sample in old.items()} == {key: sample.value for key, sample in new.items()}
    assert check_histograms(old) > 5
    assert "# EOF" not in text and "# UNIT" not in text and "trace_id" not in text


def test_several_readers(recorded: Path) -> None:
    """Each with its process; families stand together."""
    out = io.StringIO()
    with Reader(recorded) as reader, Reader() as own:
        write([reader, own], out)
    found = openmetrics(out.getvalue())
    assert value(found, "libperf_count_total", name="jobs", pid=recorded.name.partition("-")[0]) == 3


def test_buckets_of_ones_own(recorded: Path) -> None:
    """As given, and one above all."""
    found = openmetrics(written(recorded, buckets=Bounds((0.3, 3))))
    rows = {
        dict(labels)["le"]: sample.value
        for (name, labels), sample in found.items()
        if name == "libperf_timing_seconds_bucket" and ("name", "step") in labels
    }
    assert rows == {"0.3": 2, "3.0": 3, "+Inf": 5}  # 0.3 itself shares its bucket with what is longer


# ---- exemplars ----


def test_exemplars_are_the_slowest_of_their_buckets(name: str) -> None:
    """Of each bucket one span that exists, in the bucket, with the ids of its record."""
    for _ in range(200):
        with libperf.span(name):
            pass
    with Reader() as reader:
        counts = read_counts(reader, all_bounds(DURATION_BOUNDS, True))
    with Reader() as reader:
        spans = {
            (f"{record.trace_id:032x}", f"{record.id:016x}"): record
            for record in reader.records()
            if record.name == name and record.end is not None
        }
    families = Families(counted=all_bounds(DURATION_BOUNDS, True), durations=DURATION_BOUNDS, gen_ai=True)
    families.add_group(Group((), counts))
    found = openmetrics(text_of(*families.list()))
    check_histograms(found)
    examples = [
        sample.exemplar
        for (family, labels), sample in found.items()
        if family == "libperf_operation_duration_seconds_bucket" and ("name", name) in labels and sample.exemplar
    ]
    assert examples
    longest = max((record.end or 0) - record.start for record in spans.values())
    assert max(example.value for example in examples) == pytest.approx(longest / 1e9)
    for example in examples:
        record = spans[example.labels["trace_id"], example.labels["span_id"]]
        assert example.value == pytest.approx(((record.end or 0) - record.start) / 1e9)


def test_an_exemplar_lies_where_its_duration_does() -> None:
    """A duration a hair below a bound is counted above it; as an example it stands below, where its value belongs."""
    example = Exemplar(99_999_999, 1.5, "a" * 32, "b" * 16)
    durations = Durations(1, 0, 0, 99_999_999, [0, 1, 1], exemplars={0: example})
    (family,) = [f for f in families_of(Counts({(Kind.SPAN, "x"): durations})) if f.type == "histogram"]
    found = openmetrics(text_of(family))
    check_histograms(found)
    assert value(found, "libperf_operation_duration_seconds_bucket", le="0.1") == 0
    assert [sample.exemplar.value for sample in found.values() if sample.exemplar] == [0.099999999]


def test_of_several_classes_of_a_bucket_the_slowest() -> None:
    """What is counted may be finer than what is shown; above the last bound are all the others."""
    examples = {place: Exemplar(ns, 1.5, f"{place:032x}", "b" * 16) for place, ns in enumerate((5, 50, 500, 5000))}
    durations = Durations(4, 0, 0, 5555, [1, 2, 3], exemplars=examples)
    for shown, expected in (((10,), [0, 3]), ((100,), [1, 3]), ((1000,), [2, 3]), ((10, 1000), [0, 2, 3])):
        families = Families(
            counted=Bounds((1e-8, 1e-7, 1e-6)), durations=Bounds([ns / 1e9 for ns in shown]), gen_ai=False
        )
        families.add_group(Group((), Counts({(Kind.SPAN, "x"): durations})))
        (family,) = [family for family in families.list() if family.type == "histogram"]
        buckets = [sample.exemplar for sample in family.samples if sample.suffix == "_bucket"]
        assert buckets == [examples[place] for place in expected]


@pytest.mark.parametrize(
    ("was", "now", "kept"),
    [
        ({0: (5, 100.0)}, {}, {0: (5, 100.0)}),  # the last there was
        ({0: (5, 100.0)}, {0: (4, 159.0)}, {0: (5, 100.0)}),  # slower, and less than a minute ago
        ({0: (5, 100.0)}, {0: (4, 161.0)}, {0: (4, 161.0)}),
        ({0: (5, 100.0)}, {0: (6, 101.0)}, {0: (6, 101.0)}),
        ({0: (5, 100.0)}, {1: (60, 500.0)}, {0: (5, 100.0), 1: (60, 500.0)}),  # each bucket for itself
    ],
)
def test_exemplars_from_one_reading_to_the_next(was: dict[int, Any], now: dict[int, Any], kept: dict[int, Any]) -> None:
    """The slowest of the last minute; without any, the last one."""
    before, after, expected = (
        {place: Exemplar(ns, at, "a", "b") for place, (ns, at) in each.items()} for each in (was, now, kept)
    )
    assert newer(before, after) == expected


def test_exemplars_that_are_too_long_are_left_out() -> None:
    """OpenMetrics allows 128 characters."""
    family = Family(
        "a", "histogram", "", "", [Sample("_bucket", (("le", "+Inf"),), 1, Exemplar(1, 1.0, "a" * 99, "b" * 99))]
    )
    assert "trace_id" not in text_of(family)


# ---- text ----


def any_text(chance: random.Random) -> str:
    """What names are made of when nobody is kind."""
    alphabet = 'a\\"\n\r\t\x01\x1b\x7f\x85\u2028\u202e{}=,# é\U0001f600\ud800'
    return "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 30)))


@pytest.mark.parametrize("seed", range(40))
def test_label_values_come_back(seed: int) -> None:
    """Whatever is in them, from both formats; only lone surrogates, which have no UTF-8, are question marks."""
    chance = random.Random(seed)
    values = {any_text(chance) for _ in range(20)}
    family = Family(
        "a", "gauge", any_text(chance), "", [Sample("", (("v", text),), i) for i, text in enumerate(values)]
    )
    want = {text.replace("\ud800", "?") for text in values}
    for in_classic, parse in ((False, openmetrics), (True, classic)):
        try:
            found = parse(text_of(family, in_classic=in_classic))
        except AssertionError:  # two that differed in their surrogates only
            continue
        assert {dict(labels)["v"] for _, labels in found} == want


def test_nul_is_shown() -> None:
    """Prometheus would take it for the end of the text."""
    text = text_of(Family("a", "gauge", "x\0y", "", [Sample("", (("v", "c\0d"),), 1)]))
    assert "\0" not in text
    assert 'v="c\u2400d"' in text


@pytest.mark.parametrize("number", [0, 7, 2**70, 0.1, 1e-9, 1e300, math.inf, -math.inf, math.nan], ids=str)
def test_numbers_come_back(number: float) -> None:
    """Exact, in both formats."""
    family = Family("a", "gauge", "", "", [Sample("", (), number)])
    for in_classic, parse in ((False, openmetrics), (True, classic)):
        (sample,) = parse(text_of(family, in_classic=in_classic)).values()
        assert sample.value == number or (math.isnan(number) and math.isnan(sample.value))


def test_a_program_cannot_write_lines(run: Callable[..., Any], segments: Callable[[], list[Path]]) -> None:
    """A name that looks like a sample is a label's value, not a sample."""
    code = """import libperf
libperf.configure(service='s"} 1\\n# EOF\\nx{y="')
with libperf.span('a"} 1\\nlibperf_fake_total{x="'): pass
libperf.Counter('b\\n# EOF\\n').add(1)"""
    assert run(code).stderr == ""
    (path,) = segments()
    found = openmetrics(written(path))
    assert not any(name.startswith("libperf_fake") for name, _ in found)


def test_nothing_was_recorded() -> None:
    """Is a text, too."""
    assert text_of() == "# EOF\n"
    assert openmetrics(text_of()) == {}


def test_families_are_declared_once_and_end_in_their_unit() -> None:
    """What OpenMetrics demands of names."""
    assert [name for name, known in KNOWN.items() if known.unit and not name.endswith(f"_{known.unit}")] == []
    assert [name for name in KNOWN if name.endswith(("_total", "_bucket", "_count", "_sum", "_info", "_created"))] == []


# ---- which format ----

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "want"),
    [
        ("", CLASSIC),
        ("*/*", CLASSIC),
        ("text/html, */*;q=0.1", CLASSIC),
        (PROMETHEUS, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        ('application/openmetrics-text; version="0.0.1"', OPENMETRICS),
        ("application/openmetrics-text; version=2.0.0", CLASSIC),
        ("application/openmetrics-text;q=0, text/plain", CLASSIC),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.9", CLASSIC),
        ("application/openmetrics-text;q=soon", CLASSIC),
        (";;,=,q", CLASSIC),
    ],
)
def test_content_negotiation(accept: str, want: str) -> None:
    """OpenMetrics for who asks for it, and likes it no less than plain text."""
    assert choose(accept) == want


# ---- bounds ----


@pytest.mark.parametrize("wrong", [(), (1, 1), (2, 1), (0, 1), (-1, 1), (math.nan,), (1, math.inf), ("1",)], ids=str)
def test_what_are_no_bounds(wrong: Any) -> None:
    """ValueError names them."""
    with pytest.raises(ValueError, match="bucket"):
        Bounds(wrong)


def test_bounds_of_a_command_line() -> None:
    """Commas between."""
    assert Bounds.parse("0.1,1,10").seconds == SMALL.seconds
    with pytest.raises(ValueError, match="x"):
        Bounds.parse("1,x")


# ---- adding up ----


def test_sums_keep_what_there_was() -> None:
    """Every number of both; of two examples the slower one."""
    fast, slow = Exemplar(5, 1.0, "a", "b"), Exemplar(9, 0.5, "c", "d")
    total = Counts()
    for examples in ({0: fast}, {0: slow, 2: fast}, {}):
        durations = Durations(2, 1, 1, 10, [1, 2, 2], {"tokens": 3}, examples)
        total.add(Counts({(Kind.SPAN, "x"): durations}, {"jobs": 4}, {}, {"dropped_records": 1}))
    assert total.durations == {(Kind.SPAN, "x"): Durations(6, 3, 3, 30, [3, 6, 6], {"tokens": 9}, {0: slow, 2: fast})}
    assert (total.counters, total.losses) == ({"jobs": 12}, {"dropped_records": 3})


def test_sums_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names above the bound are counted together; those that are known stay apart."""
    monkeypatch.setattr("libperf.processes.counts.SERIES_MAX", 2)
    total = Counts()
    for name in "abcda":
        total.add(Counts({(Kind.SPAN, name): Durations(1, 0, 0, 1, [1])}, {name: 1}))
    assert {name: durations.count for (_, name), durations in total.durations.items()} == {"a": 2, "b": 1, "(other)": 2}
    assert total.counters == {"a": 2, "b": 1, "(other)": 2}
