"""Which functions a program's time and memory go into, and who held its event loops up: made of samples and counts.

| source | gives |
|---|---|
| samples (`Profiler(enable_cpu=True)`) | own and cumulative CPU time of every function, and its busiest line |
| counters `profile.calls:FILE:LINE:FUNCTION`, `.self`, `.total` (`@libperf.profile`) | calls, and exact times |
| sampled allocations | bytes allocated in a function itself |
| the analysis of scheduler events | what its calls waited, and what it saves if they take half as long |
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

from .._core import ffi, lib
from ..analysis import Analysis
from ..names import Kind
from ..reader import Reader
from ..samples import Frame, Sample, read_samples

__all__ = ["Hotspot", "Hotspots", "Stall", "is_of_profile"]

COUNTER = re.compile(r"profile\.(calls|self|total):(.*):(\d+):(.*)", re.DOTALL)
OURS = re.compile(r"/(site-packages|bindings)/libperf/")  # wrappers, `libperf run`: what they call has the same time
LIBRARY = re.compile(r"^<|/lib(64)?/python3[^/]*/|/site-packages/|/bindings/libperf/")


class Function(NamedTuple):
    file: str
    name: str  # qualified


@dataclass(slots=True)
class Hotspot:
    """A function. Seconds; None: nobody has measured it."""

    function: str
    file: str
    line: int  # the busiest; of one that was only counted, where it is defined
    score: float = 0.0  # its own share of all time that was measured, in points of 100
    total: float = 0.0  # with what it called
    own: float = 0.0
    calls: int | None = None
    memory: int | None = None  # bytes allocated in it, without what it called
    wait: float | None = None  # that its calls did nothing
    what_if: float | None = None  # share of the program's time that is saved if it takes half as long

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "function": self.function,
            "file": self.file,
            "line": self.line,
            "score": round(self.score, 2),
            "cumulative_s": self.total,
            "self_s": self.own,
            "calls": self.calls,
            "memory_bytes": self.memory,
            "wait_s": self.wait,
            "what_if_gain": self.what_if,
        }


@dataclass(slots=True)
class Stall:
    """A place that has held event loops up. Seconds."""

    frame: Frame | None  # innermost one that is no library's; None: nobody saw it
    times: int = 0
    worst: float = 0.0
    total: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        frame = self.frame or Frame("", "", 0)
        place = {"function": frame.function, "file": frame.file, "line": frame.line}
        return {**place, "times": self.times, "worst_s": self.worst, "total_s": self.total}


@dataclass(slots=True)
class Hotspots:
    """All of them: `rows`, the highest score first, and `stalls`, the longest first.

    >>> with libperf.Profiler(enable_cpu=True) as profiler: ...
    >>> profiler.hotspots().rows[0].where
    """

    rows: list[Hotspot] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    samples: int = 0
    cpu: float = 0.0  # seconds that the samples stand for

    @classmethod
    def read(
        cls, reader: Reader, *, since: int = 0, until: int = 2**63, before: "dict[str, int] | None" = None
    ) -> "Hotspots":
        """Of a reader's picture; takes its events.

        since, until: only samples of that time (nanoseconds of the monotonic clock)
        before:       what counters were before, by name: see counts()
        """
        return _Builder().build(reader, since, until, before or {})

    @property
    def is_empty(self) -> bool:
        return not self.rows and not self.stalls

    @property
    def is_only_memory(self) -> bool:
        """Whether nothing but allocations was looked at."""
        return not (self.samples or self.stalls or any(row.own or row.calls for row in self.rows))

    def explain(self, analysis: Analysis) -> None:
        """Add what an analysis knows of them: waits, and what each would save."""
        gains = {each.name: each.gain for each in analysis.bottlenecks}
        for row in self.rows:
            short = row.function.rpartition(".")[2]
            for label in analysis.labels:
                place = PurePath(label.place.rpartition(":")[0]).name
                if label.name in (row.function, short) and place in ("", PurePath(row.file).name):
                    row.wait = label.block + label.delay
                    row.what_if = gains.get(label.name)
                    row.calls = label.calls if row.calls is None else row.calls
                    break

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `--json` adds it (docs/json.md)."""
        return {
            "hotspots": [row.to_dict() for row in self.rows],
            "stalls": [stall.to_dict() for stall in self.stalls],
            "cpu_samples": self.samples,
            "cpu_sampled_s": self.cpu,
        }

    def __str__(self) -> str:
        from .table import render_text

        return render_text(self)


def has_samples(reader: Reader) -> bool:
    """Whether there is anything to read: no sample is without a frame, or nearly so."""
    found = lib.perf_reader_frame_get(reader._get(), 1, ffi.new("perf_reader_frame *")) == lib.PERF_OK
    return found or any(is_of_profile(name.text) for name in reader.names if name.kind is Kind.COUNTER)


def read_all(reader: Reader, analysis: Analysis | None) -> Hotspots | None:
    """For a report of a file, with a reader that others have taken the events of; None: there is nothing."""
    if not has_samples(reader):
        return None
    with Reader(reader.path) as fresh:
        found = Hotspots.read(fresh)
    if analysis:
        found.explain(analysis)
    return None if found.is_empty or found.is_only_memory else found  # which has a table of its own


def is_of_profile(series: str) -> bool:
    """Whether a counter is one of @libperf.profile's."""
    return series.startswith("profile.") and COUNTER.fullmatch(series) is not None


def counts(reader: Reader) -> dict[str, int]:
    """What the counters of @libperf.profile say, by name."""
    names = [name for name in reader.names if name.kind is Kind.COUNTER and is_of_profile(name.text)]
    return {name.text: reader.totals(name).value for name in names}


def _blocker(stack: tuple[Frame, ...]) -> Frame | None:
    own = [frame for frame in stack if not LIBRARY.search(frame.file)]
    return own[-1] if own else stack[-1] if stack else None


class _Builder:
    def __init__(self) -> None:
        self.rows: dict[Function, Hotspot] = {}
        self.lines: dict[Function, Counter[int]] = {}
        self.stalls: dict[Frame | None, Stall] = {}

    def build(self, reader: Reader, since: int, until: int, before: dict[str, int]) -> Hotspots:
        found = Hotspots()
        for sample in read_samples(reader):
            if not since <= sample.time <= until:
                continue
            if sample.what == "cpu":
                found.samples += 1
                found.cpu += sample.weight / 1e9
                self.take_cpu(sample)
            elif sample.what == "allocated":
                self.take_memory(sample)
            else:
                self.take_stall(sample)
        for function, lines in self.lines.items():
            self.rows[function].line = lines.most_common(1)[0][0]
        self.take_counts({name: value - before.get(name, 0) for name, value in counts(reader).items()})
        own = sum(row.own for row in self.rows.values())
        for row in self.rows.values():
            row.score = 100 * row.own / own if own else 0.0
        found.rows = sorted(self.rows.values(), key=lambda row: (-row.score, -row.total, -(row.memory or 0)))
        found.stalls = sorted(self.stalls.values(), key=lambda stall: -stall.worst)
        return found

    def row(self, frame: Frame) -> Hotspot:
        function = Function(frame.file, frame.function)
        row = self.rows.get(function)
        if row is None:
            row = self.rows[function] = Hotspot(frame.function, frame.file, frame.line)
        return row

    def take_cpu(self, sample: Sample) -> None:
        seconds = sample.weight / 1e9
        seen: set[Function] = set()
        for frame in reversed(sample.stack):
            function = Function(frame.file, frame.function)
            if function in seen:  # it calls itself: no time counts twice
                continue
            if seen and OURS.search(frame.file):
                continue
            row = self.row(frame)
            if not seen:
                row.own += seconds
            row.total += seconds
            self.lines.setdefault(function, Counter())[frame.line] += sample.weight
            seen.add(function)

    def take_memory(self, sample: Sample) -> None:
        if sample.stack:
            row = self.row(sample.stack[-1])
            row.memory = (row.memory or 0) + sample.weight

    def take_stall(self, sample: Sample) -> None:
        frame = _blocker(sample.stack)
        stall = self.stalls.setdefault(frame, Stall(frame))
        stall.times += 1
        stall.total += sample.weight / 1e9
        stall.worst = max(stall.worst, sample.weight / 1e9)

    def take_counts(self, values: dict[str, int]) -> None:
        """Calls; and exact times in place of sampled ones."""
        exact: set[int] = set()
        for name, value in values.items():
            if not value:
                continue
            what, row = self.counted(name)
            if id(row) not in exact:
                exact.add(id(row))
                row.own = row.total = 0.0
            if what == "calls":
                row.calls = (row.calls or 0) + value
            elif what == "self":
                row.own += value / 1e9
            else:
                row.total += value / 1e9

    def counted(self, name: str) -> tuple[str, Hotspot]:
        match = COUNTER.fullmatch(name)
        assert match is not None
        what, file, line, function = match.groups()
        for known in self.known(file, function):
            return what, known
        return what, self.row(Frame(function, file, int(line)))

    def known(self, file: str, function: str) -> Iterator[Hotspot]:
        """The row of it, when samples have made one: a counter's name holds the end of a file's name."""
        if row := self.rows.get(Function(file, function)):
            yield row
        elif len(file.encode()) >= 96:
            yield from (row for key, row in self.rows.items() if key.name == function and key.file.endswith(file))
