"""Counting allocations: exact for each span, whoever else runs, and sampled with the stack that allocated."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import libperf
from libperf import Kind, _allocations, memory
from libperf._core import ffi
from libperf.context import NO_SPAN, set_current
from libperf.handles import end, struct_of
from libperf.names import intern
from libperf.task import begin_in_task
from support_seen import Seen

Run = Callable[..., "subprocess.CompletedProcess[str]"]
BIG = 1_000_000
# libperf's own handles and contexts, and what the interpreter allocates beside a block
SLACK = 5_000


@pytest.fixture
def counting() -> Iterator[None]:
    gc.collect()
    with memory.counting(sample_bytes=0):
        yield


def own(seen: Seen, name: str) -> tuple[int, int]:
    """Bytes and blocks of a name's spans."""
    quantities = seen.totals(name).quantities
    return quantities.get("alloc.bytes", 0), quantities.get("alloc.blocks", 0)


def assert_about(found: int, bytes_: int) -> None:
    assert bytes_ <= found < bytes_ + SLACK


# ---- whose bytes ----


def test_a_span_has_what_was_allocated_inside(seen: Seen, name: str, counting: None) -> None:
    """The blocks of a span are those made while it was current: not before, not after."""
    before = bytearray(3 * BIG)
    with libperf.span(name):
        inside = [bytearray(1000) for _ in range(1000)]
    after = bytearray(3 * BIG)
    bytes_, blocks = own(seen, name)
    assert bytes_ >= BIG
    assert 2000 <= blocks < 3000  # each is an object and its buffer; and there are the numbers
    assert bytes_ < 1.2 * BIG
    del before, inside, after


def test_the_same_call_allocates_the_same(seen: Seen, name: str, counting: None) -> None:
    """Counts are exact: a thousand calls have a thousand times the blocks of one, to the last one."""

    def work() -> None:
        with libperf.span(f"{name}.once"):
            bytearray(500)

    def many() -> None:
        for _ in range(1000):
            with libperf.span(f"{name}.many"):
                bytearray(500)

    work()
    once_before = own(seen, f"{name}.once")
    many()
    many_before = own(seen, f"{name}.many")
    work()
    many()
    once = [new - old for new, old in zip(own(seen, f"{name}.once"), once_before, strict=True)]
    many_ = [new - old for new, old in zip(own(seen, f"{name}.many"), many_before, strict=True)]
    assert many_[1] == 1000 * once[1]
    assert many_[0] == pytest.approx(1000 * once[0], rel=0.005)  # an id of 64 random bits may be a longer number


def test_a_parent_does_not_have_its_childrens(seen: Seen, name: str, counting: None) -> None:
    """Allocations are a span's own: what one inside of it makes is that one's, and the rest the parent's."""
    with libperf.span(name):
        kept = [bytearray(BIG)]
        with libperf.span(f"{name}.child"):
            kept.append(bytearray(2 * BIG))
        kept.append(bytearray(4 * BIG))
    assert_about(own(seen, name)[0], 5 * BIG)
    assert_about(own(seen, f"{name}.child")[0], 2 * BIG)


def test_the_four_kinds_of_functions(seen: Seen, name: str, counting: None) -> None:
    """Functions, coroutines, generators and async generators have their own, not their consumer's."""

    @libperf.trace(f"{name}.def")
    def function() -> int:
        return len(bytearray(BIG))

    @libperf.trace(f"{name}.async")
    async def coroutine() -> int:
        one = len(bytearray(BIG))
        await asyncio.sleep(0)
        return one + len(bytearray(BIG))

    @libperf.trace(f"{name}.gen")
    def generator() -> Iterator[int]:
        yield len(bytearray(BIG))
        yield len(bytearray(BIG))

    @libperf.trace(f"{name}.asyncgen")
    async def async_generator() -> Any:
        yield len(bytearray(BIG))
        yield len(bytearray(BIG))

    async def main() -> None:
        await coroutine()
        async for _ in async_generator():
            len(bytearray(7 * BIG))

    function()
    for _ in generator():
        len(bytearray(7 * BIG))
    asyncio.run(main())
    for kind, times in {"def": 1, "async": 2, "gen": 2, "asyncgen": 2}.items():
        assert_about(own(seen, f"{name}.{kind}")[0], times * BIG)


def test_tasks_that_take_turns(seen: Seen, name: str, counting: None) -> None:
    """Each of many tasks has its own, though between its steps others allocate; the loop's are nobody's."""

    async def one(number: int) -> None:
        with libperf.span(f"{name}.{number % 4}"):
            for _ in range(10):
                bytearray((number % 4 + 1) * 100_000)
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(40)))

    asyncio.run(main())
    for number in range(4):
        wanted = 10 * 10 * (number + 1) * 100_000
        assert wanted <= own(seen, f"{name}.{number}")[0] < wanted + 10 * 10 * SLACK


def test_threads_and_contexts(seen: Seen, name: str, counting: None) -> None:
    """Threads that run at one time, and contexts that are run by hand, keep theirs apart."""
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(50):
            with libperf.span(f"{name}.{number}"):
                bytearray((number + 1) * 10_000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        wanted = 50 * (number + 1) * 10_000
        assert wanted <= own(seen, f"{name}.{number}")[0] < wanted + 50 * 2_000
    context = contextvars.copy_context()
    with libperf.span(name):
        inside = contextvars.copy_context()
        context.run(bytearray, 9 * BIG)
    inside.run(bytearray, 9 * BIG)  # the span is current there, and over
    assert_about(own(seen, name)[0], 0)


def test_a_thread_that_carries_a_span(seen: Seen, name: str, counting: None) -> None:
    """What is allocated in a thread for a span is the span's, as long as it is open."""
    with libperf.span(name):
        thread = threading.Thread(target=libperf.wrap(lambda: len(bytearray(BIG))))
        thread.start()
        thread.join()
    assert own(seen, name)[0] >= BIG


def test_open_spans_show_what_they_have_so_far(seen: Seen, name: str, counting: None) -> None:
    """Before its end, too: a span that has allocated says so as soon as another one is current."""
    with libperf.span(name):
        kept = bytearray(BIG)
        with libperf.span(f"{name}.child"):
            object.__new__(object)
            bytearray(10)
            (record,) = seen.open(name)
        assert_about(record.attributes["alloc.bytes"], BIG)
    assert len(kept) == BIG


def test_eight_attributes_are_still_the_programs(seen: Seen, name: str, counting: None) -> None:
    """What is counted takes none of the places for attributes."""
    with libperf.span(name, **{f"k{number}": number for number in range(8)}):
        bytearray(BIG)
    attributes = seen.span(name).attributes
    assert {key: value for key, value in attributes.items() if key[0] == "k"} == {f"k{n}": n for n in range(8)}
    assert_about(attributes["alloc.bytes"], BIG)


def test_handles_of_all_kinds(seen: Seen, name: str, counting: None) -> None:
    """cffi's struct and whatever shows its bytes are the span; what does neither is none, and no error."""
    handle = begin_in_task(intern(Kind.SPAN, name), NO_SPAN)
    struct = struct_of(handle)
    context = contextvars.copy_context()
    raw = bytes(ffi.buffer(ffi.new("perf_span *", struct)))
    for kind in (handle, struct, raw, raw[1:], None, object()):
        context.run(set_current, kind)
        context.run(bytearray, BIG)
    end(handle)
    assert 3 * BIG <= own(seen, name)[0] < 3 * BIG + SLACK


def test_many_open_spans(seen: Seen, name: str) -> None:
    """Beyond 1,024 open spans of a thread, what they allocate is counted as nobody's, and not lost."""
    with memory.counting(sample_bytes=0):
        spans = [libperf.span(name) for _ in range(1500)]
        for span in spans:
            span.__enter__()
            bytearray(10_000)
        for span in reversed(spans):
            span.__exit__(None, None, None)
        counts = memory.counts()
    bytes_ = own(seen, name)[0]
    assert counts.bytes >= 1500 * 10_000
    assert counts.other_bytes + bytes_ <= counts.bytes
    assert counts.bytes - counts.other_bytes - bytes_ < 1_000_000


def test_the_totals_add_up(seen: Seen, name: str) -> None:
    """All that is counted is a span's or nobody's, and the segment's counters say the same."""

    def counters() -> dict[str, int]:
        values = libperf.snapshot()["counters"]
        return {key: values.get(f"memory.allocated.{key}", 0) for key in ("bytes", "blocks", "other")}

    before = counters()
    with memory.counting(sample_bytes=0):
        for _ in range(10):
            with libperf.span(name):
                bytearray(BIG)
            bytearray(BIG)
    counts, after = memory.counts(), counters()
    bytes_, blocks = own(seen, name)
    assert counts.bytes == counts.other_bytes + bytes_
    assert counts.blocks == counts.other_blocks + blocks
    told = {key: after[key] - before[key] for key in after}
    assert told == {"bytes": counts.bytes, "blocks": counts.blocks, "other": counts.other_bytes}


def test_off_is_off(seen: Seen, name: str) -> None:
    """While nobody counts, spans have no sums, and Python's allocator is its own."""
    assert _allocations.hooked() == 0
    with libperf.span(name):
        bytearray(BIG)
    with memory.counting(sample_bytes=0):
        assert (_allocations.hooked(), memory.is_counting()) == (1, True)
    assert (_allocations.hooked(), memory.is_counting()) == (0, False)
    assert own(seen, name) == (0, 0)
    assert seen.span(name).attributes == {}


def test_large_blocks_count_once(counting: None) -> None:
    """What pymalloc hands on to the raw domain is not another block; a calloc, a realloc and a failure count as one, one and
    none."""

    def counted(work: Callable[[], object]) -> int:
        before = memory.counts().bytes
        work()
        return memory.counts().bytes - before

    nothing = counted(lambda: None)
    for work in (lambda: bytearray(BIG), lambda: [None] * (BIG // 8), lambda: bytes(BIG)):  # the last one by calloc
        assert abs(counted(work) - nothing - BIG) < 2_000
    raw = memory.counts().raw_bytes

    def fail() -> None:
        with pytest.raises(MemoryError):
            bytearray(2**62)

    if "ASAN_OPTIONS" not in os.environ:  # it ends a program that asks for so much
        assert counted(fail) < 100_000
    grown = bytearray(BIG)
    assert counted(lambda: grown.extend(bytes(BIG))) >= 3 * BIG
    assert memory.counts().raw_bytes - raw < BIG


def test_raw_blocks(counting: None) -> None:
    """What is asked for without the GIL is counted apart."""
    import zlib

    before = memory.counts()
    zlib.compress(bytes(100_000))  # its state is a raw block of some 270 kB
    after = memory.counts()
    assert after.raw_bytes - before.raw_bytes > 200_000
    assert after.raw_blocks > before.raw_blocks


def test_an_exception_on_its_way_stays(seen: Seen, name: str) -> None:
    """Samples are taken while exceptions are being made and handled; each arrives as it was raised."""
    with memory.counting(sample_bytes=1):  # a sample at each allocation
        for number in range(200):
            with pytest.raises(KeyError, match=f"k{number}"), libperf.span(name):
                {}[f"k{number}"]  # type: ignore[index]
    assert seen.counts(name) == (200, 200, 0)


# ---- samples ----


def test_samples_are_events(name: str) -> None:
    """Each sample is an event of its span, with the stack that allocated, and stands for as many bytes."""
    from libperf.reader import Reader
    from libperf.samples import read_samples

    def allocate() -> list[bytearray]:
        return [bytearray(5000) for _ in range(4000)]

    with Reader() as reader:
        for _ in read_samples(reader):
            pass
        with memory.counting(sample_bytes=20_000, seed=5), libperf.span(name) as span:
            kept = allocate()
        reader.refresh()
        mine = [each for each in read_samples(reader) if f"{each.span:016x}" == span.id and each.what == "allocated"]
    assert len(kept) == 4000
    inside = [each for each in mine if any(frame.function.endswith("allocate") for frame in each.stack)]
    assert 600 < len(inside) < 1500
    assert sum(each.weight for each in inside) == pytest.approx(20e6, rel=0.15)
    leaf = inside[0].stack[-1]
    assert leaf.file == __file__
    assert leaf.line == allocate.__code__.co_firstlineno + 1
    assert inside[0].stack[-3 if "listcomp" in leaf.function else -2].function == test_samples_are_events.__qualname__


def test_a_deep_stack() -> None:
    """Of a recursion the innermost frames are kept, below a mark for the others."""

    def down(depth: int) -> bytearray:
        return down(depth - 1) if depth else bytearray(BIG)

    with memory.counting(sample_bytes=1000):
        kept = down(300)
        snapshot = memory.take_snapshot()
    (block,) = (each for each in snapshot.blocks if each.size >= BIG)
    assert len(kept) == BIG
    assert len(block.stack) == 129
    assert block.stack[0].function == "(outer frames)"
    assert {frame.function for frame in block.stack[1:]} == {down.__qualname__}
