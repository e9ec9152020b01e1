"""Which span was open on a thread at a moment, and which operations a stack names.

Where schedulers were recorded (`libperf run`) each event says which span was current, so that is exact for tasks, too. Elsewhere
it follows from the begins and ends: the innermost of the spans that lie inside of each other. When spans of several tasks
were open side by side, the one is taken that a function of the stack is named after, if it is the only one.
"""

import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ..events import SAMPLES
from ..exports.paths import Paths
from ..exports.trace import Trace
from .looks import Looks

__all__ = ["NONE", "Intervals", "Named", "Piece", "Timelines"]

NONE = -1  # no span
OWN = re.compile(r"(^|/)libperf/(\w+/)?\w+\.py$")
TOO_MANY = frozenset[int]()
SEVERAL = 16  # spans of different paths side by side, that are told apart


class Piece(NamedTuple):
    """A time in which one thread had the same span."""

    start: int
    end: int
    value: int  # a path; NONE; below it one of Timelines.several


class Line:
    """One thread's: from `starts[i]` on `values[i]`."""

    def __init__(self) -> None:
        self.starts, self.values = array("q"), array("q")

    def add(self, start: int, value: int) -> None:
        if self.values and self.values[-1] == value:
            return
        if self.starts and self.starts[-1] >= start:
            self.values[-1] = value
        else:
            self.starts.append(start)
            self.values.append(value)

    def at(self, time: int) -> int:
        place = bisect_right(self.starts, time) - 1
        return self.values[place] if place >= 0 else NONE

    def pieces(self, start: int, end: int, most: int) -> list[Piece]:
        """What lies between; of more than `most`, and of a moment, only the middle one."""
        first, last = bisect_right(self.starts, start) - 1, bisect_right(self.starts, end - 1) - 1
        if last <= first or last - first > most:
            return [Piece(start, end, self.at((start + end) // 2))]
        found = []
        for place in range(first, last + 1):
            begin = max(start, self.starts[place]) if place >= 0 else start
            stop = min(end, self.starts[place + 1]) if place < last else end
            found.append(Piece(begin, stop, self.values[place] if place >= 0 else NONE))
        return found


class Timelines(dict[int, Line]):
    """By thread."""

    def __init__(self, trace: Trace, paths: Paths) -> None:
        super().__init__()
        self.trace = trace
        self.paths = paths
        self.several: list[frozenset[int]] = []
        self._known: dict[frozenset[int], int] = {}
        spans = trace.spans
        begins: dict[int, array[int]] = {}
        for row in spans.in_order():
            begins.setdefault(spans.thread[row], array("q")).append(row)
        for thread, rows in begins.items():
            self[thread] = self._sweep(rows)
        for thread, line in self._of_events().items():
            self[thread] = _inserted(self.get(thread, Line()), line)

    def _sweep(self, begins: "array[int]") -> Line:
        """The innermost open spans, from one begin or end to the next."""
        spans, of, line = self.trace.spans, self.paths.of, Line()
        start, end, parent = spans.start, spans.end, spans.parent
        ends = sorted(begins, key=end.__getitem__)
        children: dict[int, int] = {}  # of each open span, how many are open
        leaves: Counter[int] = Counter()  # paths of the open spans in which none is open
        begun = 0
        for ending in ends:
            while begun < len(begins) and start[begins[begun]] < end[ending]:
                row = begins[begun]
                begun += 1
                if start[row] == end[row]:
                    continue
                children[row] = 0
                leaves[of[row]] += 1
                if (above := parent[row]) in children:
                    children[above] += 1
                    if children[above] == 1:
                        _take(leaves, of[above])
                line.add(start[row], self._value(leaves))
            left = children.pop(ending, None)
            if left is None:  # it has no length
                continue
            if left == 0:
                _take(leaves, of[ending])
            if (above := parent[ending]) in children:
                children[above] -= 1
                if children[above] == 0:
                    leaves[of[above]] += 1
            line.add(end[ending], self._value(leaves))
        return line

    def _value(self, leaves: Counter[int]) -> int:
        if not leaves:
            return NONE
        if len(leaves) == 1:
            return next(iter(leaves))
        key = frozenset(leaves) if len(leaves) <= SEVERAL else TOO_MANY
        if key not in self._known:
            self._known[key] = len(self.several)
            self.several.append(key)
        return NONE - 1 - self._known[key]

    def _of_events(self) -> dict[int, Line]:
        """What scheduler events say: each knows the span that was current until then."""
        row_of, of = self.trace.spans.row.get, self.paths.of
        blocks: dict[int, Line] = {}
        before: dict[int, int] = {}
        for event in self.trace.events():
            if event.code in SAMPLES:  # they may be about another thread
                continue
            line = blocks.setdefault(event.block, Line())
            row = row_of(event.span) if event.span else None
            if event.block in before:
                line.add(before[event.block], NONE if row is None else of[row])
            before[event.block] = event.time
        for block, line in blocks.items():
            line.add(before[block], NONE)
        thread = self.trace.thread_of_block
        return {thread[block]: line for block, line in blocks.items() if block in thread}

    def pick(self, value: int, named: frozenset[str]) -> int | None:
        """The path that a value stands for, given what the stack names; None: one of several, nobody knows which."""
        if value >= NONE:
            return value
        several, paths = self.several[NONE - 1 - value], self.paths
        for depth in (1, None):  # the innermost names first
            fits = [path for path in several if any(self._text(step) in named for step in list(paths.up(path))[:depth])]
            if len({paths[path].name for path in fits}) == 1:
                return fits[0]
        alike = len({paths[path].name for path in several}) == 1  # spans of one name need not be told apart
        return min(several) if alike else None

    def _text(self, path: int) -> str:
        return self.trace.name_of(self.paths[path].name).text


def _take(leaves: Counter[int], path: int) -> None:
    leaves[path] -= 1
    if not leaves[path]:
        del leaves[path]


def _inserted(whole: Line, part: Line) -> Line:
    """`part` where it says something, `whole` before and after it."""
    if len(part.starts) < 2:
        return whole
    first, last = part.starts[0], part.starts[-1]
    found = Line()
    for start, value in zip(whole.starts, whole.values, strict=True):
        if start < first:
            found.add(start, value)
    for start, value in zip(part.starts[:-1], part.values[:-1], strict=True):
        found.add(start, value)
    found.add(last, whole.at(last))
    for start, value in zip(whole.starts, whole.values, strict=True):
        if start > last:
            found.add(start, value)
    return found


class Named:
    """Which operations the functions of a stack are: by node, all of them and the innermost."""

    def __init__(self, trace: Trace, looks: Looks) -> None:
        self.texts = {trace.name_of(number).text for number in set(trace.spans.name)}
        bare = {text.rpartition(".")[2]: text for text in sorted(self.texts)} if looks.bare else {}
        nothing: frozenset[str] = frozenset()
        self.all, self.innermost = [nothing], [""]
        known: dict[tuple[frozenset[str], str], frozenset[str]] = {}
        for _, caller, frame in looks.down():
            text = frame.function.rpartition("<locals>.")[2]
            text = text if text in self.texts else bare.get(text, "")
            around = self.all[caller]
            if OWN.search(frame.file):  # `libperf run` has functions of its own below the program's
                text = ""
            found = known.setdefault((around, text), around | {text}) if text else around
            self.all.append(found)
            self.innermost.append(text or self.innermost[caller])


class Intervals:
    """When at least one span of an operation was open, on whatever thread."""

    def __init__(self, trace: Trace, texts: Iterable[str]) -> None:
        spans = trace.spans
        wanted = set(texts)
        self.of: dict[str, tuple[array[int], array[int]]] = {}
        self.rows: dict[str, list[int]] = {}
        for row in spans.in_order():
            text = trace.name_of(spans.name[row]).text
            if text not in wanted:
                continue
            self.rows.setdefault(text, []).append(row)
            starts, ends = self.of.setdefault(text, (array("q"), array("q")))
            if ends and spans.start[row] <= ends[-1]:
                ends[-1] = max(ends[-1], spans.end[row])
            else:
                starts.append(spans.start[row])
                ends.append(spans.end[row])

    def open(self, text: str, time: int) -> bool:
        starts, ends = self.of.get(text, (array("q"), array("q")))
        place = bisect_right(starts, time) - 1
        return place >= 0 and time < ends[place]
