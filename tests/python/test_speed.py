"""The accelerator: it does what the Python it stands for does, shows what that shows, and holds nothing.

What tracing is, is said by the tests of tracing, spans and contexts; here they run once more, in the other form.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import pickle
import subprocess
import sys
import types
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf import handles
from libperf._core import ffi, lib
from libperf.context import get_current
from libperf.names import SPAN, intern
from libperf.spans import Span
from support_tracing import Boom

HERE = Path(__file__).parent
BOTH = [
    *("context", "slow", "spans", "threads", "tracing", "tracing_coroutines", "tracing_generators", "tracing_leaks"),
    *("watch_calls", "fork"),
]
in_c = pytest.mark.skipif(handles.speed is None, reason="is about the accelerator")
speed: Any = handles.speed


# ---- two forms ----


def test_the_other_form_passes_the_same_tests(tmp_path: Path) -> None:
    """With the accelerator if this process has none, without it if it has."""
    other = "0" if handles.speed else "1"
    files = [str(HERE / f"test_{name}.py") for name in BOTH]
    options = ["-q", "-x", "-p", "no:cacheprovider", f"--rootdir={HERE.parents[1]}"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        env={**os.environ, "LIBPERF_SPEED": other},
        cwd=HERE.parents[1],
        text=True,
        capture_output=True,
        timeout=500,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


WHICH = "from libperf import handles; print(handles.speed is not None, handles.without)"


def test_it_is_chosen_when_it_is_there(run: Callable[..., Any]) -> None:
    """LIBPERF_SPEED=0 does without; nothing else does."""
    assert [run(WHICH, LIBPERF_SPEED=value).stdout for value in ("", "1", "0")] == [
        "True \n",
        "True \n",
        "False LIBPERF_SPEED=0\n",
    ]


def test_a_build_without_it_says_so_and_works(run: Callable[..., Any]) -> None:
    """An import that fails leaves the form in Python."""
    code = "import sys\nsys.modules['libperf._speed'] = None\n" + WHICH + "\nimport libperf\nlibperf.trace(len)('')"
    done = run(code, LIBPERF_SPEED="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("False ") and "_speed" in done.stdout


OTHER_INTERPRETER = """
import sys
try:
    import _interpreters as interpreters
    create = lambda: interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=False)
code = '''
import importlib.machinery, importlib.util
loader = importlib.machinery.ExtensionFileLoader("libperf._speed", PATH)
try:
    importlib.util.module_from_spec(importlib.util.spec_from_loader("libperf._speed", loader))
    loader.exec_module(importlib.util.module_from_spec(importlib.util.spec_from_loader("libperf._speed", loader)))
except ImportError as error:
    print(error, flush=True)
'''
number = create()
interpreters.run_string(number, code.replace("PATH", repr(sys.argv[1])))
"""


@in_c
def test_another_interpreter_is_refused(run: Callable[..., Any]) -> None:
    """State is the process's own: a second interpreter would share it."""
    done = run(OTHER_INTERPRETER, speed.__file__)
    assert "interpreter" in done.stdout, done.stderr


@in_c
def test_it_never_lets_go_of_the_gil() -> None:
    """Nothing in the module's machine code does."""
    assert b"PyEval_SaveThread" not in Path(speed.__file__).read_bytes()


# ---- handles ----


@in_c
def test_a_handle_is_the_cores_struct(name: str) -> None:
    """All fields are there, and come back through the struct."""
    with libperf.span(name):
        handle = get_current()
        struct = handles.struct_of(handle)
        fields = [field for field, _ in ffi.typeof("perf_span").fields]
        assert [getattr(handle, field) for field in fields] == [getattr(struct, field) for field in fields]
        again = handles.from_struct(struct)
        assert (again.id, again.start_ticks, again.name) == (handle.id, handle.start_ticks, intern(SPAN, name))
        with pytest.raises(AttributeError):
            handle.id = 5


def test_a_copy_becomes_another() -> None:
    """The copy is another span from then on, what it was copied from stays what it was."""
    one, other = (handles.begin(intern(SPAN, "become"), handles.NO_SPAN) for _ in range(2))
    copied = handles.copy(one)
    assert copied.id == one.id
    handles.become(copied, other)
    assert (copied.id, one.id) == (other.id, one.id)
    assert one.id != other.id
    assert [handles.end(one), handles.end(other)] > [0, 0]
    assert handles.end(one) == 0  # it ended before


@in_c
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: speed.begin(1), TypeError),
        (lambda: speed.begin(1, 2), TypeError),
        (lambda: speed.begin("a", handles.NO_SPAN), TypeError),
        (lambda: speed.end(None), TypeError),
        (lambda: speed.end_as(handles.NO_SPAN, 0), TypeError),
        (lambda: speed.set_attribute(handles.NO_SPAN, 5, 1), TypeError),
        (lambda: speed.set_attribute(handles.NO_SPAN, [], 1), TypeError),
        (lambda: speed.Handle(b"short"), ValueError),
        (lambda: speed.Handle("text"), TypeError),
        (lambda: handles.NO_SPAN.become(handles.NO_SPAN), ValueError),
        (lambda: handles.NO_SPAN.become(1), TypeError),
        (lambda: speed.remember(nothing=1), TypeError),
        (lambda: speed.remember(variable=1), TypeError),
        (lambda: speed.remember(span_numbers=[]), TypeError),
        (lambda: speed.Traced(), TypeError),
        (lambda: speed.Traced(9, len, 1, len, None, None, 0.0), ValueError),
        (lambda: speed.Traced(0, len, 1, len, None, None, 0.0).run((), None), TypeError),
        (lambda: speed.Traced(0, len, 1, len, [1], None, 0.0), TypeError),
        (lambda: speed.Running(), TypeError),
        (lambda: type(speed.hooks)(), TypeError),
        (lambda: speed.block_type(int, "doc"), AttributeError),
    ],
)
def test_wrong_use_is_an_error(wrong: Callable[[], Any], error: type[Exception]) -> None:
    """Whoever calls the module by hand gets an exception, nothing worse."""
    with pytest.raises(error):
        wrong()


# ---- leaves ----


def test_a_leaf_is_timed_and_not_current(seen: Any, name: str) -> None:
    """What it calls has its caller as parent; so has itself."""

    @libperf.trace(name, leaf=True, tags={"a": 1})
    def leaf(value: int) -> str:
        return f"{libperf.current_span().id} {value}"

    with libperf.span(f"{name}.outer") as outer:
        assert leaf(7) == f"{outer.id} 7"
        assert libperf.current_span().id == outer.id
    found = seen.span(name)
    assert (found.parent, found.attributes) == (seen.span(f"{name}.outer").id, {"a": 1})


def test_a_leaf_that_raises(seen: Any, name: str) -> None:
    """It counts as an error."""
    with pytest.raises(ZeroDivisionError):
        libperf.trace(name, leaf=True)(lambda: 1 // 0)()
    assert seen.counts(name) == (1, 1, 0)


def test_only_plain_functions_are_leaves() -> None:
    """The others are suspended: ValueError says so."""

    async def coroutine() -> None: ...

    with pytest.raises(ValueError, match=r"leaf=True.*coroutine"):
        libperf.trace(leaf=True)(coroutine)


# ---- what others look at ----


async def parked(future: asyncio.Future[int]) -> int:
    return await future


def inner_frames(coroutine: Any) -> list[str]:
    """As tools do that show where a task waits."""
    found = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            found.append(frame.f_code.co_name)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return found


@in_c
def test_where_a_task_waits_can_be_seen() -> None:
    """What a coroutine awaits leads into the user's, and the task's stack and text are a coroutine's."""

    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        coroutine: Any = libperf.trace(parked)(future)
        assert inspect.iscoroutine(coroutine) and inspect.isawaitable(coroutine) and asyncio.iscoroutine(coroutine)
        assert isinstance(coroutine, Coroutine | types.CoroutineType)
        assert (coroutine.__name__, inspect.getcoroutinestate(coroutine)) == ("parked", "CORO_CREATED")
        task = asyncio.create_task(coroutine)
        await asyncio.sleep(0)
        assert set(inner_frames(coroutine)) == {"traced", "parked"}
        assert "parked" in repr(task) and task in asyncio.all_tasks()
        text = io.StringIO()
        task.print_stack(file=text)
        assert "accelerated.py" in text.getvalue() or "parked" in text.getvalue()
        future.set_result(5)
        assert await task == 5

    asyncio.run(main(), debug=True)


@in_c
def test_generators_are_generators(name: str) -> None:
    """inspect says of what is made what it says of what is not traced."""

    def gives() -> Generator[int, None, None]:
        yield 1

    async def agives() -> AsyncGenerator[int, None]:
        yield 1

    generator, plain = libperf.trace(name)(gives)(), gives()
    assert inspect.isgenerator(generator) and inspect.getgeneratorstate(generator) == "GEN_CREATED"
    assert next(generator) == 1
    assert generator.gi_yieldfrom.gi_frame.f_code is gives.__code__  # type: ignore[union-attr]
    assert inspect.getgeneratorstate(generator) == "GEN_SUSPENDED"
    assert plain.gi_code is gives.__code__
    assert inspect.isasyncgen(libperf.trace(name)(agives)())


def test_a_traced_function_is_an_ordinary_one() -> None:
    """It can be referred to weakly, bound, unwrapped, given attributes, and copied by name."""

    def work(a: int) -> int:
        return a

    traced: Any = libperf.trace(work)
    traced.extra = 1
    assert weakref.ref(traced)() is traced
    assert inspect.unwrap(traced) is work
    assert types.MethodType(traced, 5)() == 5
    assert pickle.loads(pickle.dumps(traced_at_top)) is traced_at_top


@libperf.trace
def traced_at_top() -> None: ...


@in_c
def test_a_function_made_of_another_ones_code_works(seen: Any, name: str) -> None:
    """Whoever copies a wrapper gets one that does the same."""
    traced: Any = libperf.trace(name)(lambda a, b=2: a + b)
    copied = types.FunctionType(traced.__code__, traced.__globals__, "copied", None, traced.__closure__)
    assert (copied(1), traced(1, b=5)) == (3, 6)
    assert seen.totals(name).count == 2


# ---- a coroutine may do with GeneratorExit what it likes ----


def test_a_coroutine_that_goes_on_in_spite_of_it(seen: Any, name: str) -> None:
    """Python complains as it does undecorated, and the span ends with the coroutine at last."""

    @types.coroutine
    def pause() -> Generator[None, None, None]:
        yield

    @libperf.trace(name)
    async def stubborn() -> None:
        try:
            await pause()
        except GeneratorExit:
            await pause()

    coroutine = stubborn()
    coroutine.send(None)
    with pytest.raises(RuntimeError, match="coroutine ignored GeneratorExit"):
        coroutine.close()
    coroutine.close()
    assert seen.open(name) == []
    assert seen.totals(name).count == 1
    assert not libperf.current_span()


# ---- spans as a type ----


def test_spans_can_be_extended(seen: Any, name: str) -> None:
    """A class of the user's, with its own arguments and attributes."""

    class Step(libperf.span):  # type: ignore[misc, valid-type]
        def __init__(self, number: int) -> None:
            super().__init__(name, number=number)
            self.extra = number

        def __enter__(self) -> Any:
            entered = super().__enter__()
            self.set(more=self.extra)
            return entered

    with Step(3) as step:
        assert isinstance(step, Span) and isinstance(step, libperf.span)
        assert step
    assert seen.span(name).attributes == {"number": 3, "more": 3}
    assert issubclass(libperf.span, Span)


def test_a_span_is_made_as_its_signature_says(name: str) -> None:
    """inspect knows it, and the errors are those of a call."""
    assert list(inspect.signature(libperf.span).parameters) == ["name", "kind", "parent", "attributes"]
    for wrong in (lambda: libperf.span(), lambda: libperf.span(name, "tool"), lambda: libperf.span(kind="tool")):  # type: ignore[call-arg, misc]
        with pytest.raises(TypeError):
            wrong()
    with libperf.span(name, self=1, name="x", type="y") as span:  # type: ignore[call-arg, misc]
        assert span


def test_a_span_that_was_not_entered_can_be_left(name: str) -> None:
    """It does nothing to what is current."""
    with libperf.span(f"{name}.outer") as outer:
        libperf.span(name).__exit__(None, None, None)
        assert libperf.current_span().id == outer.id


def test_a_value_whose_text_interrupts(seen: Any, name: str) -> None:
    """An interrupt goes on; the span that was about to begin is neither current nor open."""

    class Stops:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), libperf.span(name, value=Stops()):
        raise Boom
    assert not libperf.current_span()
    assert seen.open(name) == []


def test_pending_calls_go_through_every_form(name: str) -> None:
    """A function's keyword arguments, defaults and positional ones arrive as they were given."""

    def function(*args: object, **kwargs: object) -> object:
        return args, kwargs

    traced = libperf.trace(name)(function)
    assert traced() == ((), {})
    assert traced(1, [2], a=3) == ((1, [2]), {"a": 3})
    assert traced(*(1, 2), **{"b c": 4}) == ((1, 2), {"b c": 4})
    assert list(map(traced, [1, 2])) == [((1,), {}), ((2,), {})]
    assert max([1, 5], key=libperf.trace(lambda value: -value)) == 1


def test_clock_and_paused_times_are_the_cores(name: str) -> None:
    """A generator that never waits has no pause; lib tells the ticks that handles hold."""
    before = lib.perf_clock_ticks()
    with libperf.span(name):
        assert before <= get_current().start_ticks <= lib.perf_clock_ticks()
