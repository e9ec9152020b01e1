"""Samples of another profiler, joined with the spans of a recording: which lines each operation spent its time in.

>>> found = libperf.imported.join("agent.perf", "pyspy.json")
>>> found.operations[0].name, found.operations[0].lines[0].where

Read are files of py-spy (chrometrace, speedscope, raw), memray (captures) and Python 3.15's sampler, Tachyon (gecko, collapsed).
Those with times are joined by time: each sample belongs to the span that was open on its thread then (clock.py, timeline.py).
Those without belong to the innermost function of their stack that a span is named after. `joined_by` says which.
"""

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InvalidError, NotFoundError, PerfError
from ..exports.paths import Paths
from ..exports.trace import Trace
from ..reader import Reader, find_segment
from ..samples import Frame
from ..units import seconds, size
from .clock import Clock, find_clock
from .gecko import read_gecko
from .looks import Looks, Malformed, Thread
from .memray_file import is_memray, read_memray
from .pyspy import looks_like_folded, read_chrometrace, read_folded, read_speedscope
from .timeline import NONE, Named, Piece, Timelines

__all__ = ["Joined", "Line", "Operation", "join", "read_looks"]

NO_SPAN = "(no span)"
SEVERAL = "(one of several)"
JSON_BYTES = 128 << 20  # of a file that must be in memory as a whole
HEAD = 1 << 16
OVERLAPPING = 64  # pieces of a sample that lies across others of its thread
KNOWN = (
    "py-spy's chrometrace, speedscope and raw, memray's captures, and gecko and collapsed of Python 3.15's "
    "profiling.sampling are read"
)
UNITS = {"seconds": 1e9, "bytes": 1.0, "samples": 1.0}


@dataclass(slots=True)
class Line:
    """A line of a function, and what of the operation lies in it, without what it called."""

    frame: Frame
    weight: float  # seconds, bytes or samples: see Joined.unit

    @property
    def where(self) -> str:
        return f"{self.frame.file}:{self.frame.line}"


@dataclass(slots=True)
class Operation:
    """The spans of one name, without the spans inside of them."""

    name: str  # "llm:plan"; of a function "load"
    weight: float = 0.0
    lines: list[Line] = field(default_factory=list)  # the heaviest first


@dataclass(slots=True)
class Joined:
    """What came of it: `operations`, the heaviest first, among them "(no span)"; str() shows a table."""

    file: str
    tool: str
    format: str
    unit: str  # "seconds", "bytes", "samples"
    joined_by: str  # "time", or "function names"
    samples: int
    weight: float = 0.0
    operations: list[Operation] = field(default_factory=list)
    clock: Clock | None = None  # None: not joined by time
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `libperf report --json --samples` adds it (docs/json.md)."""
        clock = self.clock
        return {
            "file": self.file,
            "tool": self.tool,
            "format": self.format,
            "unit": self.unit,
            "joined_by": self.joined_by,
            "samples": self.samples,
            "total": self.weight,
            "clock": clock and clock.how,
            "uncertainty_s": clock.spread / 1e9 if clock and clock.spread else None,
            "agreement": clock and clock.agreement,
            "operations": [
                {
                    "name": operation.name,
                    "total": operation.weight,
                    "lines": [{**line.frame._asdict(), "total": line.weight} for line in operation.lines],
                }
                for operation in self.operations
            ],
            "notes": self.notes,
        }

    def __str__(self) -> str:
        from .table import render_text

        return render_text(self)


def join(
    source: "Reader | str | os.PathLike[str] | int",
    samples: "str | os.PathLike[str]",
    *,
    start: float | None = None,
) -> Joined:
    """Give the samples of another profiler to the spans of a recording of the same process.

    source: a trace or segment file, a process id, or a Reader
    samples: the other profiler's file
    start: when that profiler began, in seconds since 1970; None: found out, as Joined.clock says
    InvalidError: the file is not what it should be, or not of this run; NotFoundError: there is none, or no sample in it.
    """
    if isinstance(source, Reader):
        trace = Trace.read(source)
    else:
        with Reader(find_segment(source) if isinstance(source, int) else source) as reader:
            trace = Trace.read(reader)
    return join_trace(trace, Path(samples), start)


def join_trace(trace: Trace, path: Path, start: float | None = None) -> Joined:
    looks = read_looks(path, trace.info.pid)
    if not len(looks):
        raise NotFoundError(f"{path}: there is no sample of process {trace.info.pid} in it")
    if not len(trace.spans):
        raise NotFoundError(f"the recording has no span that samples of {path} could belong to: use @libperf.trace")
    by = "time" if looks.timed else "function names"
    found = Joined(str(path), looks.tool, looks.format, looks.unit, by, len(looks))
    joining = _Joining(trace, looks)
    if looks.timed:
        found.clock = find_clock(trace, looks, joining.named, path, start)
        joining.by_time(found.clock.zero, found.clock.spread, found.notes)
    elif start is not None:
        raise InvalidError(f"start={start!r}: {path} has no times, so nothing can be moved; its {by} are joined")
    else:
        joining.by_names()
        if set(joining.weights) == {NO_SPAN}:
            raise InvalidError(
                f"{path}: it has no times ({looks.format}), and no function in it is one that a span is named after; "
                "record with times: py-spy record --format chrometrace --threads"
            )
    joining.tell(found)
    return found


def read_looks(path: Path, pid: int) -> Looks:
    """What a file of any known format holds of one process."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
        if is_memray(head):
            return read_memray(path, pid)
        return _read_text(path, head.lstrip(), pid)
    except Malformed as error:
        raise InvalidError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {str(path)!r}") from None
    except OSError as error:
        raise PerfError(f"cannot read {path}: {error.strerror or error}") from None


def _read_text(path: Path, head: bytes, pid: int) -> Looks:
    if head.startswith(b"["):
        with path.open(encoding="utf-8", errors="replace") as text:
            return read_chrometrace(text, pid)
    if head.startswith(b"{"):
        data = _load(path)
        if "profiles" in data and "shared" in data:
            return read_speedscope(data, pid)
        if "threads" in data and "meta" in data:
            return read_gecko(data)
        raise Malformed(f"this JSON is of no format that is known: {KNOWN}")
    if head.startswith(b"\x1f\x8b"):
        raise Malformed("it is compressed: unpack it with gunzip")
    if looks_like_folded(head):
        with path.open("rb") as lines:
            return read_folded(lines)
    raise Malformed(f"its format is not known: {KNOWN}" if head else "it is empty")


def _load(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > JSON_BYTES:
        raise Malformed(
            f"it has {size >> 20:,} MiB, of which {JSON_BYTES >> 20} can be read in this format: record for a shorter time, "
            "fewer samples a second, or as py-spy's chrometrace, which is read piece by piece"
        )
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return dict(json.load(file))
    except RecursionError:
        raise Malformed("its JSON is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"it ends in the middle, or is no JSON: {error}") from None


class _Joining:
    """Adds up the looks under the labels of spans."""

    def __init__(self, trace: Trace, looks: Looks) -> None:
        self.trace = trace
        self.looks = looks
        self.named = Named(trace, looks)
        self.weights: dict[str, Counter[Frame]] = {}
        self.lingered = 0  # nanoseconds of stacks that nobody has seen any more
        self.tolerance = looks.precision

    def add(self, label: str, node: int, weight: float) -> None:
        lines = self.weights.get(label)
        if lines is None:
            lines = self.weights[label] = Counter()
        lines[self.looks.frames[node]] += weight  # type: ignore[assignment]  # a Counter takes floats as well

    def by_names(self) -> None:
        spans = self.trace.spans
        labels = {self.trace.name_of(number).text: self.trace.label(number) for number in set(spans.name)}
        for node, weight in zip(self.looks.node, self.looks.weight, strict=True):
            self.add(labels.get(self.named.innermost[node], NO_SPAN), node, weight)

    def by_time(self, zero: int, spread: int, notes: list[str]) -> None:
        self.paths = Paths(self.trace)
        self.timelines = Timelines(self.trace, self.paths)
        threads = self._threads(zero, notes)
        self.tolerance += spread
        looks, until = self.looks, [-(2**63)] * len(threads)
        for place in range(len(looks)):
            thread = looks.thread[place]
            start, end = looks.start[place] + zero, looks.end[place] + zero
            line = self.timelines.get(threads[thread])
            across = start < until[thread]
            until[thread] = max(until[thread], end)
            if line is None:
                self.add(NO_SPAN, looks.node[place], looks.weight[place])
                continue
            pieces = line.pieces(start, end, OVERLAPPING if across else len(line.starts))
            if end - start <= self.tolerance and not self._is_inside(pieces, looks.node[place]):
                wider = line.pieces(start - self.tolerance, end + self.tolerance, OVERLAPPING)
                inside = [piece for piece in wider if self._is_inside([piece], looks.node[place])]
                pieces = inside or pieces  # none: its function ran outside of its span
            self._share(pieces, looks.node[place], looks.weight[place])

    def _share(self, pieces: list[Piece], node: int, weight: float) -> None:
        """Divide a look's weight by time. A piece outside of the span that the stack is in is the look's inaccuracy when it
        is short; a long one is a stack that nobody has seen any more, where the tool lets stacks linger."""
        named, innermost = self.named.all[node], self.named.innermost[node]
        picked = [(piece.end - piece.start, self.timelines.pick(piece.value, named)) for piece in pieces]
        whole = sum(length for length, _ in picked)
        if innermost:
            inside = [each for each in picked if each[1] is not None and self._has(each[1], innermost)]
            rest = [each for each in picked if each not in inside]
            if inside:
                whole -= sum(length for length, _ in rest if length <= self.tolerance)
                rest = [each for each in rest if each[0] > self.tolerance]
            if self.looks.lingers:
                stale = sum(length for length, path in rest if path == NONE and length > self.tolerance)
                self.lingered += stale
                weight *= 1 - stale / whole if whole else 1.0
                whole -= stale
                rest = [each for each in rest if each[1] != NONE or each[0] <= self.tolerance]
            picked = inside + rest
        for length, path in picked:
            label = SEVERAL if path is None else NO_SPAN if path == NONE else self.trace.label(self.paths[path].name)
            self.add(label, node, weight * (length / whole if whole else 1 / len(picked)))

    def _is_inside(self, pieces: list[Piece], node: int) -> bool:
        """Whether the span that the stack is in was open in one of them; also when the stack is in none."""
        innermost, named = self.named.innermost[node], self.named.all[node]
        paths = (self.timelines.pick(piece.value, named) for piece in pieces)
        return not innermost or any(path is not None and self._has(path, innermost) for path in paths)

    def _has(self, path: int, text: str) -> bool:
        return any(self.trace.name_of(self.paths[step].name).text == text for step in self.paths.up(path))

    def _threads(self, zero: int, notes: list[str]) -> list[int]:
        """The recording's thread for each of the file's; -1: it is none of them, or nobody knows which."""
        found = [self._known_thread(thread) for thread in self.looks.threads]
        unknown = 0
        for number, thread in enumerate(found):
            if thread == 0:
                found[number] = self._guess(number, zero, {other for other in found if other > 0})
                unknown += found[number] < 0
        if unknown:
            advice = "; py-spy says which with --threads" if self.looks.tool == "py-spy" else ""
            notes.append(
                f"{unknown:,} thread{'s' * (unknown != 1)} of the file could not be found in the recording{advice}"
            )
        return found

    def _known_thread(self, thread: Thread) -> int:
        return thread.system or (self.trace.info.pid if thread.main else 0)

    def _guess(self, number: int, zero: int, taken: set[int]) -> int:
        """The thread whose spans are named after this one's functions at the same times; -1: none, or several."""
        looks, votes, asked = self.looks, Counter[int](), 0
        for place in range(len(looks)):
            node = looks.node[place]
            if looks.thread[place] != number or not self.named.innermost[node]:
                continue
            asked += 1
            middle = zero + (looks.start[place] + looks.end[place]) // 2
            for thread, line in self.timelines.items():
                path = self.timelines.pick(line.at(middle), self.named.all[node])
                if thread not in taken and path is not None and path != NONE:
                    votes[thread] += self._has(path, self.named.innermost[node])
            if asked >= 500:
                break
        best = votes.most_common(2)
        if not best or best[0][1] * 2 < asked or (len(best) > 1 and best[1][1] == best[0][1]):
            return -1
        return best[0][0]

    def tell(self, found: Joined) -> None:
        scale = UNITS[self.looks.unit]
        for label, lines in self.weights.items():
            operation = Operation(label, sum(lines.values()) / scale)
            operation.lines = [Line(frame, weight / scale) for frame, weight in lines.most_common()]
            found.operations.append(operation)
        found.operations.sort(key=lambda operation: -operation.weight)
        found.weight = sum(operation.weight for operation in found.operations)
        if self.looks.unit == "samples":
            found.samples = round(found.weight)
        if self.lingered:
            found.notes.append(
                f"{seconds(self.lingered / 1e9)} left out: {self.looks.tool} lets a stack go on when its thread waits or has "
                "ended; these were in spans that had ended"
            )
        if self.looks.own:
            found.notes.append(f"{size(self.looks.own)} left out: libperf's own records, in a mapped file")
        if self.looks.cut:
            found.notes.append(f"{self.looks.cut:,} frames found no room and count as their callers")
        found.notes += self.trace.notes
