"""Folded stacks, one line each: names from the outermost on with ";" between, a space, a weight. What Brendan Gregg's
flamegraph.pl draws, and many other programs read (docs/exports/folded.md).
"""

from collections import defaultdict
from typing import TextIO

from ..errors import InvalidError, NotFoundError
from ..reader import Reader
from ..samples import Frame
from .paths import Paths, own_times
from .trace import Trace

__all__ = ["WEIGHTS", "escape", "write", "write_trace"]

WEIGHTS = ("wall", "cpu", "allocated")
FIXES = {
    "cpu": "record with `libperf run --cpu` or libperf.Profiler(enable_cpu=True), or take weight wall",
    "allocated": "record with `libperf run --memory` or libperf.Profiler(enable_memory=True), or take weight wall",
}


def write(reader: Reader, out: TextIO, *, weight: str | None = None) -> list[str]:
    """Write what a reader's file holds; returns notes for people.

    weight: "wall", nanoseconds that spans took themselves, by the names of the spans around them; "cpu", nanoseconds, or
        "allocated", bytes, of samples, by functions and lines. None: cpu where there are such samples, else wall.
    NotFoundError: there are no samples of that kind.
    """
    return write_trace(Trace.read(reader), out, weight)


def write_trace(trace: Trace, out: TextIO, weight: str | None = None) -> list[str]:
    if weight is not None and weight not in WEIGHTS:
        raise InvalidError(f"weight={weight!r} is none of: {', '.join(WEIGHTS)}")
    if weight is None:
        weight = "cpu" if any(sample.what == "cpu" for sample in trace.samples()) else "wall"
    totals = _spans(trace) if weight == "wall" else _samples(trace, weight)
    if not totals and weight in FIXES:
        raise NotFoundError(f"there are no {weight} samples in it: {FIXES[weight]}")
    out.writelines(f"{stack} {total}\n" for stack, total in sorted(totals.items()))
    return trace.notes


def _spans(trace: Trace) -> dict[str, int]:
    paths = Paths(trace)
    own = [0] * len(paths)
    for path, time in zip(paths.of, own_times(trace.spans), strict=True):
        own[path] += time
    return {";".join(map(escape, paths.names(path))): time for path, time in enumerate(own) if time}


def _samples(trace: Trace, what: str) -> dict[str, int]:
    totals: dict[tuple[Frame, ...], int] = defaultdict(int)
    for sample in trace.samples():
        if sample.what == what:
            totals[sample.stack] += sample.weight
    texts: dict[str, int] = defaultdict(int)
    for stack, total in totals.items():
        texts[";".join(escape(frame_text(frame)) for frame in stack) or "(not known)"] += total
    return {stack: total for stack, total in texts.items() if total}


def frame_text(frame: Frame) -> str:
    """As py-spy writes it."""
    return f"{frame.function} ({frame.file}:{frame.line})" if frame.line else f"{frame.function} ({frame.file})"


def escape(name: str) -> str:
    r"""A name that ends no stack and no line: ";", backslashes and what cannot be printed as \x3b, \\, \n, \u2028."""
    if name.isprintable() and ";" not in name and "\\" not in name:
        return name or "(no name)"
    return "".join(char if char.isprintable() and char not in ";\\" else _escaped(char) for char in name)


def _escaped(char: str) -> str:
    return r"\x3b" if char == ";" else char.encode("unicode_escape").decode()
