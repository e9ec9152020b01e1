"""Samples: where in the code a program was, allocated, or held its event loop up. What a sampler writes, as Python."""

from collections.abc import Iterator
from typing import NamedTuple

from ._core import ffi, lib
from .events import SAMPLES, Code, read_events
from .reader import Reader

__all__ = ["Frame", "Sample", "read_samples"]

WHAT = {Code.SAMPLE: "cpu", Code.ALLOCATED: "allocated", Code.STALL: "stall"}
FRAME = 0xFFFFFFFF  # of an event's key; above it the thread
FOREIGN = 1 << 16  # and a thread's number: the block of one that others have written about
DEEPEST = 1024  # frames of one stack that are given out, the innermost
KEPT = 1 << 20  # frames of all stacks that are remembered


class Frame(NamedTuple):
    """A line of a function."""

    function: str  # qualified
    file: str
    line: int  # 0: not known


class Sample(NamedTuple):
    """One look at a thread."""

    what: str  # "cpu": weight is nanoseconds; "allocated": bytes; "stall": nanoseconds that the loop was held up
    time: int  # nanoseconds of the monotonic clock; of a stall its end, or when it was looked at
    weight: int
    stack: tuple[Frame, ...]  # outermost first; empty: not known
    span: int  # id of the span that was current; 0: none
    task: int
    block: int  # of the segment: samples of one are of one thread, and come in order
    thread: int = 0  # the operating system's id; 0: the one that the block belongs to


def read_samples(reader: Reader) -> Iterator[Sample]:
    """The samples of a reader's picture, each once: what is new since the last call.

    They lie among the events; who reads both of one picture uses two readers. A stall that goes on comes once as it is,
    with the same `time - weight` again when it is over: of those that are in one picture, only the longest comes.
    Threads: one at a time, as the reader.
    """
    stacks = Stacks(reader)
    stalls: dict[tuple[int, int], Sample] = {}
    for event in read_events(reader):
        if event.code not in SAMPLES:
            continue
        thread = event.key >> 32
        block = FOREIGN + thread if thread else event.block
        what = WHAT[Code(event.code)]
        weight = max(event.time - event.more, 0) if what == "stall" else event.more
        stack = stacks.of(event.key & FRAME)
        sample = Sample(what, event.time, weight, stack, event.span, event.arg, block, thread)
        if what != "stall":
            yield sample
            continue
        known = stalls.get((event.more, event.span))
        if known is None or known.weight < weight:
            stalls[event.more, event.span] = sample
    yield from stalls.values()


class Stacks:
    """Whole stacks by the number of their innermost frame. Good until the reader's next refresh()."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._raw = ffi.new("perf_reader_frame *")
        self._stacks: dict[int, tuple[Frame, ...]] = {}
        self._kept = 0

    def of(self, number: int) -> tuple[Frame, ...]:
        """Outermost first. A number that the segment does not know is an empty stack."""
        known = self._stacks.get(number)
        if known is not None:
            return known
        found: list[Frame] = []
        caller, known = number, ()
        while caller and len(found) < DEEPEST:
            known = self._stacks.get(caller, ())
            if known:
                break
            frame, caller = self._frame(caller)
            if frame is None:
                break
            found.append(frame)
        stack = (*known, *reversed(found))[-DEEPEST:]
        if self._kept > KEPT:  # a file may hold anything: a deep stack for each sample, say
            self._stacks.clear()
            self._kept = 0
        self._stacks[number] = stack
        self._kept += len(stack)
        return stack

    def _frame(self, number: int) -> tuple[Frame | None, int]:
        """One frame, and the number of its caller."""
        raw = self._raw
        if lib.perf_reader_frame_get(self._reader._get(), number, raw):
            return None, 0
        return Frame(_text(raw.function), _text(raw.file), raw.line), raw.caller


def _text(raw: object) -> str:
    return bytes(ffi.string(raw)).decode("utf-8", "replace")
