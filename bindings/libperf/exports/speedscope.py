"""speedscope's own JSON: a profile for each thread and task ("evented"), and for the samples of each thread ("sampled").

Values are nanoseconds since the recording began, or bytes. speedscope.app opens it (docs/exports/speedscope.md).
"""

from array import array
from collections.abc import Iterator
from typing import Any, Protocol, TextIO

from .._core import ffi, lib
from ..reader import Reader
from ..samples import Frame, Sample
from .json_text import dumps, write_list
from .trace import Trace
from .tracks import Track, place, steps

__all__ = ["write", "write_trace"]

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
TITLES = {"cpu": "CPU samples", "allocated": "allocated bytes (sampled)", "stall": "event loop held up"}


class Frames(dict[Any, int]):
    """Numbers of frames: names of spans, and lines of functions."""

    def __missing__(self, frame: Any) -> int:
        self[frame] = len(self)
        return self[frame]

    def as_json(self) -> Iterator[str]:
        for frame in self:
            if isinstance(frame, Frame):
                line = {"line": frame.line} if frame.line else {}
                yield dumps({"name": frame.function or "(no name)", "file": frame.file, **line})
            else:
                yield dumps({"name": frame or "(no name)"})


class Profile(Protocol):
    def write(self, out: TextIO) -> None: ...


class TrackProfile:
    """The spans of a thread or task, as they began and ended."""

    def __init__(self, trace: Trace, track: Track, frames: Frames) -> None:
        self.trace = trace
        self.track = track
        self.frames = frames

    def write(self, out: TextIO) -> None:
        trace, rows = self.trace, self.track.rows
        spans, begin, frames = trace.spans, trace.begin, self.frames
        end = max(spans.end[row] for row in rows)
        head: dict[str, Any] = {"type": "evented", "name": self.track.name, "unit": "nanoseconds"}
        head |= {"startValue": spans.start[rows[0]] - begin, "endValue": end - begin}
        label, name = trace.label, spans.name
        out.write(f'{dumps(head)[:-1]},"events":[')
        events = (
            f'{{"type":"{"O" if begins else "C"}","frame":{frames[label(name[row])]},"at":{time - begin}}}'
            for begins, row, time in steps(spans, self.track)
        )
        write_list(out, events)
        out.write("]}")


class SampleProfile:
    """The samples of one kind and thread."""

    def __init__(self, what: str, thread: str) -> None:
        self.what = what
        self.thread = thread
        self.known: dict[tuple[Frame, ...], int] = {}
        self.stacks = array("Q")  # numbers of `known`
        self.weights = array("Q")
        self.texts: list[str] = []  # of `known`

    def add(self, sample: Sample, frames: Frames) -> None:
        number = self.known.setdefault(sample.stack, len(self.known))
        if number == len(self.texts):
            self.texts.append(f"[{','.join(str(frames[frame]) for frame in sample.stack)}]")
        self.stacks.append(number)
        self.weights.append(sample.weight)

    def write(self, out: TextIO) -> None:
        unit = "bytes" if self.what == "allocated" else "nanoseconds"
        head: dict[str, Any] = {"type": "sampled", "name": f"{self.thread}: {TITLES[self.what]}", "unit": unit}
        head |= {"startValue": 0, "endValue": sum(self.weights)}
        out.write(f'{dumps(head)[:-1]},"samples":[')
        write_list(out, (self.texts[number] for number in self.stacks))
        out.write('],"weights":[')
        write_list(out, map(str, self.weights))
        out.write("]}")


def write(reader: Reader, out: TextIO) -> list[str]:
    """Write what a reader's file holds; returns notes for people."""
    return write_trace(Trace.read(reader), out)


def write_trace(trace: Trace, out: TextIO) -> list[str]:
    frames = Frames()
    exporter = f"libperf {ffi.string(lib.perf_version()).decode()}"
    head = {"$schema": SCHEMA, "exporter": exporter, "name": trace.title, "activeProfileIndex": 0}
    out.write(f'{dumps(head)[:-1]},"profiles":[')
    first = True
    for profile in _profiles(trace, frames):
        out.write("\n" if first else ",\n")
        profile.write(out)
        first = False
    if first:
        nothing = {"type": "evented", "name": "nothing was recorded", "unit": "none"}
        out.write(dumps({**nothing, "startValue": 0, "endValue": 0, "events": []}))
    out.write('\n],"shared":{"frames":[')  # known now that all profiles are written
    write_list(out, frames.as_json())
    out.write("]}}\n")
    return trace.notes


def _profiles(trace: Trace, frames: Frames) -> Iterator[Profile]:
    """CPU samples first: where there are any, they are what is looked for."""
    sampled = _sample_profiles(trace, frames)
    yield from (profile for profile in sampled if profile.what == "cpu")
    for track in place(trace)[0]:
        yield TrackProfile(trace, track, frames)
    yield from (profile for profile in sampled if profile.what != "cpu")


def _sample_profiles(trace: Trace, frames: Frames) -> list[SampleProfile]:
    found: dict[tuple[str, int], SampleProfile] = {}
    for sample in trace.samples():
        key = sample.what, sample.block
        if key not in found:
            found[key] = SampleProfile(sample.what, trace.block_name(sample.block))
        found[key].add(sample, frames)
    return list(found.values())
