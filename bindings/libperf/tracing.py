"""`@libperf.trace`: times every call of a function, whatever kind of function it is.

Four kinds, four loops: `def`, `async def`, generator, async generator. What is traced stays what it was: `inspect`
sees the same kind, name, signature and docstring. Coroutines and generators make their span current only while they
run: it is set before each resume and what was current before is put back after it, so two of them never see each
other's, and no token ever crosses a context.
"""

import functools
import sys
import types
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Literal, TypeVar, overload

from . import handles
from ._core import lib
from .context import get_current, set_current, switch_current
from .names import Kind, intern, key
from .slow import Slow, slow_after
from .spans import OK, end_with_error, set_attribute
from .task import begin_in_task

__all__ = ["trace"]

F = TypeVar("F", bound=Callable[..., Any])

# as in `inspect`, which is slow to import
CO_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200


@overload
def trace(function: F, /) -> F: ...
@overload
def trace(
    name: str | None = None,
    /,
    *,
    operation: str | None = None,
    tags: dict[str, object] | None = None,
    slow: float | Literal["auto"] | None = None,
    kind: str | Kind = Kind.SPAN,
    leaf: bool = False,
) -> Callable[[F], F]: ...
def trace(
    what: Any = None,
    /,
    *,
    operation: str | None = None,
    tags: dict[str, object] | None = None,
    slow: float | Literal["auto"] | None = None,
    kind: str | Kind = Kind.SPAN,
    leaf: bool = False,
) -> Any:
    """Time every call of a function or method.

    >>> @libperf.trace
    ... def load(): ...
    >>> @libperf.trace("fetch_user", tags={"service": "user-api"}, slow=1.0)
    ... async def fetch(user): ...

    name, operation: what the report calls it (one of the two); default: the function's own name
    tags:            attributes of every call
    slow:            seconds; a call that takes longer is logged and listed by `libperf.slow_calls()`; "auto": one that
                     takes over 0.1 s, and three times the 95th percentile of its name (from 100 calls on), which is
                     logged once a minute
    kind:            "span", "llm", "tool", "node", "graph", "retriever", "embedding" or "request"
    leaf:            for a plain function that calls nothing that is traced, often: it is timed, but does not become the
                     current span, which is half of the cost
    A generator's latency is the time inside it: while it waits at a `yield` for its consumer, the clock stands.
    """
    if what is not None and operation is not None:
        raise TypeError(f"trace() got a name twice: {what!r} and operation={operation!r}")
    if tags is not None and not isinstance(tags, dict):
        raise TypeError(f"trace(tags={tags!r}): expected a dict, got {type(tags).__name__}")
    kind = Kind.parse(kind)
    name = operation if what is None or callable(what) or _is_method(what) else what
    if name is not None and not isinstance(name, str):
        raise TypeError(f"trace({what!r}): expected a function or a name (str), got {type(what).__name__}")
    if what is None or isinstance(what, str):
        return functools.partial(_decorate, name=name, tags=tags, slow=slow, kind=kind, leaf=leaf)
    return _decorate(what, name=None, tags=tags, slow=slow, kind=kind, leaf=leaf)


def _is_method(what: object) -> bool:
    return isinstance(what, (classmethod, staticmethod))


def _decorate(
    function: Any, *, name: str | None, tags: dict[str, object] | None, slow: Any, kind: Kind, leaf: bool
) -> Any:
    if _is_method(function):
        return type(function)(_decorate(function.__func__, name=name, tags=tags, slow=slow, kind=kind, leaf=leaf))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"@libperf.trace is for functions and methods, not for {function!r}: decorate its methods")
    number = intern(kind, name or _name_of(function))
    after = slow_after(kind, name or _name_of(function), slow)
    form = _form_of(_code_flags(function))
    if leaf and form != "function":
        raise ValueError(f"trace(leaf=True): {_name_of(function)} is no plain function, but of the form: {form}")
    for tag in tags or ():
        key(tag)  # TypeError here, not in each call
    # handles.begin takes the parent's task
    begin = begin_in_task if "coroutine" in form or form == "async generator" else handles.begin
    wrap = _wrap_in_c if handles.speed is not None else _wrap
    traced = wrap("leaf" if leaf else form, function, number, begin, dict(tags) if tags else None, after)
    return functools.wraps(function)(traced)


def _form_of(flags: int) -> str:
    if flags & CO_COROUTINE:
        return "coroutine"
    if flags & CO_ASYNC_GENERATOR:
        return "async generator"
    if flags & CO_ITERABLE_COROUTINE:
        return "iterable coroutine"
    return "generator" if flags & CO_GENERATOR else "function"


def _name_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def _code_flags(function: Any) -> int:
    """What kind of function it is, also behind functools.partial and for objects with a __call__."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:  # an object with a __call__
        code = getattr(type(function).__dict__.get("__call__"), "__code__", None)
    return code.co_flags if code else 0


# What a profiler looks into, where calls have one value: what is traced now, and what will be. It replaces their `begin` and `function`; so a call
# costs nothing more while nobody profiles.
traced_functions: "dict[weakref.ref[Any], None]" = {}
watch_function: Callable[[Any], object] | None = None


def _remember(traced: Any) -> Any:
    traced_functions[weakref.ref(traced, traced_functions.__delitem__)] = None
    if watch_function:
        watch_function(traced)
    return traced


class _Cells:
    """A wrapper's own variables."""

    def __init__(self, traced: Any) -> None:
        object.__setattr__(self, "_cells", dict(zip(traced.__code__.co_freevars, traced.__closure__, strict=True)))

    def __getattr__(self, name: str) -> Any:
        return self._cells[name].cell_contents

    def __setattr__(self, name: str, value: Any) -> None:
        self._cells[name].cell_contents = value


def parts_of(traced: Any) -> Any:
    """An object whose attributes `begin` and `function` are those of a traced function, to be read and replaced."""
    cells = _Cells(traced)
    return cells.run.__self__ if "run" in traced.__code__.co_freevars else cells


After = Callable[[Any, int], None]  # (handle, nanoseconds)
Begin = Callable[[int, Any], Any]  # (name's number, parent's handle) -> handle
Tags = dict[str, object] | None


def _wrap_in_c(
    form: str, function: Callable[..., Any], number: int, begin: Begin, tags: Tags, after: After | None
) -> Any:
    assert handles.speed is not None
    wrap, kind = accelerated.FORMS[form]
    slow_ns = after.threshold_ns if isinstance(after, Slow) else -1.0  # others hear of every call
    traced = wrap(handles.speed.Traced(kind, function, number, begin, tags, after, slow_ns).run)
    return traced if form.endswith("generator") else _remember(traced)


def _wrap(form: str, function: Callable[..., Any], number: int, begin: Begin, tags: Tags, after: After | None) -> Any:
    traced = _FORMS[form](function, number, _with_tags(begin, tags) if tags else begin, after)
    return _remember(traced) if form in ("function", "leaf", "coroutine") else traced


def _with_tags(begin: Begin, tags: dict[str, object]) -> Begin:
    def begin_with_tags(number: int, parent: Any) -> Any:
        handle = begin(number, parent)
        for name, value in tags.items():
            set_attribute(handle, name, value)
        return handle

    return begin_with_tags


def _trace_function(function: Callable[..., Any], number: int, begin: Begin, after: After | None) -> Any:
    get, put, end = get_current, set_current, handles.end  # local names: looking them up would cost as much

    def traced(*args: Any, **kwargs: Any) -> Any:
        outer = get()
        handle = begin(number, outer)
        put(handle)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            put(outer)
            ns = end_with_error(handle, error)
            if after:
                after(handle, ns)
            raise
        put(outer)
        ns = end(handle)
        if after:
            after(handle, ns)
        return result

    return traced


def _trace_leaf(function: Callable[..., Any], number: int, begin: Begin, after: After | None) -> Any:
    get, end = get_current, handles.end

    def traced(*args: Any, **kwargs: Any) -> Any:
        handle = begin(number, get())
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            ns = end_with_error(handle, error)
            if after:
                after(handle, ns)
            raise
        ns = end(handle)
        if after:
            after(handle, ns)
        return result

    return traced


class _Inside:
    """One run of a coroutine or generator: its span, and what is current inside it while it is suspended."""

    __slots__ = ("current", "handle", "paused", "returned")

    def __init__(self, number: int, begin: Begin) -> None:
        self.handle = self.current = begin(number, get_current())
        self.paused = 0  # ticks
        self.returned: Any = None  # by a coroutine that was closed (from Python 3.13 on)

    def end(self, error: BaseException | None, after: After | None) -> None:
        paused_ns = lib.perf_clock_duration_ns(self.paused) if self.paused else 0
        if error is None:
            ns = handles.end_as(self.handle, OK, paused_ns)
        else:
            ns = end_with_error(self.handle, error, paused_ns)
        if after:
            after(self.handle, ns)


@types.coroutine
def _resume(awaitable: Any, inside: _Inside) -> Generator[Any, Any, Any]:
    """Await a coroutine, or one step of an async generator, with its own current span around each resume."""
    step: Any = awaitable.send
    value: Any = None
    while True:
        outer = get_current()
        switch_current(inside.current)
        try:
            yielded = step(value)
        except StopIteration as stop:
            return stop.value
        except BaseException:
            awaitable = step = None  # they may hold the exception, which holds this frame
            raise
        finally:
            inside.current = get_current()
            switch_current(outer)
            value = None  # so may these
        try:
            value = yield yielded
            step = awaitable.send
        except GeneratorExit:
            outer = get_current()
            switch_current(inside.current)
            try:
                inside.returned = awaitable.close()
            finally:
                switch_current(outer)
            raise
        except BaseException as raised:
            step, value = awaitable.throw, raised
        finally:
            yielded = None


def _trace_coroutine(function: Callable[..., Any], number: int, begin: Begin, after: After | None) -> Any:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        inside = _Inside(number, begin)
        try:
            result = await _resume(function(*args, **kwargs), inside)
        except GeneratorExit as error:
            result = inside.returned
            if result is None:
                inside.end(error, after)
                raise
        except BaseException as error:
            inside.end(error, after)
            raise
        inside.end(None, after)
        return result

    return traced


def _trace_iterable_coroutine(function: Callable[..., Any], number: int, begin: Begin, after: After | None) -> Any:
    """What types.coroutine makes of a generator: it waits at a yield for its result, not for a consumer."""
    coroutine = _remember(_trace_coroutine(function, number, begin, after))

    @types.coroutine
    def traced(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from coroutine(*args, **kwargs))

    return traced


def _trace_generator(function: Callable[..., Any], number: int, begin: Begin, after: After | None) -> Any:
    ticks = lib.perf_clock_ticks

    def traced(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator = function(*args, **kwargs)
        inside = _Inside(number, begin)
        step: Any = generator.send
        value: Any = None
        try:
            while True:
                outer = get_current()
                switch_current(inside.current)
                try:
                    item = step(value)
                except StopIteration as stop:
                    inside.end(None, after)
                    return stop.value
                finally:
                    inside.current = get_current()
                    switch_current(outer)
                    value = None  # an exception would hold this frame, and the frame the exception
                since = ticks()
                try:
                    value = yield item
                    step = generator.send
                except BaseException as raised:
                    step, value = generator.throw, raised
                finally:
                    inside.paused += ticks() - since
                    item = None  # it is the consumer's now
        except GeneratorExit:
            inside.end(None, after)  # the consumer had enough: no error
            raise
        except BaseException as raised:
            inside.end(raised, after)
            raise

    return traced


def _leave_alone(generator: Any) -> None:
    """What the garbage collector does to an async generator that the traced one around it closes."""


def _first_step(generator: Any) -> Any:
    """Start an async generator without the event loop knowing it. The loop closes the traced one around it; if it
    closed both at once, the one would find the other running."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, _leave_alone)
    try:
        return generator.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _trace_async_generator(function: Callable[..., Any], number: int, begin: Begin, after: After | None) -> Any:
    ticks = lib.perf_clock_ticks

    async def traced(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        inside = _Inside(number, begin)
        step = _first_step(generator)
        try:
            while True:
                try:
                    item = await _resume(step, inside)
                except StopAsyncIteration:
                    break
                finally:
                    step = None  # it may hold an exception, which holds this frame
                since = ticks()
                try:
                    value = yield item
                    step = generator.asend(value)
                except BaseException as raised:
                    step = generator.athrow(raised)
                finally:
                    inside.paused += ticks() - since
                    item = value = None
        except GeneratorExit:
            inside.end(None, after)  # the consumer had enough: no error
            raise
        except BaseException as error:
            inside.end(error, after)
            raise
        inside.end(None, after)

    return traced


# form -> what wraps a function of it
_FORMS: dict[str, Callable[..., Any]] = {
    "function": _trace_function,
    "leaf": _trace_leaf,
    "coroutine": _trace_coroutine,
    "iterable coroutine": _trace_iterable_coroutine,
    "generator": _trace_generator,
    "async generator": _trace_async_generator,
}

if handles.speed is not None:
    from . import accelerated

    handles.speed.remember(first_step=_first_step)
