"""What tests of exports share: recordings written by hand, programs that are recorded for real, and readers of the formats
that know nothing of libperf."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from os import environ
from pathlib import Path
from typing import Any

from libperf.events import ActorKind, Code, Event
from libperf.exports import FORMATS, _write_open
from libperf.exports.trace import Log, Spans, Trace
from libperf.names import Kind
from libperf.reader import Info, Name, Reader
from libperf.samples import Frame, Sample

MS = 1_000_000
PID = 100
BEGIN = 5_000 * MS  # of each recording by hand

# Names that break files of those who do not look.
NASTY = [
    "plain", "a;b", "a b 12", "line\nbreak", "\x1b[31mred\x1b[0m", "\x7f\x80\x9b", 'quo"te\'s', "back\\slash\\", "🐝 größe 中文",
    "\u2028\u2029\u202e", "</script><b>", "{}[],:", "%s %d {0}", "x" * 200, "é" * 100, "\t \r", "-1", " ", "a\ufffeb", "\ud800lone",
]  # fmt: skip


def info(**changed: Any) -> Info:
    fields = dict.fromkeys(Info._fields, 0) | {
        "pid": PID,
        "service": "agent",
        "command": "/srv/agent.py",
        "version": "0.1.0",
        "start_ns": BEGIN,
        "latest_ns": BEGIN,
        "wall_offset_ns": 1_700_000_000 * 1000 * MS,
        "finished": True,
        "alive": False,
        "clock": "tsc",
    }
    return Info(**(fields | changed))


class Recording:
    """Spans, lines, samples and events, written by hand; times in milliseconds since it began."""

    def __init__(self) -> None:
        self.names: list[Name] = []
        self.spans = Spans()
        self.logs: list[Log] = []
        self.samples: list[Sample] = []
        self.events: list[Event] = []
        self.lost = 0

    def name(self, text: str, kind: Kind = Kind.SPAN) -> int:
        for known in self.names:
            if (known.kind, known.text) == (kind, text):
                return known.number
        self.names.append(Name(len(self.names), kind, text))
        return self.names[-1].number

    def span(
        self,
        name: str,
        start: float,
        end: float,
        parent: int = 0,
        *,
        kind: Kind = Kind.SPAN,
        task: int = 0,
        thread: int = PID,
        id: int = 0,
        **given: Any,
    ) -> int:
        """Returns its id. Rows lie in the order in which they are written."""
        id = id or 1000 + len(self.spans)
        status = given.pop("status", 0)
        times = {"start": BEGIN + round(start * MS), "end": BEGIN + round(end * MS)}
        number = self.name(name, kind)
        self.spans.add(
            **times,
            id=id,
            parent=parent,
            name=number,
            status=status,
            task=task,
            thread=thread,
            trace_id=7,
            attributes=given,
        )
        return id

    def sample(self, what: str, time: float, weight: float, *stack: Frame, block: int = 0, span: int = 0) -> None:
        amount = round(weight * MS) if what != "allocated" else int(weight)
        self.samples.append(Sample(what, BEGIN + round(time * MS), amount, stack, span, 0, block))

    def event(self, time: float, code: Code, key: int = 0, *, arg: int = 0, more: int = 0, span: int = 0) -> None:
        self.events.append(Event(code, 0, arg, BEGIN + round(time * MS), 0, span, key, more))

    def turn(self, start: float, end: float, actor: int, span: int = 0, kind: ActorKind = ActorKind.TASK) -> None:
        self.event(start, Code.RUN, actor, arg=kind, span=span)
        self.event(end, Code.SUSPEND, span=span)

    def trace(self, **changed: Any) -> Trace:
        self.spans.resolve()
        return Trace(
            info(**changed),
            self.names,
            self.spans,
            self.logs,
            lost=self.lost,
            samples=lambda: self.samples,
            events=lambda: self.events,
        )


def written(write: Callable[..., Any], trace: Trace, *arguments: Any) -> str:
    """What a text format writes."""
    out = io.StringIO()
    write(trace, out, *arguments)
    return out.getvalue()


def exported(reader: Reader, to: str, **options: Any) -> bytes:
    """A reader's file in a format."""
    from importlib import import_module

    out = io.BytesIO()
    _write_open(import_module(f"libperf.exports.{FORMATS[to].module}"), FORMATS[to], reader, out, options)
    return out.getvalue()


def record(folder: Path, program: str, *arguments: str, command: Iterable[str] = ("run", "--trace", "x.perf")) -> Path:
    """Run a program under `libperf run`; the trace that it leaves."""
    (folder / "program.py").write_text(program)
    words = [sys.executable, "-m", "libperf", *command, "program.py", *arguments]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=60, env=dict(environ))
    return folder / "x.perf"


# ---- readers of the formats ----


class Timeline:
    """A Trace Event file, read as Perfetto's importer does: times as doubles, cut to whole nanoseconds, then a stable
    sort; "B" and "E" by a stack for each row, arrows by what is open on their row."""

    def __init__(self, text: str) -> None:
        self.data = json.loads(text)
        self.events: list[dict[str, Any]] = self.data["traceEvents"]
        self.rows: dict[int, str] = {}  # names
        self.slices: list[dict[str, Any]] = []  # in the order of their begin; "row", "depth", "start", "end" in ns
        self.arrows: list[tuple[str, str, str]] = []  # name, from, to
        self._read()

    def _read(self) -> None:
        stacks: dict[int, list[dict[str, Any]]] = defaultdict(list)
        sources: dict[int, str] = {}
        for event in self.events:
            if event["ph"] == "M" and event["name"] == "thread_name":
                self.rows[event["tid"]] = event["args"]["name"]
        timed = sorted(
            (event for event in self.events if event["ph"] != "M"), key=lambda event: int(event["ts"] * 1000)
        )
        for event in timed:
            time, stack = int(event["ts"] * 1000), stacks[event.get("tid", 0)]
            if event["ph"] == "B":
                slice = event | {"row": self.rows[event["tid"]], "depth": len(stack), "start": time}
                self.slices.append(slice)
                stack.append(slice)
            elif event["ph"] == "E":
                stack.pop()["end"] = time
            elif event["ph"] == "s":
                sources[event["id"]] = stack[-1]["name"] if stack else ""  # a reader drops such an arrow
            elif event["ph"] == "f":
                assert event["bp"] == "e"
                source, target = sources.pop(event["id"]), stack[-1]["name"] if stack else ""
                self.arrows.append((event["name"], source, target))
        assert not any(stacks.values()) and not sources

    def of(self, phase: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["ph"] == phase]

    def row(self, name: str) -> list[tuple[str, int]]:
        """Names and depths of the slices of a row."""
        return [(slice["name"], slice["depth"]) for slice in self.slices if slice["row"] == name]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data: bytes) -> dict[int, list[Any]]:
    """A protobuf message by field numbers: numbers, and bytes of what has a length."""
    found: dict[int, list[Any]] = defaultdict(list)
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        assert key & 7 in (0, 2)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        found[key >> 3].append(value)
    return found


def unpack(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        found.append(value - (1 << 64) if value >> 63 else value)
    return found


class Pprof:
    """A pprof file, read by the field numbers of profile.proto."""

    def __init__(self, data: bytes) -> None:
        profile = fields(gzip.decompress(data))
        self.strings = [text.decode() for text in profile[6]]
        assert self.strings[0] == ""
        functions = {found[1][0]: found for found in map(fields, profile[5])}
        locations = {found[1][0]: found for found in map(fields, profile[4])}
        self.types = [tuple(self.strings[found[i][0]] for i in (1, 2)) for found in map(fields, profile[1])]
        self.comments = [self.strings[number] for part in profile[13] for number in unpack(part)]
        self.default = self.strings[profile[14][0]]
        self.time, self.duration = profile[9][0], (profile[10] or [0])[0]
        self.samples: list[tuple[tuple[str, ...], dict[str, int], dict[str, Any]]] = []
        for sample in map(fields, profile[2]):
            values = dict(zip((kind for kind, _ in self.types), unpack(sample[2][0]), strict=True))
            labels = {}
            for label in map(fields, sample[3]):
                labels[self.strings[label[1][0]]] = self.strings[label[2][0]] if 2 in label else label[3][0]
            stack = [self._line(locations[number], functions) for number in unpack(sample[1][0])]
            self.samples.append((tuple(reversed(stack)), {k: v for k, v in values.items() if v}, labels))

    def _line(self, location: dict[int, list[Any]], functions: dict[int, Any]) -> str:
        line = fields(location[4][0])
        function = functions[line[1][0]]
        name, file = self.strings[function[2][0]], self.strings[(function[4] or [0])[0]]
        number = (line[2] or [0])[0]
        return f"{name} ({file}:{number})" if file else name
