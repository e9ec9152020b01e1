"""What lives, by line: snapshots of sampled blocks, and what has grown between two of them."""

import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .._core import ffi
from ..names import text_of
from ..reader import Reader
from ..samples import Frame, Stacks

__all__ = ["Block", "Comparison", "Growth", "Place", "Snapshot", "read_snapshot"]

SCHEMA = 1  # of to_dict(): goes up when a field changes what it means
BLOCK = struct.Struct("=4Q2I")  # perf_heap_block
assert BLOCK.size == ffi.sizeof("perf_heap_block")
TOP = 10
UNKNOWN = Frame("(no Python code)", "", 0)
BY = ("line", "function", "file", "stack", "operation")


class Block(NamedTuple):
    """A sampled block that lives."""

    size: int  # of the block itself
    weight: int  # bytes that it stands for
    time: int  # when it was allocated: nanoseconds of the monotonic clock
    stack: tuple[Frame, ...]  # who allocated it, outermost first
    operation: str  # name of the span that was current; "": none


@dataclass(frozen=True, slots=True)
class Place:
    """What lives of what was allocated in one place. `bytes` and `blocks` are estimates; `bytes` is off by less than
    `plus_minus` in two of three cases, by less than twice that in 95 of 100."""

    function: str
    file: str
    line: int  # 0: of all lines
    operation: str
    stack: tuple[Frame, ...]  # of its heaviest block, outermost first
    bytes: int
    blocks: int
    samples: int
    plus_minus: int

    def to_dict(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in ("function", "file", "line", "operation")}
        counted = {name: getattr(self, name) for name in ("bytes", "blocks", "samples", "plus_minus")}
        return {**named, **counted, "stack": [list(frame) for frame in self.stack]}


@dataclass(frozen=True, slots=True)
class Growth:
    """One place in two snapshots."""

    place: Place  # as it is in the newer one; in the older one, when it is gone
    growth: int  # bytes, estimated
    before: int
    after: int
    plus_minus: int  # of the growth

    @property
    def is_certain(self) -> bool:
        """It is more than chance would do in 19 of 20 cases."""
        return abs(self.growth) > 2 * self.plus_minus

    def to_dict(self) -> dict[str, Any]:
        grown = {name: getattr(self, name) for name in ("growth", "before", "after", "plus_minus", "is_certain")}
        return {**self.place.to_dict(), **grown}


class _Sum:
    """Of the blocks of one place."""

    __slots__ = ("blocks", "bytes", "heaviest", "samples", "variance")

    def __init__(self) -> None:
        self.bytes = self.samples = 0
        self.blocks = self.variance = 0.0
        self.heaviest: Block | None = None

    def add(self, block: Block) -> None:
        self.bytes += block.weight
        self.blocks += block.weight / block.size
        self.samples += 1
        self.variance += block.weight * (block.weight - block.size)  # Horvitz and Thompson's, of Poisson samples
        if self.heaviest is None or block.weight > self.heaviest.weight:
            self.heaviest = block


def _leaf(block: Block) -> Frame:
    return block.stack[-1] if block.stack else UNKNOWN


# how blocks are put together: what those of one place share, and what is said of it
_KEYS: dict[str, Callable[[Block], Any]] = {
    "line": _leaf,
    "function": lambda block: _leaf(block)[:2],
    "file": lambda block: _leaf(block).file,
    "stack": lambda block: block.stack,
    "operation": lambda block: block.operation,
}
_SHOWN: dict[str, Callable[[Block], tuple[str, str, int, str]]] = {
    "line": lambda block: (*_leaf(block), ""),
    "function": lambda block: (_leaf(block).function, _leaf(block).file, 0, ""),
    "file": lambda block: ("", _leaf(block).file, 0, ""),
    "stack": lambda block: (*_leaf(block), ""),
    "operation": lambda block: ("", "", 0, block.operation or "(no span)"),
}


def _check_by(by: str) -> str:
    if by not in BY:
        raise ValueError(f"by={by!r}: use one of: {', '.join(BY)}")
    return by


def _check_n(n: int) -> int:
    if not isinstance(n, int) or n < 0:
        raise ValueError(f"n={n!r} is not a number of rows (0 or more)")
    return n


class Snapshot:
    """What lived at one moment. `at`: seconds since 1970; `blocks`: the samples; `sample_bytes`: what they were taken
    with. It is data alone: nothing of the program's is kept alive, and it stays as it is."""

    __slots__ = ("at", "blocks", "sample_bytes")

    def __init__(self, blocks: Iterable[Block], sample_bytes: int, at: float) -> None:
        self.blocks = tuple(blocks)
        self.sample_bytes = sample_bytes
        self.at = at

    @property
    def bytes(self) -> int:
        """How many bytes live of those allocated since counting began, estimated."""
        return sum(block.weight for block in self.blocks)

    def places(self, by: str = "line") -> list[Place]:
        """All places, those with most bytes first. by: what is put together: "line", "function", "file", whole
        "stack"s, or the "operation" (span) under which it was allocated."""
        shown = _SHOWN[_check_by(by)]
        found = [_place(each, shown) for each in self._sums(by).values()]
        return sorted(found, key=lambda place: (-place.bytes, place.file, place.line, place.function, place.operation))

    def top(self, n: int = TOP, by: str = "line") -> list[Place]:
        """The first `n` of places()."""
        return self.places(by)[: _check_n(n)]

    def compare(self, older: "Snapshot", by: str = "line") -> "Comparison":
        """What has grown since an older snapshot, and what has become less."""
        if not isinstance(older, Snapshot):
            raise TypeError(f"compare({older!r}): expected an older Snapshot, as memory.take_snapshot() gives it")
        shown = _SHOWN[_check_by(by)]
        before, after = older._sums(by), self._sums(by)
        both = self._still_there(older, by)
        rows = []
        for key in before.keys() | after.keys():
            old, new = before.get(key), after.get(key)
            # a block that is in both has not grown, for certain: chance lies in what came and what went
            variance = sum(each.variance for each in (old, new) if each)
            variance -= 2 * both[key].variance if key in both else 0
            values = (old.bytes if old else 0), (new.bytes if new else 0)
            place = _place(new or old, shown)  # type: ignore[arg-type]  # one of them is there
            rows.append(Growth(place, values[1] - values[0], *values, round(max(0.0, variance) ** 0.5)))
        rows.sort(key=lambda row: (-row.growth, row.place.file, row.place.line, row.place.function))
        return Comparison(rows, older, self, by)

    def to_dict(self, n: int = TOP, by: str = "line") -> dict[str, Any]:
        """Plain data. Bytes are estimates, as in Place."""
        return {
            "schema": SCHEMA,
            "at": self.at,
            "sample_bytes": self.sample_bytes,
            "samples": len(self.blocks),
            "bytes": self.bytes,
            "by": by,
            "places": [place.to_dict() for place in self.top(n, by)],
        }

    def __str__(self) -> str:
        from .table import render_text, snapshot_rows

        return render_text(snapshot_rows(self))

    def __repr__(self) -> str:
        return f"<libperf.memory.Snapshot of {len(self.blocks):,} sampled blocks, about {self.bytes:,} bytes>"

    def _sums(self, by: str) -> dict[Any, _Sum]:
        key_of = _KEYS[by]
        sums: dict[Any, _Sum] = {}
        for block in self.blocks:
            sums.setdefault(key_of(block), _Sum()).add(block)
        return sums

    def _still_there(self, older: "Snapshot", by: str) -> dict[Any, _Sum]:
        """The sums of the blocks that are in both."""
        were = {(block.time, block.size, block.weight) for block in older.blocks}
        both = (block for block in self.blocks if (block.time, block.size, block.weight) in were)
        return Snapshot(both, self.sample_bytes, self.at)._sums(by)


class Comparison:
    """What has changed between two snapshots: `rows`, what has grown most first."""

    __slots__ = ("by", "newer", "older", "rows")

    def __init__(self, rows: list[Growth], older: Snapshot, newer: Snapshot, by: str) -> None:
        self.rows = rows
        self.older = older
        self.newer = newer
        self.by = by

    @property
    def growth(self) -> int:
        """Bytes that live now and did not before, less those that live no more; estimated."""
        return self.newer.bytes - self.older.bytes

    def top(self, n: int = TOP) -> list[Growth]:
        """The `n` places that have grown most."""
        return self.rows[: _check_n(n)]

    def to_dict(self, n: int = TOP) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA,
            "from": self.older.at,
            "to": self.newer.at,
            "by": self.by,
            "growth": self.growth,
            "places": [row.to_dict() for row in self.top(n)],
        }

    def __str__(self) -> str:
        from .table import comparison_rows, render_text

        return render_text(comparison_rows(self))


def _place(found: _Sum, shown: Callable[[Block], tuple[str, str, int, str]]) -> Place:
    heaviest = found.heaviest
    assert heaviest is not None
    stack, error = heaviest.stack, round(found.variance**0.5)
    return Place(*shown(heaviest), stack, found.bytes, round(found.blocks), found.samples, error)


def read_snapshot(raw: bytes, sample_bytes: int) -> Snapshot:
    """Of what heap.h keeps. The texts of frames come from the segment, through a picture of it."""
    blocks = []
    operations: dict[int, str] = {0: ""}
    with Reader() as reader:
        stacks = Stacks(reader)
        for _address, size, weight, when, frame, name in BLOCK.iter_unpack(raw):
            if name not in operations:
                operations[name] = text_of(name)
            blocks.append(Block(size, weight, when, stacks.of(frame), operations[name]))
    return Snapshot(blocks, sample_bytes, time.time())
