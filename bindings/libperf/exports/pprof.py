"""pprof's profile.proto, gzipped: what `go tool pprof`, Pyroscope, Parca and others read (docs/exports/pprof.md).

Wall time comes from spans: a stack is the names of a span and of those around it, its value what the span took itself.
CPU time, allocated bytes and stalls of event loops come from samples: a stack is functions and lines. All are values of
one profile; labels say span, thread and task. Fields by number, as profile.proto of github.com/google/pprof has them.
"""

import gzip
from collections import defaultdict
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from .._core import ffi, lib
from ..reader import Reader
from ..samples import Frame
from .paths import Paths, own_times
from .protobuf import length_field, number_field, packed_field, text_field
from .trace import Trace

__all__ = ["write", "write_trace"]

# Numbers of fields of a Profile.
SAMPLE_TYPE, SAMPLE, MAPPING, LOCATION, FUNCTION, STRING = 1, 2, 3, 4, 5, 6
TIME_NANOS, DURATION_NANOS, COMMENT, DEFAULT_SAMPLE_TYPE = 9, 10, 13, 14

INT64_MAX = 2**63 - 1
VALUES = {  # type and unit, by what a sample is
    "wall": ("wall", "nanoseconds"),
    "cpu": ("cpu", "nanoseconds"),
    "allocated": ("alloc_space", "bytes"),
    "stall": ("loop_held_up", "nanoseconds"),
}


class Key(NamedTuple):
    """Samples with equal ones are added up."""

    what: str
    stack: tuple[Frame, ...]
    span: str
    thread: str
    task: int


def write(reader: Reader, out: BinaryIO) -> list[str]:
    """Write what a reader's file holds; returns notes for people."""
    return write_trace(Trace.read(reader), out)


def write_trace(trace: Trace, out: BinaryIO) -> list[str]:
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed:
        packed.writelines(Profile(trace).fields())
    return trace.notes


class Profile:
    """The fields of a profile, one after the other; what a sample refers to by number comes before it or at the end."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.strings: dict[str, int] = {"": 0}
        self.new: list[bytes] = []  # functions and locations that are not written yet
        self._functions: dict[tuple[str, str], int] = {}
        self._locations: dict[tuple[int, int], int] = {}
        self._labels: dict[tuple[str, str], bytes] = {}
        self.sampled = self._add_up()
        self.kinds = [kind for kind in VALUES if kind == "wall" or any(key.what == kind for key in self.sampled)]

    def fields(self) -> Iterator[bytes]:
        trace, string = self.trace, self.string
        for kind in self.kinds:
            name, unit = VALUES[kind]
            yield length_field(SAMPLE_TYPE, number_field(1, string(name)) + number_field(2, string(unit)))
        # Functions, files and lines are known: nobody is to look for a binary.
        known = b"".join(number_field(field, 1) for field in (7, 8, 9))
        yield length_field(MAPPING, number_field(1, 1) + number_field(5, string(trace.title)) + known)
        yield from self._spans()
        yield from self._samples()
        yield number_field(TIME_NANOS, min(trace.started_at, INT64_MAX))
        yield number_field(DURATION_NANOS, min(trace.end - trace.begin, INT64_MAX))
        yield number_field(DEFAULT_SAMPLE_TYPE, string("cpu" if "cpu" in self.kinds else "wall"))
        yield packed_field(COMMENT, [string(comment) for comment in self._comments()])
        yield from (text_field(STRING, text) for text in self.strings)

    # ---- samples ----

    def _spans(self) -> Iterator[bytes]:
        """Own times, added up by path, task and thread."""
        spans, paths = self.trace.spans, Paths(self.trace)
        totals: dict[int, int] = defaultdict(int)  # by a number that has all three: a tuple is five times as large
        for path, task, thread, own in zip(paths.of, spans.task, spans.thread, own_times(spans), strict=True):
            totals[path << 64 | task << 32 | thread] += own
        stacks: dict[int, bytes] = {}
        low = 2**32 - 1
        for key, total in totals.items():
            path, task, thread = key >> 64, key >> 32 & low, key & low
            if path not in stacks:
                names = [self.trace.label(paths[step].name) for step in paths.up(path)]
                stacks[path] = packed_field(1, [self.location(name) for name in names])
            span, where = self.trace.label(paths[path].name), self.trace.thread_name(thread)
            yield from self._sample("wall", stacks[path], total, span, where, task)

    def _add_up(self) -> dict[Key, int]:
        trace = self.trace
        found: dict[Key, int] = defaultdict(int)
        for sample in trace.samples():
            row = trace.spans.row.get(sample.span)
            span = "" if row is None else trace.label(trace.spans.name[row])
            found[Key(sample.what, sample.stack, span, trace.block_name(sample.block), sample.task)] += sample.weight
        return found

    def _samples(self) -> Iterator[bytes]:
        for key, total in self.sampled.items():
            numbers = [self.location(*frame) for frame in reversed(key.stack)] or [self.location("(not known)")]
            yield from self._sample(key.what, packed_field(1, numbers), total, key.span, key.thread, key.task)

    def _sample(self, kind: str, stack: bytes, total: int, span: str, thread: str, task: int) -> Iterator[bytes]:
        """A sample, after what it refers to."""
        values = packed_field(2, [min(total, INT64_MAX) if kind == each else 0 for each in self.kinds])
        labels = self._label("span", span) + self._label("thread", thread)
        if task:
            labels += length_field(3, number_field(1, self.string("task")) + number_field(3, task))
        yield from self.new
        self.new.clear()
        yield length_field(SAMPLE, stack + values + labels)

    def _label(self, key: str, value: str) -> bytes:
        known = self._labels.get((key, value))
        if known is None:
            fields = number_field(1, self.string(key)) + number_field(2, self.string(value))
            known = self._labels[key, value] = length_field(3, fields) if value else b""
        return known

    # ---- what samples refer to ----

    def string(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def location(self, function: str, file: str = "", line: int = 0) -> int:
        """A line of a function; the name of a span is a function without a file."""
        number = self._function(function or "(no name)", file)
        known = self._locations.get((number, line))
        if known is None:
            known = self._locations[number, line] = len(self._locations) + 1
            where = number_field(1, number) + number_field(2, line)
            fields = number_field(1, known) + number_field(2, 1) + length_field(4, where)
            self.new.append(length_field(LOCATION, fields))
        return known

    def _function(self, name: str, file: str) -> int:
        known = self._functions.get((name, file))
        if known is None:
            known = self._functions[name, file] = len(self._functions) + 1
            text, path = self.string(name), self.string(file)
            fields = number_field(1, known) + number_field(2, text) + number_field(3, text) + number_field(4, path)
            self.new.append(length_field(FUNCTION, fields))
        return known

    def _comments(self) -> Iterator[str]:
        info = self.trace.info
        yield f"libperf {ffi.string(lib.perf_version()).decode()}, process {info.pid}: {self.trace.title}"
        yield from self.trace.notes
