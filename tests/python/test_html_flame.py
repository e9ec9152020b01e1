"""The flame graph: own times by the names of parents."""

from __future__ import annotations

import itertools
from typing import Any

from libperf.html.flame import DEEPEST, LOST, flame, own_time
from libperf.names import Kind
from libperf.reader import Record

_ids = itertools.count(1)


def span(name: str, start: int, end: int | None, parent: int = 0, kind: Kind = Kind.SPAN) -> Record:
    """Times in milliseconds."""
    stop = None if end is None else end * 1_000_000
    return Record("span", name, kind, 0, start * 1_000_000, stop, next(_ids), parent, 0, 0, 0, {})


def nodes(*records: Record) -> list[tuple[Any, ...]]:
    """Name, depth, begin, whole and own time (milliseconds), calls."""
    found = flame(records)["nodes"]
    times = ([value / 1000 for value in found[column]] for column in ("start", "total", "own"))
    return list(zip(found["name"], found["depth"], *times, found["calls"], strict=True))


def test_own_time_is_what_no_span_inside_covers() -> None:
    assert own_time(0, 100, []) == 100
    assert own_time(0, 100, [(10, 30), (20, 50), (60, 70)]) == 50
    assert own_time(0, 100, [(-50, 20), (90, 300)]) == 70
    assert own_time(0, 100, [(10, 90), (20, 30)]) == 20
    assert own_time(0, 100, [(0, 100), (100, 200)]) == 0


def test_calls_side_by_side_add_up_under_their_parent() -> None:
    graph = span("graph", 0, 100)
    assert nodes(graph, span("fetch", 10, 60, graph.id), span("fetch", 20, 80, graph.id)) == [
        ("all spans", 0, 0, 140, 0, 0),
        ("graph", 1, 0, 140, 30, 1),
        ("fetch", 2, 0, 110, 110, 2),
    ]


def test_one_name_under_two_parents_is_two_nodes_the_wider_first() -> None:
    plan, write = span("plan", 0, 10), span("write", 10, 40)
    found = nodes(plan, write, span("llm", 0, 8, plan.id), span("llm", 10, 35, write.id))
    assert found[1:] == [
        ("write", 1, 0, 30, 5, 1),
        ("llm", 2, 0, 25, 25, 1),
        ("plan", 1, 30, 10, 2, 1),
        ("llm", 2, 30, 8, 8, 1),
    ]


def test_the_same_name_of_another_kind_is_another_node() -> None:
    node = span("plan", 0, 10, kind=Kind.NODE)
    data = flame([node, span("plan", 0, 8, node.id, Kind.LLM)])["nodes"]
    assert (data["name"], data["kind"]) == (["all spans", "plan", "plan"], ["", "node", "llm"])


def test_spans_whose_parent_was_overwritten_stand_together() -> None:
    assert nodes(span("fetch", 0, 10, parent=10**9))[1:] == [(LOST, 1, 0, 10, 0, 0), ("fetch", 2, 0, 10, 10, 1)]


def test_parents_in_a_circle_come_to_an_end() -> None:
    first, second = span("a", 0, 10), span("b", 0, 4)
    found = nodes(first._replace(parent=second.id), second._replace(parent=first.id))
    assert [(name, calls) for name, *_, calls in found] == [("all spans", 0), (LOST, 0), ("b", 1), ("a", 1)]


def test_recursion_deeper_than_a_page_counts_for_the_last_level() -> None:
    records = [span("walk", 0, 1000)]
    for i in range(2 * DEEPEST):
        records.append(span("walk", i + 1, 1000 - i, records[-1].id))
    found = nodes(*records)
    assert max(depth for _, depth, *_ in found) == DEEPEST
    assert sum(calls for *_, calls in found) == len(records)
    assert sum(own for *_, own, _ in found) == 1000


def test_what_is_too_narrow_is_drawn_together_and_counted() -> None:
    data = flame([span("long", 0, 1_000_000), *(span(f"short {i}", 0, 5) for i in range(40))])
    assert data["nodes"]["name"] == ["all spans", "long", "(smaller)"]
    assert data["nodes"]["calls"][2] == 40
    assert data["notes"] == ["Too narrow to be seen, and drawn as “(smaller)”: 40."]


def test_open_spans_and_log_lines_are_no_spans_of_it() -> None:
    log = span("fetch", 0, 5)._replace(type="log")
    assert nodes(span("open", 0, None), log) == [("all spans", 0, 0, 0, 0, 0)]
