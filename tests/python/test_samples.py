"""Samples: what lies in the segment as numbers of frames comes back as whole stacks."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf._core import ffi, lib
from libperf.drain import Drain
from libperf.reader import Reader, find_segment
from libperf.samples import DEEPEST, Frame, Sample, Stacks, read_samples


def frame_number(caller: int, function: str, file: str = "app.py", line: int = 1) -> int:
    raw, path = function.encode(), file.encode()
    return int(lib.perf_frame(caller, raw, len(raw), path, len(path), line))


def stack_number(*functions: str, line: int = 1) -> int:
    """Of a stack, outermost first."""
    number = 0
    for function in functions:
        number = frame_number(number, function, line=line)
    return number


def stack(*functions: str, line: int = 1) -> tuple[Frame, ...]:
    return tuple(Frame(function, "app.py", line) for function in functions)


def write(code: int, number: int, more: int, *, thread: int = 0, span: int = 0, task: int = 0) -> None:
    lib.perf_event_write(code, task, span, thread << 32 | number, more)


@pytest.fixture
def reader() -> Iterator[Reader]:
    """Of this process; what other tests have sampled is behind it."""
    with Reader() as reader:
        for _ in read_samples(reader):
            pass
        yield reader


def fresh(reader: Reader) -> list[Sample]:
    reader.refresh()
    return list(read_samples(reader))


def test_stacks_come_back_outermost_first(reader: Reader) -> None:
    """With weight, span and task; what is read once does not come again."""
    before = lib.perf_clock_now_ns()
    write(lib.PERF_EVENT_SAMPLE, stack_number("main", "load", "parse"), 1000, span=7, task=9)
    write(lib.PERF_EVENT_ALLOCATED, stack_number("main", "load"), 512 << 10, span=8)
    write(lib.PERF_EVENT_SAMPLE, 0, 5)
    first, second, third = fresh(reader)
    assert first[0] == "cpu" and before - 100_000 <= first.time <= lib.perf_clock_now_ns() + 100_000
    assert first[2:6] == (1000, stack("main", "load", "parse"), 7, 9)
    assert (second.what, second.weight, second.stack, second.span) == ("allocated", 512 << 10, stack("main", "load"), 8)
    assert (third.weight, third.stack) == (5, ())
    assert len({sample.block for sample in (first, second, third)}) == 1
    assert [sample.thread for sample in (first, second, third)] == [0, 0, 0]
    assert list(read_samples(reader)) == [] == fresh(reader)


def test_other_events_are_passed_over(reader: Reader) -> None:
    """Samples lie between whatever else the thread writes."""
    lib.perf_event_write(lib.PERF_EVENT_LABEL, 0, 0, 0, 0)
    write(lib.PERF_EVENT_SAMPLE, stack_number("main"), 1)
    lib.perf_event_write(250, 0, 0, 1, 0)  # of a later version
    assert [sample.stack for sample in fresh(reader)] == [stack("main")]


def test_samples_of_other_threads_have_blocks_of_their_own(reader: Reader) -> None:
    """Whoever writes about another thread names it."""
    main = stack_number("main")
    for thread in (0, 4711, 4712, 0, 4711, 2**32 - 1):
        write(lib.PERF_EVENT_SAMPLE, main, 1, thread=thread)
    found = fresh(reader)
    assert [sample.thread for sample in found] == [0, 4711, 4712, 0, 4711, 2**32 - 1]
    assert len({(sample.block, sample.thread) for sample in found}) == len({sample.block for sample in found}) == 4
    assert {sample.stack for sample in found} == {stack("main")}


def test_a_stall_lasts_from_its_begin_to_the_event(reader: Reader) -> None:
    """Seen once while it goes on and once at its end, it is one stall; the times of the clock, not of the call."""
    since, main = lib.perf_clock_now_ns() - 2_000_000_000, stack_number("main", "blocks")
    write(lib.PERF_EVENT_STALL, main, since, thread=11, span=3, task=4)
    (going_on,) = fresh(reader)
    write(lib.PERF_EVENT_STALL, main, since, thread=11, span=3, task=4)
    write(lib.PERF_EVENT_STALL, main, since, span=3, task=4)
    write(lib.PERF_EVENT_STALL, stack_number("other"), since + 5)
    first, second = fresh(reader)
    assert going_on.what == first.what == "stall"
    assert going_on.time - going_on.weight == first.time - first.weight == since
    assert 2_000_000_000 <= going_on.weight < first.weight
    assert (first.stack, first.span, first.task) == (stack("main", "blocks"), 3, 4)
    assert (second.stack, second.time - second.weight) == (stack("other"), since + 5)
    write(lib.PERF_EVENT_STALL, main, 2**63)  # it begins after its end: nonsense, of no length
    assert [sample.weight for sample in fresh(reader)] == [0]


def test_odd_names_come_back(reader: Reader) -> None:
    """Control characters are blanks, what is no UTF-8 is replaced, long ones are cut where it matters least."""
    number = frame_number(0, "<lambda>\x00\x1b[31m\n", "/ä/€/😀.py", 2**32 - 1)
    write(lib.PERF_EVENT_SAMPLE, number, 1)
    raw = b"f\xff\xed\xa0\x80"
    write(lib.PERF_EVENT_SAMPLE, lib.perf_frame(0, raw, len(raw), ffi.NULL, 0, 0), 2)
    write(lib.PERF_EVENT_SAMPLE, frame_number(0, "n" * 300, "/" + "d" * 300 + "/app.py"), 3)
    one, two, three = fresh(reader)
    assert one.stack == (Frame("<lambda>  [31m ", "/ä/€/😀.py", 2**32 - 1),)
    assert two.stack[0].function.startswith("f\ufffd") and two.stack[0][1:] == ("", 0)
    assert (three.stack[0].function, three.stack[0].file) == ("n" * 200, "d" * 193 + "/app.py")


@pytest.mark.parametrize("seed", range(3))
def test_random_trees(reader: Reader, seed: int) -> None:
    """Thousands of stacks of a random tree, beside a plain dict."""
    chance = random.Random(seed)
    known: dict[int, tuple[Frame, ...]] = {0: ()}
    wanted = []
    for weight in range(3000):
        caller = chance.choice([0, *list(known)[-20:]])
        frame = Frame(f"f{seed}.{chance.randrange(50)}", f"{chance.randrange(3)}.py", chance.randrange(9))
        number = frame_number(caller, *frame)
        assert known.setdefault(number, (*known[caller], frame)) == (*known[caller], frame)
        write(lib.PERF_EVENT_SAMPLE, number, weight)
        wanted.append((weight, known[number]))
    assert [(sample.weight, sample.stack) for sample in fresh(reader)] == wanted
    assert reader.info.losses.get("frames_over", 0) == 0


def test_deep_stacks_keep_their_innermost_frames(reader: Reader) -> None:
    """Of more frames than anybody looks at; so no file makes a reader remember too much."""
    number = 0
    for line in range(1, 3 * DEEPEST):
        number = frame_number(number, "recursive", "app.py", line)
    write(lib.PERF_EVENT_SAMPLE, number, 1)
    (sample,) = fresh(reader)
    assert [frame.line for frame in sample.stack] == list(range(2 * DEEPEST, 3 * DEEPEST))


def test_stacks_of_unknown_numbers(reader: Reader) -> None:
    """Of none, of one that was never given out, of the largest."""
    stacks = Stacks(reader)
    assert [stacks.of(number) for number in (0, 10**6, 2**32 - 1)] == [(), (), ()]


PROGRAM = """
import sys
from libperf._core import lib
import libperf
main = lib.perf_frame(0, b"main", 4, b"app.py", 6, 1)
for i in range(20_000):
    number = lib.perf_frame(main, b"f%d" % (i % 100), len(b"f%d" % (i % 100)), b"app.py", 6, i)
    lib.perf_event_write(lib.PERF_EVENT_SAMPLE, 0, 0, number, i)
print("ready", flush=True)
sys.stdin.readline()
"""


def check_program(samples: list[Sample]) -> None:
    for sample in samples:
        i = sample.weight
        assert sample.stack == (Frame("main", "app.py", 1), Frame(f"f{i % 100}", "app.py", i))


def test_of_a_process_that_was_killed(start: Callable[..., Any], segments: Callable[[], list[Path]]) -> None:
    """Every sample that its ring still has is whole."""
    process = start(PROGRAM)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with Reader(segments()[0]) as reader:
        samples = list(read_samples(reader))
        check_program(samples)
        assert [sample.weight for sample in samples] == list(range(20_000 - len(samples), 20_000))
        assert reader.info.damaged == 0


def test_of_a_trace_file(start: Callable[..., Any], segments: Callable[[], list[Path]], tmp_path: Path) -> None:
    """Frames are kept in it."""
    process = start(PROGRAM)
    with Drain(segments()[0], tmp_path / "trace.perf") as drain:
        drain.step()
        process.communicate("\n")
        drain.finish()
    with Reader(tmp_path / "trace.perf") as reader:
        samples = list(read_samples(reader))
    assert len(samples) > 10_000
    check_program(samples)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_of_a_forked_child(reader: Reader) -> None:
    """It goes on with its parent's numbers, in a segment of its own; the parent never sees what it adds."""
    parents = stack_number("main", "before fork")
    pid = os.fork()
    if not pid:
        write(lib.PERF_EVENT_SAMPLE, parents, 1)
        write(lib.PERF_EVENT_SAMPLE, frame_number(parents, "child's"), 2)
        libperf.flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    with Reader(find_segment(pid)) as child:
        samples = list(read_samples(child))
    assert [sample.stack for sample in samples] == [
        stack("main", "before fork"),
        stack("main", "before fork", "child's"),
    ]
    write(lib.PERF_EVENT_SAMPLE, frame_number(parents, "parent's"), 3)
    assert [sample.stack for sample in fresh(reader)] == [stack("main", "before fork", "parent's")]


FULL = """
import json
import libperf
from libperf._core import lib
from libperf.reader import Reader
from libperf.samples import read_samples
libperf.configure(max_bytes=1 << 20, ring_bytes=1 << 17)
numbers = [lib.perf_frame(0, b"main", 4, b"app.py", 6, 1)]
lib.perf_event_write(lib.PERF_EVENT_SAMPLE, 0, 0, numbers[0], 0)
while len(numbers) < 2 or numbers[-1] != numbers[0]:
    numbers.append(lib.perf_frame(numbers[0], b"f", 1, b"app.py", 6, len(numbers)))
lib.perf_event_write(lib.PERF_EVENT_SAMPLE, 0, 0, numbers[-1], 1)
with Reader() as reader:
    print(json.dumps([[s.weight, [f.function for f in s.stack]] for s in read_samples(reader)]))
    print(reader.info.losses["frames_over"])
print(libperf.report())
"""


def test_a_full_segment_counts_at_the_caller(run: Callable[..., Any]) -> None:
    """What finds no room is its caller; how often is in the report."""
    answer = run(FULL)
    first, over, report = answer.stdout.split("\n", 2)
    assert (first, over) == ('[[0, ["main"]], [1, ["main"]]]', "1")
    assert "samples found no room for their whole stack" in report
    assert answer.stderr.count("\n") == 1  # the segment is full
