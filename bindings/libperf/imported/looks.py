"""What another profiler saw, as columns: a look is a stack that one thread had from one time to another.

There may be millions of looks, and a file may hold anything: stacks are a tree of frames in which each is kept once, and both
have a limit. What is wrong in a file is a Malformed, which says what; the caller names the file.
"""

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..samples import Frame

__all__ = ["FARTHEST", "NO_STACK", "Looks", "Malformed", "Thread", "field", "number"]

LOOKS = 4_000_000
NODES = 1 << 20  # frames of all stacks
DEEPEST = 256  # frames of one stack that are given out, the innermost
TEXT = 200  # characters of a name: as many as a segment keeps
FARTHEST = 2.0**62  # nanoseconds: no time of a program is farther off
LARGEST = 1e18  # of any number in a file
NO_STACK = 0

T = TypeVar("T")


class Malformed(ValueError):
    """A file is not what its format says."""


@dataclass(slots=True)
class Thread:
    """A thread as a file knows it."""

    system: int = 0  # the operating system's id; 0: the file does not say
    main: bool = False  # it runs the program's first line
    name: str = ""


class Looks:
    """Columns; times are nanoseconds since the file's zero, weights nanoseconds, bytes or samples."""

    def __init__(
        self, tool: str, format: str, *, unit: str = "seconds", timed: bool = True, bare: bool = False
    ) -> None:
        self.tool = tool
        self.format = format
        self.unit = unit  # of the weights: "seconds" (they are nanoseconds), "bytes", "samples"
        self.timed = timed  # looks have times; else one stands for all of its stack
        self.bare = bare  # functions are called by their own name, without their class
        self.zero_wall: int | None = None  # nanoseconds since 1970 of the file's zero, where the file knows
        self.zero_monotonic: int | None = None  # or of the machine's monotonic clock
        self.precision = 0  # nanoseconds: how far a look's begin and end may be off, by the tool's own doing
        self.lingers = False  # a stack goes on until another is seen, also when its thread waits or has ended
        self.threads: list[Thread] = []
        self.thread, self.node = array("I"), array("I")
        self.start, self.end, self.weight = array("q"), array("q"), array("d")
        self.parents = array("I", [NO_STACK])
        self.frames: list[Frame] = [Frame("", "", 0)]  # of each node
        self.ended = 0  # nanoseconds to the last thing in the file, of whatever process
        self.own = 0  # bytes that libperf itself has mapped, which are left out
        self.cut = 0  # frames that found no room, and count as their callers
        self._nodes: dict[tuple[int, Frame], int] = {}
        self._frames: dict[Frame, Frame] = {}

    def __len__(self) -> int:
        return len(self.node)

    def add_thread(self, thread: Thread) -> int:
        self.threads.append(thread)
        return len(self.threads) - 1

    def inside(self, caller: int, function: str, file: str, line: int) -> int:
        """The stack of `caller` with one frame more."""
        frame = Frame(function[:TEXT], file[-TEXT:], line)
        node = self._nodes.get((caller, frame))
        if node is not None:
            return node
        if len(self.frames) >= NODES:
            self.cut += 1
            return caller
        frame = self._frames.setdefault(frame, frame)
        node = self._nodes[caller, frame] = len(self.frames)
        self.parents.append(caller)
        self.frames.append(frame)
        return node

    def add(self, thread: int, start: float, end: float, weight: float, node: int) -> None:
        """A look; one without a stack says nothing."""
        if node == NO_STACK:
            return
        if len(self.node) >= LOOKS:
            raise Malformed(f"more than {LOOKS:,} samples: record for a shorter time, or fewer a second")
        if not (-FARTHEST < start < FARTHEST and -FARTHEST < end < FARTHEST):
            raise Malformed(f"a sample at {start:g} ns, which is no time of a program")
        self.thread.append(thread)
        self.node.append(node)
        self.start.append(int(start))
        self.end.append(int(end if end > start else start))
        self.weight.append(weight)

    def stack(self, node: int) -> tuple[Frame, ...]:
        """Outermost first."""
        found: list[Frame] = []
        while node and len(found) < DEEPEST:
            found.append(self.frames[node])
            node = self.parents[node]
        return tuple(reversed(found))

    def down(self) -> Iterator[tuple[int, int, Frame]]:
        """Every node with its caller and frame; callers first."""
        for node in range(1, len(self.frames)):
            yield node, self.parents[node], self.frames[node]

    @property
    def length(self) -> int:
        """Nanoseconds from the file's zero to the last thing in it."""
        return max(self.ended, max(self.end, default=0))


def field(of: Any, name: str, kind: type[T]) -> T:
    """A field of a JSON object that must be there, and of that type."""
    value = of.get(name) if isinstance(of, dict) else None
    if not isinstance(value, kind):
        raise Malformed(f"{name!r} is {_short(value)} where a {kind.__name__} belongs")
    return value


def number(value: object, what: str) -> float:
    """A number that JSON held, and with which one can reckon."""
    if type(value) is int and -LARGEST < value < LARGEST:  # nearly always
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Malformed(f"{what} is {_short(value)}, no number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not abs(found) < LARGEST:
        raise Malformed(f"{what} is {_short(value)}, no time and no place")
    return found


def _short(value: object) -> str:
    text = "missing" if value is None else repr(value) if isinstance(value, (int, float, str)) else type(value).__name__
    return text if len(text) <= 40 else text[:37] + "..."
