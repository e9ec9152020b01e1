"""Call paths: the names of a span and of those around it, and how much time each span took itself."""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from .trace import Spans, Trace

__all__ = ["DEEPEST", "Path", "Paths", "own_times"]

DEEPEST = 400  # names; what is deeper counts for the last, or lines would grow without end


class Path(NamedTuple):
    """A name under a path; paths are numbers, in which the path around a path comes first."""

    around: int  # -1: none
    name: int
    depth: int


class Paths(list[Path]):
    """The paths of a trace's spans."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace
        self._known: dict[tuple[int, int], int] = {}
        self.of = self._of_rows(trace.spans)  # by row

    def _of_rows(self, spans: Spans) -> "array[int]":
        of = array("q", [-1]) * len(spans)
        for row in range(len(spans)):
            chain: dict[int, None] = {}  # parents in a circle, which only a damaged file has, come to an end
            while row >= 0 and of[row] < 0 and row not in chain:
                chain[row] = None
                row = spans.parent[row]
            around = of[row] if row >= 0 else -1
            for inner in reversed(chain):
                around = of[inner] = self._path(around, spans.name[inner])
        return of

    def _path(self, around: int, name: int) -> int:
        depth = self[around].depth + 1 if around >= 0 else 1
        if depth > DEEPEST:
            return around
        number = self._known.setdefault((around, name), len(self))
        if number == len(self):
            self.append(Path(around, name, depth))
        return number

    def names(self, path: int) -> list[str]:
        """From the outermost on."""
        found = [self.trace.label(self[step].name) for step in self.up(path)]
        return found[::-1]

    def up(self, path: int) -> Iterator[int]:
        """The path and those around it, outwards."""
        while path >= 0:
            yield path
            path = self[path].around


def own_times(spans: Spans) -> "array[int]":
    """Nanoseconds of each span in which none of its children was open."""
    own = array("Q", (end - start for start, end in zip(spans.start, spans.end, strict=True)))
    until = array("Q", spans.start)  # up to where a parent's children have been counted
    for row in spans.in_order():
        above = spans.parent[row]
        if above >= 0 and above != row:
            begin = max(spans.start[row], until[above])
            stop = min(spans.end[row], spans.end[above])
            if stop > begin:
                own[above] -= stop - begin
                until[above] = stop
    return own
