"""@libperf.profile: calls are counted exactly, times add up, and the program notices nothing."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import libperf
from libperf import _sampler
from libperf.profiler.hotspots import Hotspots
from libperf.reader import Reader

since_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")


@pytest.fixture
def counted() -> Callable[[], dict[str, tuple[int, float, float]]]:
    """Calls, own and whole seconds by the last part of the name, since the test began."""
    before = {row[0]: row[1:] for row in _sampler.calls_read()}

    def read() -> dict[str, tuple[int, float, float]]:
        found = {}
        for code, *values in _sampler.calls_read():
            calls, own, total = (new - old for new, old in zip(values, before.get(code, (0, 0, 0)), strict=True))
            if calls:
                found[code.co_qualname.rpartition("<locals>.")[2]] = (calls, own / 1e9, total / 1e9)
        return found

    return read


Counted = Callable[[], dict[str, tuple[int, float, float]]]


def calls(counted: Counted) -> dict[str, int]:
    return {name: values[0] for name, values in counted().items()}


def test_everything_below_is_counted(counted: Counted) -> None:
    """Functions, methods, classes, recursion; nothing of it when somebody else calls."""

    def leaf() -> None: ...

    def middle(times: int) -> None:
        for _ in range(times):
            leaf()

    class Thing:
        def __init__(self) -> None:
            leaf()

        def method(self) -> None:
            leaf()

    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    @libperf.profile
    def root() -> int:
        for _ in range(20):
            middle(10)
            Thing().method()
        return fibonacci(12)

    assert (root(), root()) == (144, 144)
    middle(1000)
    Thing()
    assert calls(counted) == {
        "root": 2,
        "middle": 40,
        "leaf": 480,
        "Thing.__init__": 40,
        "Thing.method": 40,
        "fibonacci": 930,
    }


def test_times_add_up(counted: Counted) -> None:
    """The own times below a function are its whole time; recursion counts once."""

    def busy(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    def nested(depth: int) -> None:
        busy(0.01)
        if depth:
            nested(depth - 1)

    @libperf.profile
    def root() -> None:
        busy(0.03)
        nested(4)

    before = time.perf_counter()
    root()
    took = time.perf_counter() - before
    found = counted()
    assert 0.08 <= found["root"][2] <= took + 1e-3
    assert sum(own for _, own, _ in found.values()) == pytest.approx(found["root"][2], abs=1e-5)
    assert 0.05 <= found["nested"][2] <= found["root"][2]
    assert 0.08 <= found["busy"][1] <= found["root"][2]
    assert found["busy"][0] == 6


def test_functions_that_call_each_other_count_once(counted: Counted) -> None:
    """In the whole time of each, however they take turns, and after an exception left the middle of it."""

    def even(n: int, fails: bool) -> None:
        busy()
        if n:
            odd(n - 1, fails)
        elif fails:
            raise KeyError(n)

    def odd(n: int, fails: bool) -> None:
        busy()
        even(n - 1, fails)

    def busy() -> None:
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass

    @libperf.profile
    def root(fails: bool) -> None:
        with pytest.raises(KeyError) if fails else contextlib.nullcontext():
            even(8, fails)

    for fails in (False, True, False):
        root(fails)
    found = counted()
    names = ("root", "even", "odd", "busy")
    assert [found[name][0] for name in names] == [3, 15, 12, 27]
    whole, even_whole, odd_whole = (found[name][2] for name in ("root", "even", "odd"))
    assert 27 * 0.002 <= even_whole <= whole
    assert 24 * 0.002 <= odd_whole <= even_whole
    assert sum(own for _, own, _ in found.values()) == pytest.approx(whole, abs=1e-5)


def test_exceptions(counted: Counted) -> None:
    """They go through, calls that they end are closed, what comes later is right."""

    def raises(depth: int) -> None:
        if depth:
            raises(depth - 1)
        raise KeyError(depth)

    def fine() -> int:
        return 1

    @libperf.profile
    def root(catch: bool) -> int:
        try:
            raises(5)
        except KeyError:
            if not catch:
                raise
        return fine()

    for catch in (True, False, True):
        if catch:
            assert root(True) == 1
        else:
            with pytest.raises(KeyError):
                root(False)
    assert calls(counted) == {"root": 3, "raises": 18, "fine": 2}
    fine()
    assert calls(counted)["fine"] == 2  # nobody is inside of root any more


def test_coroutines_count_while_they_run(counted: Counted) -> None:
    """Not while they wait; other tasks in between are not theirs."""

    async def step(seconds: float) -> None:
        await asyncio.sleep(seconds)

    def others() -> None: ...

    @libperf.profile
    async def root() -> str:
        for _ in range(5):
            await step(0.02)
        return "done"

    async def beside() -> None:
        for _ in range(50):
            others()
            await asyncio.sleep(0.001)

    async def main() -> list[Any]:
        return await asyncio.gather(root(), beside(), root())

    assert asyncio.run(main()) == ["done", None, "done"]
    found = counted()
    assert (found["root"][0], found["step"][0], "others" in found) == (2, 10, False)
    assert found["root"][2] < 0.1
    assert inspect.iscoroutinefunction(root)


@since_312
def test_generators(counted: Counted) -> None:
    """Each is one call, however often it is resumed; closed early, too."""

    def inner() -> Iterator[int]:
        yield from range(3)

    @libperf.profile
    def numbers(n: int) -> Iterator[int]:
        for _ in range(n):
            yield from inner()

    @libperf.profile
    async def letters() -> AsyncIterator[str]:
        for letter in "abc":
            await asyncio.sleep(0)
            yield letter

    async def main() -> list[str]:
        return [letter async for letter in letters()]

    assert list(numbers(4)) == [0, 1, 2] * 4
    for number in numbers(2):
        if number:
            break
    assert asyncio.run(main()) == ["a", "b", "c"]
    found = calls(counted)
    assert (found["numbers"], found["letters"]) == (2, 1)
    assert inspect.isgeneratorfunction(numbers) and inspect.isasyncgenfunction(letters)


def test_threads(counted: Counted) -> None:
    """Each has its own stack."""

    def leaf() -> None: ...

    @libperf.profile
    def root() -> None:
        for _ in range(500):
            leaf()

    threads = [threading.Thread(target=root) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls(counted) == {"root": 8, "leaf": 4000}


def test_methods_and_metadata(counted: Counted) -> None:
    """Class and static methods; names, documents and signatures stay."""

    class Service:
        @libperf.profile
        def call(self, x: int) -> int:
            """Document."""
            return x

        @libperf.profile
        @classmethod
        def of(cls) -> str:
            return cls.__name__

        @libperf.profile
        @staticmethod
        def add(a: int, b: int = 2) -> int:
            return a + b

    assert (Service().call(3), Service.of(), Service.add(1)) == (3, "Service", 3)
    assert (Service.call.__doc__, Service.call.__name__) == ("Document.", "call")
    assert list(inspect.signature(Service.add).parameters) == ["a", "b"]
    assert calls(counted) == {"Service.call": 1, "Service.of": 1, "Service.add": 1}


def test_wrong_uses() -> None:
    """What is no function; what would do nothing."""
    for wrong in (len, 3, int, object()):
        with pytest.raises(TypeError, match="for Python functions and methods"):
            libperf.profile(wrong)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="would do nothing"):
        libperf.profile(enable_cpu=False, enable_memory=False)


def test_a_report_shows_it(counted: Counted) -> None:
    """From the segment: calls and times by file, line and function; no row of counters for them."""

    def below() -> None: ...

    @libperf.profile
    def test_a_report_shows_root() -> None:
        below()

    for _ in range(3):
        test_a_report_shows_root()
    _sampler.calls_flush()
    with Reader() as reader:
        rows = {row.function.rpartition(".")[2]: row for row in Hotspots.read(reader).rows}
    row = rows["test_a_report_shows_root"]
    assert (row.calls, row.file) == (3, __file__)
    assert row.line == libperf_line(test_a_report_shows_root)
    assert 0 < row.own <= row.total
    assert rows["below"].calls == 3
    assert "profile.calls" not in str(libperf.report())


def libperf_line(function: Any) -> int:
    """Where it is defined; the decorator's line counts."""
    return int(inspect.unwrap(function).__code__.co_firstlineno)


BESIDE = """
import cProfile, pstats, sys, io, warnings
import libperf
warnings.simplefilter("error")
def leaf(): pass
@libperf.profile
def root():
    for _ in range(10): leaf()
root()
profiler = cProfile.Profile()
profiler.enable()
if sys.version_info < (3, 12): warnings.simplefilter("ignore")
root()
profiler.disable()
out = io.StringIO()
pstats.Stats(profiler, stream=out).print_stats("leaf")
print("10 " in out.getvalue(), sys.getprofile())
root()
from libperf import _sampler
print({code.co_name: calls for code, calls, *_ in _sampler.calls_read()}["leaf"])
"""


def test_beside_cprofile(run: Callable[..., Any]) -> None:
    """cProfile gets what it wants; from Python 3.12 on both do, before that we step back."""
    answer = run(BESIDE)
    assert (answer.returncode, answer.stderr) == (0, "")
    leaves = 30 if sys.version_info >= (3, 12) else 20
    assert answer.stdout == f"True None\n{leaves}\n"


TAKEN = """
import sys
import libperf
if sys.version_info >= (3, 12):
    for place in (2, 3, 4): sys.monitoring.use_tool_id(place, f"tool {place}")
else:
    sys.setprofile(lambda *event: None)
try:
    @libperf.profile
    def f(): pass
except libperf.errors.StartedError as error:
    print(error)
"""


def test_no_place_is_left(run: Callable[..., Any]) -> None:
    """A clear error that says who has it."""
    answer = run(TAKEN)
    assert (answer.returncode, answer.stderr) == (0, "")
    wanted = "tool 2, tool 3, tool 4 have them" if sys.version_info >= (3, 12) else "beside another profiler"
    assert wanted in answer.stdout and "stop" in answer.stdout


FORKED = """
import os, libperf
from libperf import _sampler
def leaf(): pass
@libperf.profile
def root(): leaf()
root()
if not os.fork():
    root()
    print({code.co_name: calls for code, calls, *_ in _sampler.calls_read()}, flush=True)
    os._exit(0)
os.wait()
root()
print({code.co_name: calls for code, calls, *_ in _sampler.calls_read()})
"""


def test_a_forked_child_counts_on(run: Callable[..., Any]) -> None:
    answer = run(FORKED)
    assert answer.stdout == "{'root': 2, 'leaf': 2}\n" * 2


EXITS = """
import sys, threading, time, libperf
def leaf(n): return leaf(n - 1) if n else 0
@libperf.profile
def root(ready):
    while True:
        leaf(20)
        ready.set()
for _ in range(3):
    ready = threading.Event()
    threading.Thread(target=root, args=(ready,), daemon=True).start()
    ready.wait()
"""


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "import os; os._exit(0)"])
def test_interpreter_exit_inside_of_profiled_functions(run: Callable[..., Any], end: str) -> None:
    """Daemon threads are in the middle of them: a quiet end."""
    answer = run(EXITS + end)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
