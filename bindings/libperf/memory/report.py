"""What reports say of allocations, where they were counted: how much, and which lines allocated most."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import PerfError
from ..reader import Reader
from ..samples import Frame, read_samples

__all__ = ["Allocation", "caller_of", "find_allocations", "is_of_memory"]

LINES = 5
BYTES, BLOCKS, OTHER = (f"memory.allocated.{what}" for what in ("bytes", "blocks", "other"))  # counters


@dataclass(frozen=True, slots=True)
class Allocation:
    """A line of the program, and what it allocated: an estimate from samples. It may be freed again."""

    function: str
    file: str
    line: int  # 0: not known
    bytes: int
    share: float  # of all samples, 0..1
    caller: str  # where it is a library's: the line of the program that it was called from, "file:line"; else ""

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("function", "file", "line", "bytes", "share", "caller")}


def caller_of(stack: tuple[Frame, ...]) -> Frame | None:
    """The innermost line that is the program's own, unless that is the innermost line of all."""
    for depth, frame in enumerate(reversed(stack)):
        if not frame.file.startswith("<frozen ") and "/lib/python3" not in frame.file:
            return frame if depth else None
    return None


def is_of_memory(series: str) -> bool:
    """Whether the line about allocations says what the series says."""
    return series in (BYTES, BLOCKS, OTHER)


def find_allocations(reader: Reader, counters: Mapping[str, int]) -> list[Allocation]:
    """The lines that allocated most, where allocations were counted. Samples lie among the events, which others may want
    to read of the same picture: this takes one of its own."""
    if BYTES not in counters:
        return []
    sums: dict[Frame, int] = {}
    stacks: dict[Frame, dict[tuple[Frame, ...], int]] = {}
    try:
        with Reader(reader.path) as own:
            for sample in read_samples(own):
                if sample.what == "allocated" and sample.stack:
                    line = sample.stack[-1]
                    sums[line] = sums.get(line, 0) + sample.weight
                    of_line = stacks.setdefault(line, {})
                    of_line[sample.stack] = of_line.get(sample.stack, 0) + sample.weight
    except PerfError:  # gone meanwhile; the rest of the report is here
        return []
    total = sum(sums.values())
    most = sorted(sums, key=lambda line: (-sums[line], line))[:LINES]
    return [Allocation(*line, sums[line], sums[line] / total, _caller(stacks[line])) for line in most]


def _caller(stacks: dict[tuple[Frame, ...], int]) -> str:
    frame = caller_of(max(stacks, key=lambda stack: stacks[stack]))
    return f"{frame.file}:{frame.line}" if frame else ""
