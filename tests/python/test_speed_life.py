"""The accelerator over time: variables of contexts, circles, want of memory, the end of the interpreter."""

from __future__ import annotations

import contextvars
import gc
import weakref
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

import pytest

import libperf
from libperf import handles

in_c = pytest.mark.skipif(handles.speed is None, reason="is about the accelerator")

# ---- variables of others ----


def test_variables_of_others_stay_as_they_were_set(name: str) -> None:
    """What the user's code sets in its context is there afterwards, and his contexts see the span that was current."""
    other: ContextVar[int] = ContextVar("other", default=0)

    @libperf.trace(name)
    def sets(value: int) -> contextvars.Context:
        other.set(value)
        assert libperf.current_span()
        return contextvars.copy_context()

    @libperf.trace(f"{name}.generator")
    def gives() -> Generator[int, None, None]:
        for number in range(10, 13):
            other.set(number)
            yield other.get()

    for _ in range(2):  # without a value of ours in the context, and with one
        copied = sets(1)
        assert (other.get(), bool(libperf.current_span())) == (1, False)
        assert copied.run(lambda: bool(libperf.current_span()))
        with libperf.span(f"{name}.outer") as outer:
            assert sets(2).run(lambda: libperf.current_span().id) not in (outer.id, "0" * 16)
            assert (other.get(), libperf.current_span().id) == (2, outer.id)
            assert [(given, other.get(), libperf.current_span().id) for given in gives()] == [
                (number, number, outer.id) for number in range(10, 13)
            ]
        assert not libperf.current_span()
    other.set(0)


def test_a_run_that_is_resumed_elsewhere_sees_what_is_there(name: str) -> None:
    """Variables that change between two resumes, or another context: inside of a generator it is as it is outside."""
    other: ContextVar[int] = ContextVar("other", default=0)

    @libperf.trace(name)
    def gives() -> Generator[tuple[int, bool], None, None]:
        mine = libperf.current_span().id
        while True:
            yield other.get(), libperf.current_span().id == mine

    generator = gives()
    assert [next(generator), next(generator), next(generator)] == [(0, True)] * 3
    for number in range(1, 4):
        other.set(number)
        assert [next(generator), next(generator)] == [(number, True)] * 2
        assert contextvars.Context().run(next, generator) == (0, True)
        with libperf.span(f"{name}.outer") as outer:
            assert [next(generator), next(generator)] == [(number, True)] * 2
            assert libperf.current_span().id == outer.id
        assert not libperf.current_span()
    other.set(0)


def test_a_suspended_run_in_a_circle_with_a_variable_is_collected(name: str) -> None:
    """What it keeps of its context is the garbage collector's to see."""
    holder: ContextVar[Any] = ContextVar("holder", default=None)

    class Node:
        generator: Any = None

    @libperf.trace(name)
    def gives() -> Generator[None, None, None]:
        while True:
            yield

    def main() -> weakref.ref[Node]:
        node = Node()
        holder.set(node)
        node.generator = gives()
        next(node.generator)
        next(node.generator)
        return weakref.ref(node)

    ref = contextvars.copy_context().run(main)
    gc.collect()
    assert ref() is None


def test_a_span_that_is_left_open_inside_is_not_current_outside(name: str) -> None:
    """Whoever forgets to leave a span in a traced function leaves it there."""

    @libperf.trace(name)
    def forgets() -> Any:
        left = libperf.span(f"{name}.left")
        left.__enter__()
        return left

    left = forgets()
    assert not libperf.current_span()
    left.__exit__(None, None, None)
    assert not libperf.current_span()


def test_functions_in_contexts_of_their_own(name: str) -> None:
    """Context.run() from inside, and around: each context has its own current span."""
    traced = libperf.trace(name)(lambda: libperf.current_span().id)
    empty = contextvars.Context()

    @libperf.trace(f"{name}.outer")
    def outer() -> bool:
        mine = libperf.current_span().id
        inside = empty.run(traced)
        assert not empty.run(lambda: bool(libperf.current_span()))
        return mine != inside and libperf.current_span().id == mine

    assert [outer(), contextvars.copy_context().run(outer)] == [True] * 2
    assert not libperf.current_span()


# ---- nothing is held, nothing breaks ----

LEAKS = """
import asyncio, contextlib, gc, sys
import libperf

@libperf.trace
def fails(): raise ValueError

@libperf.trace(tags={"a": 1, "b": "x"})
async def waits(): await asyncio.sleep(0)

@libperf.trace
async def gives():
    for n in range(3):
        yield n

@libperf.trace
def left():
    yield 1
    yield 2

async def call(times):
    for n in range(times):
        with contextlib.suppress(ValueError):
            fails()
        await waits()
        async for _ in gives(): pass
        next(left())
        with contextlib.suppress(KeyError), libperf.span("x", number=n, text="abc"):
            raise KeyError(n)
        async with libperf.span("y", kind="tool"): pass

async def main():
    await call(500)
    gc.collect()
    before = sys.getallocatedblocks()
    await call(3000)
    gc.collect()
    print(abs(sys.getallocatedblocks() - before))

asyncio.run(main())
"""


def test_nothing_is_left_behind(run: Callable[..., Any]) -> None:
    """Thousands of calls that fail, wait, are left early, and spans, leave no block behind."""
    done = run(LEAKS)
    assert int(done.stdout) < 200, done.stderr


def test_circles_are_collected(name: str) -> None:
    """Through the function, through what it returned and through a span that was never entered."""

    class Node:
        def __init__(self) -> None:
            self.traced = libperf.trace(name)(lambda: self)
            self.span = libperf.span(name, node=self)
            self.generator = self.gives()
            next(self.generator)

        @libperf.trace(f"{name}.gives")
        def gives(self) -> Generator[object, None, None]:
            yield 1
            yield self

    ref = weakref.ref(Node())
    gc.collect()
    assert ref() is None


EXIT = """
import asyncio, sys
import libperf

@libperf.trace
async def waits():
    with libperf.span("inside"):
        await asyncio.sleep(100)

@libperf.trace
def gives():
    yield 1
    yield 2

@libperf.trace
async def agives():
    yield 1
    yield 2

generator, agenerator, coroutine = gives(), agives(), waits()
next(generator)
try:
    agenerator.__anext__().send(None)
except StopIteration:
    pass
loop = asyncio.new_event_loop()
task = loop.create_task(waits())
loop.call_later(0, loop.stop)
loop.run_forever()
span = libperf.span("open")
span.__enter__()
sys.kept = [generator, agenerator, span]
coroutine.close()
task.cancel()
loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
loop.close()
"""


def test_the_interpreter_ends_with_spans_open(run: Callable[..., Any]) -> None:
    """Half-way generators and spans that nobody left: it ends as it would without us."""
    done = run(EXIT)
    assert (done.returncode, done.stderr) == (0, "")


def test_recursion_without_end_is_a_recursion_error(seen: Any, name: str) -> None:
    """All of its spans end, as errors, and none is current."""

    @libperf.trace(name)
    def down(level: int) -> None:
        down(level + 1)

    with pytest.raises(RecursionError):
        down(0)
    calls, errors, _ = seen.counts(name)
    assert calls == errors > 100
    assert seen.open(name) == []
    assert not libperf.current_span()


NO_MEMORY = """
import sys
import _testcapi
import libperf
from libperf.reader import Reader

@libperf.trace("function", tags={"a": "b"})
def function(): return 5

@libperf.trace("plain")
def plain(): return 5

@libperf.trace("generator")
def generator():
    yield 1

@libperf.trace("coroutine")
async def coroutine(): return 5

def awaited():
    try:
        coroutine().send(None)
    except StopIteration as stop:
        return stop.value

def spans():
    with libperf.span("span", number=1, text="x") as span:
        return bool(span)

for call in (plain, function, lambda: list(generator()), awaited, spans):
    call(); call()
    for n in range(60):
        _testcapi.set_nomemory(n, n + 1)
        try:
            call()
        except MemoryError:
            pass
        finally:
            _testcapi.remove_mem_hooks()
    assert not libperf.current_span(), call
    call()
libperf.trace("again")(plain)()
with Reader() as reader:
    print(len(list(reader.open_spans())))
"""


@in_c
def test_want_of_memory(run: Callable[..., Any]) -> None:
    """Whichever allocation fails: at worst it is a MemoryError, nothing stays current, and no span stays open."""
    pytest.importorskip("_testcapi")
    done = run(NO_MEMORY)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 0
