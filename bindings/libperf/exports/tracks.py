"""Where spans are drawn: on tracks, on each of which they lie inside of each other, never across.

A thread's track has what it ran outside of tasks. A task's spans lie on one track as well; tasks that begin with a span
of the same name take turns on a track where they do not overlap, for a program may have a million of them. A span that
was the only one under its parent at its time lies inside of it, also when a task of its own ran it in the same event
loop: callbacks of frameworks do. A span that lies across others of its task or thread (a generator's, an item's of a
batch) goes to a track beside it.
"""

import itertools
from array import array
from collections import defaultdict
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from .trace import Spans, Trace

__all__ = ["Step", "Track", "place", "steps"]

Group = tuple[bool, int]  # of tasks: the name of their first span; else a thread
Actor = int  # a thread, or a task in it: thread << 32 | task


class Track:
    """A place for spans."""

    __slots__ = ("actor", "name", "open", "rows", "task", "thread", "until")

    def __init__(self, name: str, thread: int, task: bool) -> None:
        self.name = name
        self.thread = thread  # of its first span
        self.task = task  # it is for tasks
        self.rows = array("Q")  # of its spans, parents before children
        # while it is filled:
        self.actor: Actor = 0  # whose spans are open on it
        self.open: list[int] = []  # their rows, the outermost first
        self.until = 0  # the end of the outermost one

    def free(self, spans: Spans, time: int) -> bool:
        """Nothing is open on it any more."""
        while self.open and spans.end[self.open[-1]] <= time:
            self.open.pop()
        return not self.open


class Step(NamedTuple):
    """A span begins or ends."""

    begins: bool
    row: int
    time: int


def place(trace: Trace) -> tuple[list[Track], list[Track]]:
    """The tracks: threads' before tasks', each in the order of their begin; and the track of each row."""
    return _Placing(trace).run()


class _Placing:
    """Takes the spans by their begin."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.spans = trace.spans
        self.tracks: list[Track] = []
        self.now: dict[Actor, Track] = {}  # where an actor's last span went
        self.groups: dict[Group, list[tuple[int, int, Track]]] = defaultdict(list)  # by when they are free
        self.counts: dict[Group, int] = defaultdict(int)  # tracks
        self.serial = itertools.count()
        self.order = self.spans.in_order()
        self.beside = find_siblings(self.spans, self.order)

    def run(self) -> tuple[list[Track], list[Track]]:
        spans = self.spans
        of: list[Track | None] = [None] * len(spans)
        for row in self.order:
            above = spans.parent[row]
            track = self.track_for(row, of[above] if above >= 0 else None)
            if not track.open:
                track.until = spans.end[row]
            track.open.append(row)
            track.rows.append(row)
            of[row] = track
        self.tracks.sort(key=lambda track: (track.task, track.thread != self.trace.info.pid))
        return self.tracks, [track for track in of if track is not None]

    def track_for(self, row: int, above: Track | None) -> Track:
        spans = self.spans
        start, end = spans.start[row], spans.end[row]
        actor = spans.thread[row] << 32 | spans.task[row]
        usual = self.now.get(actor)
        for track in (above, usual):
            if track is None or track.free(spans, start) or end > spans.end[track.open[-1]]:
                continue
            if track.actor == actor or (track is above and self.inside_of_parent(row, track)):
                return track
        if usual is not None and usual.free(spans, start):
            return self.take(usual, row, actor)
        track = self.find_free(row, actor)
        if usual is None or usual.actor != actor:  # else this one lies across what goes on there
            self.now[actor] = track
        return track

    def inside_of_parent(self, row: int, above: Track) -> bool:
        """Its parent waits for nothing else meanwhile."""
        spans = self.spans
        parent = spans.parent[row]
        same = above.open[-1] == parent and spans.thread[row] == spans.thread[parent]
        return same and not self.beside[row] and bool(spans.task[row] and spans.task[parent])

    def find_free(self, row: int, actor: Actor) -> Track:
        group = self.group_of(row)
        waiting = self.groups[group]
        start = self.spans.start[row]
        while waiting and waiting[0][0] <= start:
            until, _, track = heappop(waiting)
            if until == track.until and track.free(self.spans, start):  # else somebody took it meanwhile
                return self.take(track, row, actor)
        self.counts[group] += 1
        of_tasks, number = group
        name = self.trace.label(number) if of_tasks else self.trace.thread_name(number)
        name += f" ({self.counts[group]})" if self.counts[group] > 1 else ""
        track = Track(name, self.spans.thread[row], of_tasks)
        self.tracks.append(track)
        return self.take(track, row, actor)

    def take(self, track: Track, row: int, actor: Actor) -> Track:
        track.actor = actor
        heappush(self.groups[self.group_of(row)], (self.spans.end[row], next(self.serial), track))
        return track

    def group_of(self, row: int) -> Group:
        spans = self.spans
        return (True, spans.name[row]) if spans.task[row] else (False, spans.thread[row])


def find_siblings(spans: Spans, order: list[int]) -> bytearray:
    """For each span, whether another child of its parent was open at the same time."""
    found = bytearray(len(spans))
    latest: dict[int, int] = {}  # by parent, of its children so far the one that ends last
    for row in order:
        parent = spans.parent[row]
        if parent < 0:
            continue
        other = latest.setdefault(parent, row)
        if other != row and spans.start[row] < spans.end[other]:
            found[row] = found[other] = True
        if spans.end[row] > spans.end[other]:
            latest[parent] = row
    return found


def steps(spans: Spans, track: Track) -> Iterator[Step]:
    """Begins and ends on a track: balanced, and in the order of their times."""
    open_rows: list[int] = []
    start, end = spans.start, spans.end
    for row in track.rows:
        begin = start[row]
        while open_rows and end[open_rows[-1]] <= begin:
            last = open_rows.pop()
            yield Step(False, last, end[last])
        open_rows.append(row)
        yield Step(True, row, begin)
    while open_rows:
        last = open_rows.pop()
        yield Step(False, last, end[last])
