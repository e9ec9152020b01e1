"""Counting allocations: started and stopped by anybody, in and out of Python's allocator in any order."""

from __future__ import annotations

import os
import subprocess
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

import libperf
from libperf import _allocations, memory
from libperf.errors import ClosedError, StartedError

Run = Callable[..., "subprocess.CompletedProcess[str]"]
BIG = 1_000_000

# ---- start and stop ----


def test_started_twice() -> None:
    """A second start says so, and changes nothing."""
    with memory.counting(sample_bytes=0):
        with pytest.raises(StartedError, match=r"stop_counting\(\) first"):
            memory.start_counting()
        assert memory.is_counting()
    memory.stop_counting()  # nothing happens


def test_stopped_in_another_thread() -> None:
    """Whoever stops, it is stopped for all."""
    memory.start_counting()
    thread = threading.Thread(target=memory.stop_counting)
    thread.start()
    thread.join()
    assert not memory.is_counting()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sample_bytes": -1}, "sample_bytes=-1 is not a whole number from 0 to"),
        ({"sample_bytes": 2**40 + 1}, "sample_bytes="),
        ({"sample_bytes": "512"}, "sample_bytes='512'"),
        ({"max_blocks": 0}, "max_blocks=0 is not a whole number from 1 to 16,777,216"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_numbers_out_of_range(arguments: dict[str, Any], words: str) -> None:
    """The error names the value and what it may be; nothing is started."""
    with pytest.raises(ValueError, match=words):
        memory.start_counting(**arguments)
    assert not memory.is_counting()


def test_threads_that_start_and_stop(name: str) -> None:
    """Starting, stopping and snapshots from many threads while others allocate: no crash, and in the end it is off."""
    done = threading.Event()

    def allocate() -> None:
        while not done.is_set():
            with libperf.span(name):
                [bytearray(600) for _ in range(50)]

    def switch() -> None:
        for _ in range(100):
            try:
                memory.start_counting(sample_bytes=1000)
                memory.take_snapshot()
            except (StartedError, ClosedError):
                pass
            memory.stop_counting()

    workers = [threading.Thread(target=allocate) for _ in range(2)]
    switchers = [threading.Thread(target=switch) for _ in range(3)]
    for thread in [*workers, *switchers]:
        thread.start()
    for thread in switchers:
        thread.join()
    done.set()
    for thread in workers:
        thread.join()
    assert (memory.is_counting(), _allocations.hooked()) == (False, 0)


# ---- beside others in the allocator ----


def test_tracemalloc_around_us() -> None:
    """It starts before and stops after us: both are right."""
    tracemalloc.start()
    try:
        with memory.counting(sample_bytes=100_000):
            kept = bytearray(BIG)
            assert memory.counts().bytes >= BIG
            assert tracemalloc.get_traced_memory()[0] >= BIG
        assert len(kept) == BIG
    finally:
        tracemalloc.stop()
    assert _allocations.hooked() == 0


def test_tracemalloc_inside_of_us() -> None:
    """It starts after us and stops before: both are right."""
    with memory.counting(sample_bytes=100_000):
        tracemalloc.start()
        kept = bytearray(BIG)
        assert tracemalloc.get_traced_memory()[0] >= BIG
        tracemalloc.stop()
        assert memory.is_counting()
        assert memory.counts().bytes >= BIG
    assert (len(kept), _allocations.hooked()) == (BIG, 0)


def test_tracemalloc_stays_when_we_stop() -> None:
    """It is in front of us when we stop: we hand everything on and count nothing, and can start again."""
    memory.start_counting(sample_bytes=0)
    tracemalloc.start()
    memory.stop_counting()
    assert _allocations.hooked() == 2
    before = memory.counts()
    kept = bytearray(BIG)
    assert memory.counts() == before
    assert tracemalloc.get_traced_memory()[0] >= BIG
    with memory.counting(sample_bytes=0):
        bytearray(BIG)
        assert BIG <= memory.counts().bytes < 2 * BIG  # once, not twice
    tracemalloc.stop()  # puts us back, who are off
    assert _allocations.hooked() == 1
    assert memory.counts().bytes < 2 * BIG
    with memory.counting(sample_bytes=0):
        assert memory.is_counting()
    assert (len(kept), _allocations.hooked()) == (BIG, 0)


def test_tracemalloc_throws_us_out() -> None:
    """It starts before us and stops while we count: what it puts back is the allocator without us. That is seen, our stop
    does not bring it back, and the next start counts again."""
    tracemalloc.start()
    memory.start_counting(sample_bytes=1000)
    tracemalloc.stop()
    assert not memory.is_counting()
    memory.stop_counting()
    kept = [bytearray(BIG) for _ in range(10)]
    assert not tracemalloc.is_tracing()
    with memory.counting(sample_bytes=1000):
        kept.append(bytearray(BIG))
        assert memory.is_counting()
        assert memory.take_snapshot().bytes >= BIG
    assert (len(kept), _allocations.hooked()) == (11, 0)


WORK = """
import asyncio, json, sys, threading
import libperf
from libperf import memory
memory.start_counting(sample_bytes=5000, seed=3)
text = json.dumps([{"id": i, "name": "x" * (i % 50)} for i in range(3000)])
@libperf.trace
def parse(): return json.loads(text)
async def main(): await asyncio.gather(*[asyncio.to_thread(parse) for _ in range(8)])
asyncio.run(main())
kept = [parse() for _ in range(3)]
first = memory.take_snapshot()
assert first.bytes > 100_000, first
assert memory.counts().dropped == 0
"""


@pytest.mark.parametrize("allocator", ["debug", "malloc", "malloc_debug", "pymalloc_debug", "pymalloc"])
def test_debugging_allocators(run: Run, allocator: str) -> None:
    """PYTHONMALLOC's checks find nothing: each block is freed as what it was allocated, with the GIL held."""
    answer = run(WORK + "memory.stop_counting()", PYTHONMALLOC=allocator)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("allocator", ["debug", "pymalloc"])
def test_the_interpreter_ends_while_counting(run: Run, allocator: str) -> None:
    """Also with threads that go on, and objects that allocate while they are taken apart."""
    code = WORK + (
        "class Late:\n    def __del__(self): self.kept = [bytearray(600) for _ in range(1000)]\n"
        "late = Late(); late.me = late\n"
        "threading.Thread(target=lambda: [parse() for _ in iter(int, 1)], daemon=True).start()\n"
    )
    answer = run(code, PYTHONMALLOC=allocator)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_whole_program(run: Run) -> None:
    """LIBPERF_MEMORY=1 counts from before the first line to the end; start and stop of the program are no error."""
    code = (
        "import libperf\nfrom libperf import memory\nassert memory.is_counting()\n"
        "with libperf.span('s'): kept = bytearray(1_000_000)\n"
        "memory.start_counting()\nmemory.stop_counting()\nassert memory.is_counting()\n"
        "print(libperf.snapshot()['operations'][0]['quantities']['alloc.bytes'] >= 1_000_000)\n"
    )
    for value, on in {"1": True, "0": False, "": False}.items():
        answer = run(
            code if on else "import libperf, sys; print('libperf.memory' not in sys.modules)", LIBPERF_MEMORY=value
        )
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "True\n", "")


FORK = """
import os, sys
import libperf
from libperf import memory
memory.start_counting(sample_bytes=1000)
kept = [bytearray(1000) for _ in range(1000)]
def numbers():
    return {row["name"]: row["quantities"].get("alloc.bytes", 0) for row in libperf.snapshot()["operations"]}
with libperf.span("parent"):
    mine = bytearray(3_000_000)
    child = os.fork()
    if not child:
        other = bytearray(5_000_000)
        with libperf.span("child"):
            own = bytearray(1_000_000)
        counts = memory.counts()
        assert 6_000_000 <= counts.bytes < 7_000_000, counts
        assert memory.take_snapshot().bytes > 6_000_000
        found = numbers()
        assert 1_000_000 <= found["child"] < 1_100_000 and "parent" not in found, found
        memory.stop_counting()
        memory.start_counting()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert 3_000_000 <= numbers()["parent"] < 3_100_000
"""


def test_fork(run: Run) -> None:
    """A child goes on from zero; what its parent's span has stays the parent's."""
    answer = run(FORK)
    assert (answer.returncode, answer.stderr) == (0, "")


FOREIGN = """
import ctypes, threading
import libperf
from libperf import memory
api = ctypes.CDLL(None)  # its functions run without the GIL
for name in ("PyMem_RawMalloc", "PyMem_RawCalloc", "PyMem_RawRealloc"):
    getattr(api, name).restype = ctypes.c_void_p
held = ctypes.pythonapi
for name in ("PyMem_Malloc", "PyMem_Realloc", "PyObject_Malloc", "PyObject_Calloc", "PyObject_Realloc"):
    getattr(held, name).restype = ctypes.c_void_p
early = [held.PyObject_Malloc(ctypes.c_size_t(n)) for n in (8, 600, 100_000)]
memory.start_counting(sample_bytes=1)
before = memory.counts()
raw = [api.PyMem_RawMalloc(ctypes.c_size_t(1000)), api.PyMem_RawCalloc(ctypes.c_size_t(10), ctypes.c_size_t(100))]
raw[0] = api.PyMem_RawRealloc(ctypes.c_void_p(raw[0]), ctypes.c_size_t(5000))
after = memory.counts()
assert after.raw_bytes - before.raw_bytes == 7000, after
# blocks from before the start are resized and freed, and those of now after the stop
early = [held.PyObject_Realloc(ctypes.c_void_p(block), ctypes.c_size_t(2000)) for block in early]
late = [held.PyMem_Malloc(ctypes.c_size_t(n)) for n in (0, 8, 600, 100_000)]
late = [held.PyMem_Realloc(ctypes.c_void_p(block), ctypes.c_size_t(30)) for block in late]
assert held.PyObject_Calloc(ctypes.c_size_t(2**63), ctypes.c_size_t(2)) is None
held.PyMem_Free(None)
live = memory.counts().live
held.PyMem_Free(ctypes.c_void_p(late.pop()))
memory.stop_counting()
for block in early: held.PyObject_Free(ctypes.c_void_p(block))
for block in late: held.PyMem_Free(ctypes.c_void_p(block))
for block in raw: api.PyMem_RawFree(ctypes.c_void_p(block))
"""


def test_foreign_blocks(run: Run) -> None:
    """Blocks from before the start, of threads without the GIL, of size 0, too large, and NULL."""
    answer = run(FOREIGN)
    assert (answer.returncode, answer.stderr) == (0, "")


NO_MEMORY = """
import resource
import libperf
from libperf import memory
memory.start_counting(sample_bytes=1, max_blocks=1 << 24)
with libperf.span("s"): pass
memory.take_snapshot()
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (24 << 20),) * 2)
kept = []
try:
    while True: kept.append(bytearray(3000))
except MemoryError:
    pass
del kept
counts = memory.counts()
memory.stop_counting()
assert counts.taken > 1000
"""


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer needs the address space")
def test_out_of_memory(run: Run) -> None:
    """The table of samples cannot grow: that is counted, the program gets its own MemoryError and goes on."""
    answer = run(NO_MEMORY)
    assert (answer.returncode, answer.stderr) == (0, "")


SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import libperf
from libperf import memory
memory.start_counting(sample_bytes=1000)
other = interpreters.create()
before = memory.counts()
with libperf.span("mine"):
    interpreters.run_string(other, "kept = [bytearray(3000) for _ in range(1000)]")
after = memory.counts()
interpreters.destroy(other)
assert after.raw_bytes - before.raw_bytes >= 3_000_000, after
(row,) = libperf.snapshot()["operations"]
assert row["quantities"].get("alloc.bytes", 0) < 100_000, row
memory.stop_counting()
"""


def test_another_interpreter(run: Run) -> None:
    """What it allocates is counted apart: it has spans and perhaps a lock of its own."""
    answer = run(SUBINTERPRETER)
    assert (answer.returncode, answer.stderr) == (0, "")
