"""Where spans are drawn: inside of each other, never across, and few tracks."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from libperf.exports.paths import DEEPEST, Paths, own_times
from libperf.exports.tracks import place, steps
from libperf.html.flame import own_time
from libperf.names import Kind
from support_exports import PID, Recording


def tracks(recording: Recording) -> dict[str, list[str]]:
    """The names of the spans on each track, with a dot for each that is open around them."""
    trace = recording.trace()
    found = {}
    for track in place(trace)[0]:
        lines: list[str] = []
        depth = 0
        for begins, row, _ in steps(trace.spans, track):
            if begins:
                lines.append("." * depth + trace.label(trace.spans.name[row]))
            depth += 1 if begins else -1
        assert depth == 0
        found[track.name] = lines
    return found


def test_calls_of_a_thread_lie_inside_of_each_other() -> None:
    recording = Recording()
    outer = recording.span("outer", 0, 10)
    recording.span("first", 1, 4, outer)
    recording.span("second", 4, 10, outer)
    recording.span("after", 10, 12)
    assert tracks(recording) == {"main thread": ["outer", ".first", ".second", "after"]}


def test_threads_have_tracks_of_their_own() -> None:
    recording = Recording()
    outer = recording.span("outer", 0, 10)
    recording.span("work", 1, 9, outer, thread=7)
    assert tracks(recording) == {"main thread": ["outer"], "thread 7": ["work"]}


def test_coroutines_that_overlap_have_tracks_of_their_own() -> None:
    """A gather: three tasks under one parent; the parent's own calls stay with it."""
    recording = Recording()
    main = recording.span("main", 0, 20, task=1)
    recording.span("plan", 0, 2, main, task=1)
    for task in (2, 3, 4):
        fetch = recording.span("fetch", 2 + task, 10 + task, main, task=task)
        recording.span("parse", 4 + task, 5 + task, fetch, task=task)
    assert tracks(recording) == {
        "main": ["main", ".plan"],
        "fetch": ["fetch", ".parse"],
        "fetch (2)": ["fetch", ".parse"],
        "fetch (3)": ["fetch", ".parse"],
    }


def test_tasks_take_turns_on_a_track() -> None:
    """A thousand tasks, two at a time, need two tracks."""
    recording = Recording()
    for i in range(1000):
        recording.span("handle", i, i + 1.5, task=1 + i)
    assert {name: len(rows) for name, rows in tracks(recording).items()} == {"handle": 500, "handle (2)": 500}


def test_the_only_child_of_its_time_lies_inside_its_parent_whatever_task_ran_it() -> None:
    """Frameworks run callbacks in tasks of their own; children side by side stay apart."""
    recording = Recording()
    node = recording.span("plan", 0, 10, kind=Kind.NODE, task=1)
    recording.span("plan", 1, 4, node, kind=Kind.LLM, task=77)
    recording.span("check", 5, 9, node, task=78)
    both = recording.span("both", 10, 20, task=2)
    recording.span("left", 11, 15, both, task=3)
    recording.span("right", 12, 16, both, task=4)
    assert tracks(recording) == {
        "node:plan": ["node:plan", ".llm:plan", ".check"],
        "both": ["both"],
        "left": ["left"],
        "right": ["right"],
    }


def test_what_lies_across_goes_beside() -> None:
    """A generator's span that outlives its caller, and items of batches, which overlap in one task."""
    recording = Recording()
    caller = recording.span("caller", 0, 10)
    recording.span("numbers", 5, 15, caller)
    recording.span("inside", 6, 7, caller)
    items = recording.span("submit", 20, 40, task=5)
    for i in range(3):
        recording.span("item", 21 + i, 30 + i, items, task=5)
    assert tracks(recording) == {
        "main thread": ["caller", ".inside"],
        "main thread (2)": ["numbers"],
        "submit": ["submit", ".item"],
        "item": ["item"],
        "item (2)": ["item"],
    }


def test_spans_without_length_are_balanced() -> None:
    recording = Recording()
    outer = recording.span("outer", 5, 5)
    recording.span("inner", 5, 5, outer)
    recording.span("backwards", 9, 8)
    assert sum(map(len, tracks(recording).values())) == 3


@pytest.mark.parametrize("seed", range(20))
def test_any_spans_are_placed_once_and_never_across(seed: int) -> None:
    """Begins and ends are balanced like brackets, in the order of time; every span is there; parents outside."""
    dice = random.Random(seed)
    recording = Recording()
    ids = [0]
    for _ in range(400):
        start = dice.randrange(200)
        thread, task = dice.choice((PID, 7)), dice.choice((0, 0, 1, 2, 3))
        parent = dice.choice([*ids, 10**9])
        name = dice.choice("abc")
        ids.append(recording.span(name, start, start + dice.choice((0, 1, 5, 50)), parent, thread=thread, task=task))
    trace = recording.trace()
    seen: Counter[int] = Counter()
    found, track_of = place(trace)
    for track in found:
        stack: list[int] = []
        last = 0
        for begins, row, time in steps(trace.spans, track):
            assert time >= last and time == (trace.spans.start if begins else trace.spans.end)[row]
            last = time
            if begins:
                seen[row] += 1
                stack.append(row)
                assert track_of[row] is track
                assert track.task == bool(trace.spans.task[row])
                assert track.task or track.thread == trace.spans.thread[row]
            else:
                assert stack.pop() == row
        assert stack == []
    assert seen == Counter(range(400))


# ---- paths ----


@pytest.mark.parametrize("seed", range(5))
def test_own_times_are_what_no_child_covers(seed: int) -> None:
    """As the HTML report's flame graph reckons them, one span at a time."""
    dice = random.Random(seed)
    recording = Recording()
    ids = [0]
    for _ in range(300):
        start = dice.randrange(100)
        ids.append(recording.span("x", start, start + dice.randrange(40), dice.choice(ids)))
    trace = recording.trace()
    spans = trace.spans
    inside: dict[int, list[tuple[int, int]]] = {}
    for row in range(len(spans)):
        inside.setdefault(spans.parent[row], []).append((spans.start[row], spans.end[row]))
    expected = [own_time(spans.start[row], spans.end[row], inside.get(row, [])) for row in range(len(spans))]
    assert list(own_times(spans)) == expected


def test_paths_by_the_names_of_parents() -> None:
    recording = Recording()
    graph = recording.span("agent", 0, 10, kind=Kind.GRAPH)
    for _ in range(2):
        node = recording.span("plan", 0, 5, graph, kind=Kind.NODE)
        recording.span("load", 1, 2, node)
    recording.span("load", 0, 1, 10**9)  # its parent was overwritten
    trace = recording.trace()
    paths = Paths(trace)
    assert [paths.names(path) for path in range(len(paths))] == [
        ["graph:agent"],
        ["graph:agent", "node:plan"],
        ["graph:agent", "node:plan", "load"],
        ["load"],
    ]
    assert list(paths.of) == [0, 1, 2, 1, 2, 3]


def test_parents_in_a_circle_and_recursion_without_end_are_bounded() -> None:
    recording = Recording()
    recording.span("a", 0, 10, 2, id=1)
    recording.span("b", 0, 10, 1, id=2)
    recording.span("self", 0, 10, 3, id=3)
    last = 0
    for i in range(5000):
        last = recording.span("walk", i / 1000, 10, last)
    trace = recording.trace()
    paths = Paths(trace)
    assert max(path.depth for path in paths) == DEEPEST
    assert sum(own_times(trace.spans)) >= 10 * 1_000_000
    assert sum(len(track.rows) for track in place(trace)[0]) == 5003
