"""Folded stacks: lines that flamegraph.pl reads, and names that come back."""

from __future__ import annotations

import pytest

from libperf.errors import InvalidError, NotFoundError
from libperf.exports import folded
from libperf.names import Kind
from libperf.samples import Frame
from support_exports import MS, Recording, written


def lines(recording: Recording, weight: str | None = None) -> list[tuple[str, float]]:
    """Stacks and weights, cut where flamegraph.pl cuts: at the last space."""
    text = written(folded.write_trace, recording.trace(), weight)
    assert text == "" or text.endswith("\n")
    parts = [line.rpartition(" ") for line in text.splitlines()]
    return [(stack, int(weight)) for stack, _, weight in parts]


def test_spans_by_what_they_took_themselves() -> None:
    """Calls side by side add up; the sum is the sum of own times."""
    recording = Recording()
    graph = recording.span("agent", 0, 100, kind=Kind.GRAPH)
    recording.span("fetch", 10, 60, graph)
    recording.span("fetch", 20, 80, graph, task=3)
    assert lines(recording) == [("graph:agent", 30 * MS), ("graph:agent;fetch", 110 * MS)]


A, B = Frame("main", "/srv/a.py", 9), Frame("work;x", "/srv/b.py", 0)


def test_samples_where_there_are_any() -> None:
    recording = Recording()
    recording.span("agent", 0, 100)
    recording.sample("cpu", 1, 1, A, B)
    recording.sample("cpu", 2, 2, A, B)
    recording.sample("cpu", 3, 1, A)
    recording.sample("cpu", 4, 7)
    recording.sample("allocated", 3, 512, A)
    cpu = [
        ("(not known)", 7 * MS),
        ("main (/srv/a.py:9)", MS),
        (r"main (/srv/a.py:9);work\x3bx (/srv/b.py)", 3 * MS),
    ]
    assert lines(recording) == lines(recording, "cpu") == cpu
    assert lines(recording, "allocated") == [("main (/srv/a.py:9)", 512)]
    assert lines(recording, "wall") == [("agent", 100 * MS)]


@pytest.mark.parametrize("weight", ["cpu", "allocated"])
def test_samples_that_are_not_there_are_named_with_a_way_out(weight: str) -> None:
    with pytest.raises(NotFoundError, match=rf"no {weight} samples.*Profiler\(enable_.*or take weight wall"):
        lines(Recording(), weight)


def test_a_weight_that_does_not_exist() -> None:
    with pytest.raises(InvalidError, match="weight='time' is none of: wall, cpu, allocated"):
        lines(Recording(), "time")


def test_nothing_recorded_is_no_line() -> None:
    assert lines(Recording()) == []


@pytest.mark.parametrize(
    "name",
    [
        "a;b",
        "a b 12",
        "line\nbreak",
        "tab\tand\rreturn",
        "nul\0",
        "\x1b[31m",
        "back\\slash",
        "\\n",
        "\u2028",
        "\ud800",
        "",
        "\\x3b;",
    ],
    ids=ascii,
)
def test_names_come_back(name: str) -> None:
    """No name ends a stack or a line; each can be read back, and no two are the same."""
    text = folded.escape(name)
    assert text.isprintable() and ";" not in text
    assert text.encode("ascii").decode("unicode_escape") == (name or "(no name)")


def test_readable_names_stay_as_they_are() -> None:
    for name in ("load", "größe 🐝", 'say "hi"', "f(x) -> y", "<lambda>", "/a/b.py:3"):
        assert folded.escape(name) == name
