"""Snapshots: what lives, by line; what has grown; how good the estimates are."""

from __future__ import annotations

import json
import math
import random

import pytest

import libperf
from libperf import memory
from libperf.errors import ClosedError
from libperf.memory.snapshot import Block, Snapshot
from libperf.samples import Frame

MIB = 2**20


def keep(count: int, size: int) -> list[bytearray]:
    return [bytearray(size) for _ in range(count)]


def grow(count: int, size: int) -> list[bytearray]:
    return [bytearray(size) for _ in range(count)]


def of(places: list[memory.Place], function: str) -> memory.Place:
    """The place of a function of this file; a comprehension may be a function of its own."""
    (found,) = (place for place in places if function in place.function.split(".") and place.file == __file__)
    return found


# ---- real ones ----


def test_what_lives_is_known_by_line() -> None:
    """A snapshot has the lines whose blocks live, near their real size, and none of those that were freed."""
    with memory.counting(sample_bytes=4096, seed=1):
        kept = keep(3000, 1000)
        freed = grow(3000, 1000)
        del freed
        snapshot = memory.take_snapshot()
    place = of(snapshot.top(), "keep")
    assert place.bytes == pytest.approx(3000 * 1057, rel=0.2)
    assert place.blocks == pytest.approx(6000, rel=0.9)
    assert abs(place.bytes - 3000 * 1057) < 4 * place.plus_minus
    assert place.line == keep.__code__.co_firstlineno + 1
    assert not any("grow" in each.function for each in snapshot.places())
    assert len(kept) == 3000


def test_large_blocks_are_known_exactly() -> None:
    """A block far above the sampling interval is surely taken and stands for itself; a list that grows is one block."""
    with memory.counting(sample_bytes=4096, seed=1):
        kept = keep(1, 10 * MIB)
        snapshot = memory.take_snapshot()
        kept[0].extend(bytes(10 * MIB))
        after = memory.take_snapshot()
    place = of(snapshot.top(), "keep")
    assert place.bytes == pytest.approx(10 * MIB, rel=0.001)
    assert place.plus_minus < 20_000
    assert after.bytes - snapshot.bytes == pytest.approx(len(kept[0]) - 10 * MIB, rel=0.3)


def test_growth_is_found() -> None:
    """compare() has what grew first, surely; what stayed has not grown at all."""
    with memory.counting(sample_bytes=4096, seed=2):
        kept = keep(1000, 1000)
        first = memory.take_snapshot()
        grown = grow(5000, 1000)
        second = memory.take_snapshot()
        del grown
        third = memory.take_snapshot()
    rows = second.compare(first).rows
    assert "grow" in rows[0].place.function
    assert rows[0].growth == rows[0].after == pytest.approx(5000 * 1057, rel=0.2)
    assert (rows[0].before, rows[0].is_certain) == (0, True)
    (stayed,) = (row for row in rows if "keep" in row.place.function)
    assert (stayed.growth, stayed.plus_minus, stayed.is_certain) == (0, 0, False)
    less = third.compare(second).rows[-1]
    assert "grow" in less.place.function
    assert less.growth == -rows[0].growth
    assert len(kept) == 1000


def test_by_operation() -> None:
    """What lives, by the span under which it was allocated."""
    with memory.counting(sample_bytes=1000, seed=3):
        with libperf.span("load index"):
            kept = keep(1000, 1000)
        other = grow(100, 1000)
        places = {place.operation: place.bytes for place in memory.take_snapshot().places("operation")}
    assert places["load index"] == pytest.approx(1000 * 1057, rel=0.3)
    assert places["(no span)"] > 50_000
    assert len(kept) + len(other) == 1100


def test_the_table_bounds_what_is_kept() -> None:
    """More samples than there is room for are dropped and counted; the program notices nothing."""
    with memory.counting(sample_bytes=1, max_blocks=100):
        kept = keep(1000, 100)
        counts = memory.counts()
        snapshot = memory.take_snapshot()
    assert 50 < counts.live <= 100  # some were freed meanwhile
    assert counts.dropped > 1000
    assert len(snapshot.blocks) <= 100
    assert len(kept) == 1000


def test_nothing_is_kept_alive() -> None:
    """A snapshot holds numbers and texts; objects of the program are freed as before."""

    class Seen:
        freed = 0

        def __init__(self) -> None:
            self.data = bytearray(100_000)

        def __del__(self) -> None:
            Seen.freed += 1

    with memory.counting(sample_bytes=1000):
        one = Seen()
        snapshot = memory.take_snapshot()
        del one
        assert Seen.freed == 1
    assert snapshot.bytes > 100_000


def test_without_counting() -> None:
    """An error that says what to do."""
    with pytest.raises(ClosedError, match=r"memory.start_counting\(\) first"):
        memory.take_snapshot()
    with memory.counting(sample_bytes=0), pytest.raises(ClosedError, match="without samples"):
        memory.take_snapshot()


# ---- made by hand ----

LINE, OTHER = Frame("f", "/a.py", 1), Frame("g", "/b.py", 9)


def made(*blocks: tuple[int, int, tuple[Frame, ...], str]) -> Snapshot:
    """(size, weight, stack, operation); each at a time of its own."""
    return Snapshot([Block(size, weight, n, *rest) for n, (size, weight, *rest) in enumerate(blocks)], 1000, 5.0)


def test_blocks_are_put_together() -> None:
    """By line, function, file, stack and operation."""
    second = Frame("f", "/a.py", 2)
    snapshot = made(
        (10, 1000, (OTHER, LINE), "x"),
        (10, 1000, (LINE,), "y"),
        (500, 1500, (second,), "x"),
        (10, 600, (OTHER,), ""),
        (7, 100, (), ""),
    )
    shown = {by: [(p.function, p.file, p.line, p.bytes) for p in snapshot.places(by)] for by in memory_ways()}
    none = ("(no Python code)", "", 0, 100)
    assert shown["line"] == [("f", "/a.py", 1, 2000), ("f", "/a.py", 2, 1500), ("g", "/b.py", 9, 600), none]
    assert shown["function"] == [("f", "/a.py", 0, 3500), ("g", "/b.py", 0, 600), none]
    assert shown["file"] == [("", "/a.py", 0, 3500), ("", "/b.py", 0, 600), ("", "", 0, 100)]
    assert [bytes_ for *_, bytes_ in shown["stack"]] == [1500, 1000, 1000, 600, 100]
    assert [(p.operation, p.bytes) for p in snapshot.places("operation")] == [
        ("x", 2500),
        ("y", 1000),
        ("(no span)", 700),
    ]
    assert snapshot.bytes == 4200
    assert snapshot.top(1)[0].blocks == 200
    assert snapshot.top(0) == []


def memory_ways() -> tuple[str, ...]:
    return ("line", "function", "file", "stack")


def test_plus_minus_is_what_it_says() -> None:
    """Of many programs with known memory the estimate is within `plus_minus` in about two of three, and right on average."""
    chance = random.Random(11)
    interval, within, total, runs = 1000, 0, 0, 400
    sizes = [50] * 200 + [800] * 20 + [5000] * 2
    for _ in range(runs):
        blocks = []
        for number, size in enumerate(sizes):
            taken = -math.expm1(-size / interval)
            if chance.random() < taken:
                blocks.append(Block(size, round(size / taken), number, (LINE,), ""))
        (place,) = Snapshot(blocks, interval, 0.0).places()
        within += abs(place.bytes - sum(sizes)) <= place.plus_minus
        total += place.bytes
    assert total / runs == pytest.approx(sum(sizes), rel=0.02)
    assert 0.6 < within / runs < 0.76


def test_comparing_by_hand() -> None:
    """Growth is what came less what went; chance lies in these alone."""
    older = made((10, 1000, (LINE,), ""), (10, 1000, (OTHER,), ""))
    same = older.blocks[0]
    newer = Snapshot([same, Block(10, 1000, 77, (LINE,), ""), Block(500, 500, 78, (LINE,), "")], 1000, 6.0)
    comparison = newer.compare(older)
    assert [(row.place.function, row.growth, row.before, row.after) for row in comparison.rows] == [
        ("f", 1500, 1000, 2500),
        ("g", -1000, 1000, 0),
    ]
    assert [row.plus_minus for row in comparison.rows] == [round((1000 * 990) ** 0.5)] * 2
    assert comparison.growth == 500
    assert comparison.top(1) == comparison.rows[:1]


def test_as_data() -> None:
    """to_dict() is plain: it goes through JSON and back, and says what it is of."""
    older, newer = made((10, 1000, (LINE,), "")), made((10, 1000, (LINE,), ""), (10, 500, (OTHER, LINE), "x"))
    data = json.loads(json.dumps(newer.to_dict(n=1, by="stack")))
    assert data == {
        "schema": 1,
        "at": 5.0,
        "sample_bytes": 1000,
        "samples": 2,
        "bytes": 1500,
        "by": "stack",
        "places": [
            {
                **{"function": "f", "file": "/a.py", "line": 1, "operation": "", "bytes": 1000, "blocks": 100},
                **{"samples": 1, "plus_minus": 995, "stack": [["f", "/a.py", 1]]},
            }
        ],
    }
    data = json.loads(json.dumps(newer.compare(older).to_dict()))
    assert (data["growth"], data["places"][0]["growth"], data["places"][0]["is_certain"]) == (500, 500, False)


def test_as_a_table() -> None:
    """Lines of libraries say which line of the program called them; what steers a terminal does not come through."""
    library = Frame("decode", "/usr/lib/python3.11/json/decoder.py", 353)
    bad = Frame("e\x1b[2J", "/c\n.py", 3)
    text = str(made((10, 3 * MIB, (LINE, library), ""), (10, 5000, (bad,), "")))
    assert "3.00 MiB" in text
    assert "json/decoder.py:353 decode ← /a.py:1" in text
    assert "\x1b" not in text
    assert "one in 1000 B" in text
    compared = str(made((10, 3 * MIB, (LINE,), "")).compare(made()))
    assert "+3.00 MiB" in compared
    assert str(made()).startswith("memory  about 0 B live")
    assert "0 B" in str(made().compare(made()))


def test_wrong_arguments() -> None:
    """Errors name the value and what it may be."""
    snapshot = made()
    with pytest.raises(ValueError, match="by='lines': use one of: line, function, file, stack, operation"):
        snapshot.top(by="lines")
    with pytest.raises(ValueError, match="n=-1"):
        snapshot.top(-1)
    with pytest.raises(TypeError, match="expected an older Snapshot"):
        snapshot.compare(3)  # type: ignore[arg-type]
