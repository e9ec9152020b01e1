"""The flame graph: spans by the names of their parents, as wide as the time they took themselves."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..reader import Record
from .columns import Columns

__all__ = ["flame"]

DEEPEST = 60  # names; what is deeper counts for the last
NARROWEST = 2e-4  # of everything: narrower ones are drawn together
LOST = "(parent not kept)"

Key = tuple[str, str]  # kind, name


@dataclass(slots=True)
class Node:
    """All spans of one name under parents of the same names. Nanoseconds."""

    name: str
    kind: str
    depth: int
    calls: int = 0
    own: int = 0
    total: int = 0  # with what is inside
    inside: dict[Key, "Node"] = field(default_factory=dict)

    def child(self, kind: str, name: str) -> "Node":
        if self.depth == DEEPEST:
            return self
        found = self.inside.get((kind, name))
        if found is None:
            found = self.inside[kind, name] = Node(name, kind, self.depth + 1)
        return found


def flame(records: Iterable[Record]) -> dict[str, Any]:
    """Columns of nodes, parents before what is inside them. Times in microseconds."""
    spans = {record.id: record for record in records if record.type == "span" and record.end is not None}
    root = Node("all spans", "", 0)
    _grow(root, spans)
    _add_up(root)
    columns = Columns("name", "kind", "depth", "start", "total", "own", "calls")
    joined = _write(root, 0, columns, NARROWEST * root.total)
    note = f"Too narrow to be seen, and drawn as “(smaller)”: {joined:,}." if joined else ""
    return {"nodes": columns, "notes": [note] if note else []}


def _grow(root: Node, spans: dict[int, Record]) -> None:
    inside: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for span in spans.values():
        inside[span.parent].append((span.start, span.end or span.start))
    nodes: dict[int, Node] = {0: root}
    for span in spans.values():
        chain: dict[int, Record] = {}
        while span.id not in nodes and span.id not in chain:
            chain[span.id] = span
            span = spans.get(span.parent, span)
        for one in reversed(chain.values()):
            above = nodes.get(one.parent) or root.child("", LOST)  # overwritten; in a damaged file, in a circle
            node = above.child(one.kind.name.lower(), one.name)
            nodes[one.id] = node
            node.calls += 1
            node.own += own_time(one.start, one.end or one.start, inside[one.id])


def own_time(start: int, end: int, inside: list[tuple[int, int]]) -> int:
    """What is left of a span where none of those inside it was open."""
    left, until = end - start, start
    for begin, stop in sorted(inside):
        begin, stop = max(begin, until), min(stop, end)
        if stop > begin:
            left -= stop - begin
            until = stop
    return left


def _add_up(node: Node) -> int:
    node.total = node.own + sum(_add_up(child) for child in node.inside.values())
    return node.total


def _write(node: Node, start: int, columns: Columns, least: float) -> int:
    """The node and what is inside it, the widest first. Returns how many were too narrow."""
    times = start // 1000, node.total // 1000, node.own // 1000
    columns.add(node.name, node.kind, node.depth, *times, node.calls)
    small = Node("(smaller)", "", node.depth + 1)
    joined = 0
    for child in sorted(node.inside.values(), key=lambda child: -child.total):
        if child.total >= least and child.total:
            joined += _write(child, start, columns, least)
            start += child.total
        else:
            joined += 1
            small.calls += child.calls
            small.own += child.total
            small.total += child.total
    if small.total // 1000:
        _write(small, start, columns, 0)
    return joined
