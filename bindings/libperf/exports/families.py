"""Metrics as families of samples: what the text formats and prometheus_client are both made of.

| family | from |
|---|---|
| `libperf_operation_duration_seconds`, `_errors`, `_cancelled`, `_quantity` | operations: spans of each kind and name |
| `gen_ai_client_operation_duration_seconds`, `gen_ai_client_token_usage`, `gen_ai_execute_tool_duration_seconds` | the same of models, embeddings, retrievers and tools, by OpenTelemetry's conventions |
| `libperf_timing_seconds`, `libperf_count`, `libperf_value` | Timing, Counter, Gauge |
| `libperf_cache_*`, `libperf_batcher_*`, `libperf_slo_*` | the series of caches, batchers and objectives |
| `libperf_processes`, `libperf_lost`, `libperf_segments_skipped`, `libperf_build` | about the measuring itself |
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..names import INPUT_TOKENS, OUTPUT_TOKENS, Kind
from ..processes.counts import Bounds, Counts, Durations, Exemplar
from .known_series import KNOWN, Home, home_of

__all__ = ["DURATION_BOUNDS", "GEN_AI_BOUNDS", "Families", "Family", "Group", "Labels", "Sample", "all_bounds"]

Labels = tuple[tuple[str, str], ...]
Type = Literal["counter", "gauge", "histogram", "info"]

DURATION_BOUNDS = Bounds((0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300))
# those of OpenTelemetry's semantic conventions for generative AI
GEN_AI_BOUNDS = Bounds(tuple(0.01 * 2**i for i in range(14)))
GEN_AI_OPERATIONS = {Kind.LLM: "chat", Kind.EMBEDDING: "embeddings", Kind.RETRIEVER: "retrieval"}
TOKEN_TYPES = {INPUT_TOKENS: "input", OUTPUT_TOKENS: "output"}


def all_bounds(durations: Bounds, gen_ai: bool) -> Bounds:
    """What has to be counted so that every family finds its bounds."""
    return durations.merged(GEN_AI_BOUNDS) if gen_ai else durations


class Sample(NamedTuple):
    """One line. `suffix` follows the family's name."""

    suffix: str
    labels: Labels
    value: float
    exemplar: Exemplar | None = None


@dataclass(slots=True)
class Family:
    """Samples of one name. `name` is without "_total", as OpenMetrics has it; it ends in the unit."""

    name: str
    type: Type
    help: str
    unit: str = ""
    samples: list[Sample] = field(default_factory=list)


class Group(NamedTuple):
    """Numbers that share labels: of one process, of one service, or of all."""

    labels: Labels
    counts: Counts


class Families:
    """Collects groups; `list()` gives the families that have samples, always in the same order.

    durations: the bounds of libperf's own histograms
    gen_ai:    also under the names of OpenTelemetry's conventions
    """

    def __init__(self, *, counted: Bounds, durations: Bounds, gen_ai: bool) -> None:
        self._found: dict[str, Family] = {}
        self._durations = _Places(durations, counted)
        self._gen_ai = _Places(GEN_AI_BOUNDS, counted) if gen_ai else None

    def list(self) -> list[Family]:
        """By name: related ones stand together."""
        return [self._found[name] for name in sorted(self._found)]

    def add(self, name: str, type: Type, help: str, labels: Labels, value: float, unit: str = "") -> None:
        """One sample of a counter, a gauge or an info."""
        suffix = {"counter": "_total", "info": "_info"}.get(type, "")
        self._family(name, type, help, unit).samples.append(Sample(suffix, labels, value))

    def add_group(self, group: Group) -> None:
        for (kind, name), durations in group.counts.durations.items():
            if kind is not Kind.TIMING:
                self._add_operation(kind, name, durations, group.labels)
            elif home := home_of(name, "timing"):
                self._add_known_durations(home, durations, group.labels)
            else:
                labels = (("name", name), *group.labels)
                text = "Durations recorded by libperf.Timing."
                self._histogram("libperf_timing_seconds", text, labels, durations, self._durations)
        for name, value in group.counts.counters.items():
            if home := home_of(name, "counter"):
                self.add(*KNOWN[home.family].begin(home.family), (*home.labels, *group.labels), value)
            else:
                text = "Numbers that libperf.Counter has added up."
                self.add("libperf_count", "counter", text, (("name", name), *group.labels), value)
        for what, lost in group.counts.losses.items():
            text = "What was measured and could not be kept, by what it was."
            self.add("libperf_lost", "counter", text, (("what", what), *group.labels), lost)

    def add_gauge(self, name: str, labels: Labels, value: float) -> None:
        """A gauge of the user's, or one of a cache, a batcher, an objective."""
        if home := home_of(name, "gauge"):
            known = KNOWN[home.family]
            self.add(*known.begin(home.family), (*home.labels, *labels), value, known.unit)
        else:
            text = "Values that libperf.Gauge was set to last."
            self.add("libperf_value", "gauge", text, (("name", name), *labels), value)

    # ---- operations ----

    def _add_operation(self, kind: Kind, name: str, durations: Durations, more: Labels) -> None:
        labels = (("kind", kind.name.lower()), ("name", name), *more)
        text = "How long operations took."
        self._histogram("libperf_operation_duration_seconds", text, labels, durations, self._durations)
        self.add(
            "libperf_operation_errors", "counter", "Operations that ended with an error.", labels, durations.errors
        )
        text = "Operations that were cancelled."
        self.add("libperf_operation_cancelled", "counter", text, labels, durations.cancelled)
        for quantity, amount in durations.quantities.items():
            text = "Tokens, bytes and the like that operations say they used, added up."
            self.add("libperf_operation_quantity", "counter", text, (("quantity", quantity), *labels), amount)
        if self._gen_ai:
            self._add_gen_ai(kind, name, durations, more, self._gen_ai)

    def _add_gen_ai(self, kind: Kind, name: str, durations: Durations, more: Labels, places: "_Places") -> None:
        if kind is Kind.TOOL:
            labels: Labels = (("gen_ai_operation_name", "execute_tool"), ("gen_ai_tool_name", name), *more)
            text = "GenAI tool execution duration."
            self._histogram("gen_ai_execute_tool_duration_seconds", text, labels, durations, places)
        if kind not in GEN_AI_OPERATIONS:
            return
        labels = (("gen_ai_operation_name", GEN_AI_OPERATIONS[kind]), ("name", name), *more)
        text = "GenAI operation duration."
        self._histogram("gen_ai_client_operation_duration_seconds", text, labels, durations, places)
        family = self._family(
            "gen_ai_client_token_usage",
            "histogram",
            "Tokens used; the sum is exact, the count is of calls, and how they are distributed is not kept.",
            "",
        )
        for quantity, type in TOKEN_TYPES.items():
            if amount := durations.quantities.get(quantity):
                these = (("gen_ai_token_type", type), *labels)
                family.samples += [
                    Sample("_bucket", (*these, ("le", "+Inf")), durations.count),
                    Sample("_count", these, durations.count),
                    Sample("_sum", these, amount),
                ]
        if not family.samples:
            del self._found[family.name]

    def _add_known_durations(self, home: Home, durations: Durations, more: Labels) -> None:
        self._histogram(home.family, KNOWN[home.family].help, (*home.labels, *more), durations, self._durations)

    # ---- how they are put together ----

    def _family(self, name: str, type: Type, help: str, unit: str) -> Family:
        family = self._found.get(name)
        if family is None:
            family = self._found[name] = Family(name, type, help, unit)
        return family

    def _histogram(self, name: str, help: str, labels: Labels, durations: Durations, places: "_Places") -> None:
        samples = self._family(name, "histogram", help, "seconds").samples
        examples = places.examples(durations)
        for bucket, (place, le) in enumerate(places.buckets):
            value = durations.count if place is None else durations.up_to[place]
            samples.append(Sample("_bucket", (*labels, le), value, examples.get(bucket)))
        samples.append(Sample("_count", labels, durations.count))
        samples.append(Sample("_sum", labels, durations.sum_ns / 1e9))


class _Places:
    """Where a family's bounds are among those that were counted."""

    def __init__(self, bounds: Bounds, counted: Bounds) -> None:
        at = counted.places(bounds)
        # place of the bound; its label
        self.buckets: list[tuple[int | None, tuple[str, str]]] = [
            (place, ("le", repr(float(seconds)))) for place, seconds in zip(at, bounds.seconds, strict=True)
        ]
        self.buckets.append((None, ("le", "+Inf")))
        # by class of durations that was counted: the bucket that it is part of
        self._bucket = [bisect_left(at, place) for place in range(len(counted) + 1)]

    def examples(self, durations: Durations) -> dict[int, Exemplar]:
        """By bucket, the slowest of the classes that it is made of: it lies in the bucket, as OpenMetrics demands, also
        where the bucket counts it above its bound (perf_reader_counts())."""
        found: dict[int, Exemplar] = {}
        for place, exemplar in durations.exemplars.items():
            bucket = self._bucket[place]
            found[bucket] = max(exemplar, found.get(bucket, exemplar))
        return found
